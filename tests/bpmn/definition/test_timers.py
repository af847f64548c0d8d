"""When timers fire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mlkit.bpmn.definition.timers import FOREVER, duration, following, schedule
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
    assert (three.due, three.again, three.interval) == (NOW + 10, 2, "PT10S")
    assert schedule("cycle", "R/PT10S", NOW).again == FOREVER
    begun = schedule("cycle", "R2/2026-02-01T00:00:00Z/PT1H", NOW)
    assert begun.due == at("2026-02-01T00:00:00+00:00")
    assert following("PT1H", begun.due) == begun.due + 3600


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
    assert following(first.interval, first.due) > first.due


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
    assert following("P1M", at("2026-01-31T08:00:00Z")) == at("2026-02-28T08:00:00Z")


@pytest.mark.parametrize("text", ["R3/PT10S/2026-02-01T00:00:00Z", "R/-P1M", "R3/P9999Y"])
def test_cycles_that_are_none(text):
    with pytest.raises(BadData):
        schedule("cycle", text, NOW)
