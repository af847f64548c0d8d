"""When timers fire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mlkit.bpmn.definition.timers import FOREVER, Calendar, duration, following, schedule
from mlkit.bpmn.runtime.clock import SimulatedClock
from mlkit.errors import BadData

NOW = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def at(text):
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PT10S", 10), ("PT1H30M", 5400), ("P1D", 86400), ("P2W", 14 * 86400), ("PT0.5S", 0.5),
        ("P1DT1S", 86401), ("-PT5S", -5),
    ],
)  # fmt: skip
def test_durations(text, expected):
    assert duration(text) == timedelta(seconds=expected)


@pytest.mark.parametrize("text", ["", "P", "PT", "10S", "P1M", "P1Y", "PT1X", "PT-1S", "1h"])
def test_durations_that_are_none(text):
    with pytest.raises(BadData):
        duration(text)


def test_dates_without_an_offset_are_utc():
    assert schedule("date", "2026-02-01T10:00:00", NOW).due == at("2026-02-01T10:00:00+00:00")
    assert schedule("date", "2026-02-01T10:00:00+02:00", NOW).due == at("2026-02-01T08:00:00+00:00")
    assert schedule("date", "2026-02-01T10:00:00Z", NOW).due == at("2026-02-01T10:00:00+00:00")


def test_cycles():
    three = schedule("cycle", "R3/PT10S", NOW)
    assert (three.due, three.again) == (NOW + 10, 2)
    assert schedule("cycle", "R/PT10S", NOW).again == FOREVER
    begun = schedule("cycle", "R2/2026-02-01T00:00:00Z/PT1H", NOW)
    assert begun.due == at("2026-02-01T00:00:00+00:00")
    assert following(begun.interval, begun.due, begun.due) == (begun.due + 3600, 1)


@pytest.mark.parametrize(
    ("line", "due"),
    [
        ("0 6 * * *", "2026-01-01T06:00:00+00:00"),
        ("30 0 6 * * ?", "2026-01-01T06:00:30+00:00"),
        ("0 0/5 * * * ? *", "2026-01-01T00:05:00+00:00"),
        ("0 9 * * 1", "2026-01-05T09:00:00+00:00"),
    ],
)
def test_cron(line, due):
    first = schedule("cycle", line, NOW)
    assert first.due == at(due)
    assert following(first.interval, first.due, first.due)[0] > first.due


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("date", "tomorrow"), ("cycle", "R3"), ("cycle", "R3/PT0S"), ("cycle", "R0/PT1S"),
        ("cycle", "99 99 * * *"), ("cycle", "sometimes"), ("duration", "soon"),
    ],
)  # fmt: skip
def test_refused(kind, text):
    with pytest.raises(BadData, match=text.split("/", maxsplit=1)[0].replace("*", r"\*")):
        schedule(kind, text, NOW)


def test_a_simulated_clock_jumps_only_while_nothing_is_open():
    clock = SimulatedClock(NOW)
    assert clock.wait(NOW + 100, idle=False) is None
    assert clock.now() == NOW
    assert clock.wait(NOW + 100, idle=True) == 0
    assert clock.now() == NOW + 100


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("duration", "P1M", "2026-02-01T00:00:00+00:00"),
        ("duration", "P1Y2M3DT4H", "2027-03-04T04:00:00+00:00"),
        ("duration", "-P1M", "2025-12-01T00:00:00+00:00"),
        ("cycle", "R2/2026-01-31T08:00:00Z/P1M", "2026-01-31T08:00:00+00:00"),
    ],
)
def test_months_and_years_are_those_of_the_calendar(kind, text, expected):
    assert schedule(kind, text, NOW).due == at(expected)


def test_a_month_after_the_last_of_january_is_the_last_of_february():
    cycle = schedule("cycle", "R/2026-01-31T08:00:00Z/P1M", NOW)
    february, _ = following(cycle.interval, cycle.due, cycle.due)
    march, _ = following(cycle.interval, february, february)
    assert [february, march] == [at("2026-02-28T08:00:00Z"), at("2026-03-31T08:00:00Z")]


@pytest.mark.parametrize("text", ["R3/PT10S/2026-02-01T00:00:00Z", "R/-P1M", "R3/P9999Y"])
def test_cycles_that_are_none(text):
    with pytest.raises(BadData):
        schedule("cycle", text, NOW)


def times(text, start, count, calendar=None, pause=0.0):
    """Return the first times of a cycle, each fired `pause` seconds late."""
    found = schedule("cycle", text, at(start), calendar or Calendar())
    dues = [found.due]
    while len(dues) < count:
        due, _ = following(found.interval, dues[-1], dues[-1] + pause)
        dues.append(due)
    return [datetime.fromtimestamp(each, UTC).strftime("%m-%dT%H:%M") for each in dues]


def test_a_cycle_that_began_in_the_past_joins_its_grid():
    found = schedule("cycle", "R/2023-01-01T00:00:00Z/PT15M", at("2030-01-01T08:10:00Z"))
    assert found.due == at("2030-01-01T08:15:00Z")
    assert schedule("cycle", "R/2026-01-01T00:00:00Z/PT1H", NOW).due == NOW
    three = schedule("cycle", "R3/2026-01-01T00:00:00Z/PT1H", NOW + 3601)
    assert (three.due, three.again) == (NOW + 7200, 0)


def test_a_cycle_that_is_over_is_overdue_once():
    over = schedule("cycle", "R3/2023-01-01T00:00:00Z/PT1H", NOW)
    assert (over.due, over.again) == (at("2023-01-01T02:00:00Z"), 0)


def test_what_was_missed_in_a_pause_is_not_made_up_for():
    found = schedule("cycle", "R10/PT10S", NOW)
    assert following(found.interval, found.due, NOW + 46) == (NOW + 50, 4)
    cron = schedule("cycle", "*/15 * * * *", NOW)
    assert following(cron.interval, cron.due, NOW + 4000) == (NOW + 4500, 1)


def test_intervals_of_older_journals_go_on():
    assert following("PT10S", NOW, NOW + 46) == (NOW + 50, 5)
    assert following("0 6 * * *", NOW, NOW) == (NOW + 6 * 3600, 1)


def test_a_cycle_in_a_zone_keeps_its_time_of_day_over_a_change_of_the_clocks():
    text = "R/2026-03-27T09:00:00[Europe/Berlin]/P1D"
    expected = ["03-27T08:00", "03-28T08:00", "03-29T07:00", "03-30T07:00"]
    assert times(text, "2026-03-20T00:00:00Z", 4) == expected
    # An interval in hours follows the clock's own time.
    text = "R/2026-03-27T09:00:00[Europe/Berlin]/PT24H"
    assert times(text, "2026-03-20T00:00:00Z", 4)[-1] == "03-30T08:00"


@pytest.mark.parametrize(
    ("line", "start", "expected"),
    [
        # 02:30 does not exist on 29 March 2026: it comes at 03:00.
        ("30 2 * * *", "2026-03-28T00:00:00Z", ["03-28T01:30", "03-29T01:00", "03-30T00:30"]),
        # 02:30 comes twice on 25 October 2026, and fires once.
        ("30 2 * * *", "2026-10-24T12:00:00Z", ["10-25T00:30", "10-26T01:30", "10-27T01:30"]),
        ("30 2 * * *", "2026-10-25T00:45:00Z", ["10-26T01:30", "10-27T01:30"]),
        ("30 * * * *", "2026-10-24T23:45:00Z", ["10-25T00:30", "10-25T01:30", "10-25T02:30"]),
        ("0 30 2 * * ?", "2026-03-28T00:00:00Z", ["03-28T01:30", "03-29T01:00", "03-30T00:30"]),
    ],
)
def test_cron_lines_over_a_change_of_the_clocks(line, start, expected):
    assert times(line, start, len(expected), Calendar("Europe/Berlin")) == expected
    assert times(f"TZ=Europe/Berlin {line}", start, len(expected)) == expected


@pytest.mark.parametrize(
    ("line", "cron", "expected"),
    [
        ("0 0 9 ? * 2-6", "quartz", ["11-30", "12-01", "12-02", "12-03", "12-04", "12-07"]),
        ("0 0 9 ? * 1-5", "spring", ["11-30", "12-01", "12-02", "12-03", "12-04", "12-07"]),
        ("0 9 * * 1-5", "quartz", ["11-30", "12-01", "12-02", "12-03", "12-04", "12-07"]),
        ("0 0 9 ? * FRI-MON", "quartz", ["11-28", "11-29", "11-30", "12-04", "12-05"]),
        ("0 0 9 ? * 5-7", "spring", ["11-28", "11-29", "12-04"]),
        ("0 0 9 L * ?", "quartz", ["11-30", "12-31", "01-31", "02-28"]),
        ("0 0 9 L-2 * ?", "quartz", ["11-28", "12-29", "01-29"]),
        ("0 0 9 LW * ?", "quartz", ["11-30", "12-31", "01-29", "02-26"]),
        ("0 0 9 15W * ?", "quartz", ["12-15", "01-15", "02-15", "03-15", "04-15", "05-14"]),
        ("0 0 9 1W * ?", "quartz", ["12-01", "01-01", "02-01"]),
        ("0 0 9 ? * 6L", "quartz", ["12-25", "01-29"]),
        ("0 0 9 ? * 5L", "spring", ["12-25", "01-29"]),
        ("0 0 9 ? * 6#3", "quartz", ["12-18", "01-15"]),
        ("0 0 9 ? * MON#1", "spring", ["12-07", "01-04"]),
        ("0 0 9 13 * FRI", "spring", ["08-13"]),
        ("0 9 13 * FRI", "spring", ["12-04", "12-11", "12-13"]),
        ("0 0 9 1 1 ? 2028", "quartz", ["01-01"]),
        ("@daily", "spring", ["11-29", "11-30"]),
    ],
)
def test_days_of_cron_lines_as_each_vendor_counts_them(line, cron, expected):
    found = times(line, "2026-11-28T08:00:00Z", len(expected), Calendar(cron=cron))
    assert [each[:5] for each in found] == expected


def test_a_year_far_ahead_is_found_and_one_that_is_over_refused():
    due = schedule("cycle", "0 0 9 1 1 ? 2128", NOW).due
    assert due == at("2128-01-01T09:00:00Z")
    with pytest.raises(BadData, match="never occurs again"):
        schedule("cycle", "0 0 9 1 1 ? 2020", NOW)


@pytest.mark.parametrize(
    "line",
    [
        "0 0 9 1 * 2", "0 0 9 32 * ?", "0 0 9 ? * 8", "0 0 9 ? 13 *", "0 0 9 0W * ?",
        "0 0 9 ? * 2#6", "0 0 9 ? * FRO", "0 0 25 ? * 1", "0 0 9 30 2 ?", "0 0 9 * * ? 1800",
        "* * * *", "@often", "TZ=Nowhere/Land 0 9 * * *", "0 0 9 ? * 0",
    ],
)  # fmt: skip
def test_cron_lines_that_are_none(line):
    with pytest.raises(BadData):
        schedule("cycle", line, NOW)


def test_dates_with_the_name_of_a_zone():
    nine = at("2026-06-01T07:00:00Z")
    for text in ("2026-06-01T09:00:00[Europe/Berlin]", "2026-06-01T09:00:00@Europe/Berlin"):
        assert schedule("date", text, NOW).due == nine
    assert schedule("date", "2026-06-01T09:00:00+02:00[Europe/Berlin]", NOW).due == nine
    assert schedule("date", "2026-06-01T09:00:00", NOW, Calendar("Europe/Berlin")).due == nine


def test_a_cron_line_whose_years_are_over_is_not_followed_by_anything():
    last = schedule("cycle", "0 0 6 1 1 ? 2027", NOW)
    assert following(last.interval, last.due, last.due) is None
