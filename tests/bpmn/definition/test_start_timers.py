"""When deployed processes start by themselves: grids, missed times, summer time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from bpmn.conftest import HEAD
from hypothesis import given
from hypothesis import strategies as st

from mlkit.bpmn.definition.parser import parse_text
from mlkit.bpmn.definition.start_timers import MOST_STARTS, TOLERANCE, fire, of_process
from mlkit.bpmn.definition.timers import instant
from mlkit.errors import BadData

NOW = datetime.fromisoformat("2030-01-01T12:00:10Z").timestamp()


def timer(kind: str, text: str, process: str = "", now: float = NOW):
    """Return the timer of a process with one timer start event."""
    xml = (
        f'{HEAD}<process id="p" xmlns:m="urn:mlkit:bpmn" {process}><startEvent id="s">'
        f"<timerEventDefinition><{kind}>{text}</{kind}></timerEventDefinition></startEvent>"
        "</process></definitions>"
    )
    definitions = parse_text(xml.encode(), Path("p.bpmn"))
    assert definitions.problems == ()
    (found,) = of_process(definitions.processes[0], now)
    return found


def shown(times):
    return [instant(each).removesuffix(":00.000Z") for each in times]


@pytest.mark.parametrize(
    ("kind", "text", "times"),
    [
        ("timeDate", "2030-01-01T13:00:00Z", ["2030-01-01T13:00"]),
        ("timeDate", "2029-01-01T13:00:00Z", []),  # passed before it was deployed
        ("timeDuration", "PT50S", ["2030-01-01T12:01"]),
        ("timeCycle", "R2/PT50S", ["2030-01-01T12:01", "2030-01-01T12:01:50.000Z"]),
        ("timeCycle", "R3/2030-01-01T11:30:00Z/PT20M", ["2030-01-01T12:10"]),
        ("timeCycle", "R/2030-01-01T00:00:00Z/PT6H", ["2030-01-01T18:00", "2030-01-02T00:00"]),
        ("timeCycle", "30 6 * * 1-5", ["2030-01-02T06:30", "2030-01-03T06:30"]),
    ],
)
def test_the_next_times(kind, text, times):
    assert shown(timer(kind, text).upcoming(2, NOW)) == times


@pytest.mark.parametrize(
    ("line", "day", "times"),
    [
        # 02:30 does not exist on the day that summer time begins: the clock shows 03:00 then.
        ("30 2 * * *", "2030-03-30T12:00:00Z", ["2030-03-31T01:00", "2030-04-01T00:30"]),
        # 02:30 comes twice on the day that it ends: once is enough.
        ("30 2 * * *", "2030-10-26T12:00:00Z", ["2030-10-27T00:30", "2030-10-28T01:30"]),
        ("0 12 * * *", "2030-03-30T12:00:00Z", ["2030-03-31T10:00", "2030-04-01T10:00"]),
    ],
)
def test_summer_time(line, day, times):
    now = datetime.fromisoformat(day).timestamp()
    for name in ("timezone", "timeZone"):
        found = timer("timeCycle", line, f'm:{name}="Europe/Berlin"', now)
        assert shown(found.upcoming(2, now)) == times


def hourly(misfire: str):
    return timer("timeCycle", "0 * * * *", f'm:misfire="{misfire}"')


@pytest.mark.parametrize(
    ("misfire", "starts"),
    [
        ("one", ["2030-01-01T13:00"]),
        ("none", []),
        ("all", ["2030-01-01T13:00", "2030-01-01T14:00", "2030-01-01T15:00"]),
    ],
)
def test_times_that_were_missed(misfire, starts):
    later = datetime.fromisoformat("2030-01-01T15:20:00Z").timestamp()
    firing = fire(hourly(misfire), later)
    assert shown(firing.starts) == starts
    assert shown([firing.timer.due]) == ["2030-01-01T16:00"]


@pytest.mark.parametrize("misfire", ["one", "none", "all"])
def test_a_little_late_is_not_missed(misfire):
    due = hourly(misfire).due
    assert fire(hourly(misfire), due - 1).starts == []
    firing = fire(hourly(misfire), due + TOLERANCE)
    assert firing.starts == [due]
    assert firing.timer.due == due + 3600


def test_what_is_made_up_for_comes_in_portions():
    found = hourly("all")
    year = found.due + 365 * 86400
    starts = []
    while found.due <= year:
        firing = fire(found, year)
        assert 1 <= len(firing.starts) <= MOST_STARTS
        starts += firing.starts
        found = firing.timer
    assert len(starts) == len(set(starts)) == 365 * 24 + 1


@given(
    times=st.integers(1, 9),
    misfire=st.sampled_from(["one", "none", "all"]),
    looks=st.lists(st.integers(0, 900), max_size=12),
)
def test_a_cycle_with_an_end_starts_each_of_its_times_once_at_most(times, misfire, looks):
    found = replace(timer("timeCycle", f"R{times}/PT1M"), misfire=misfire)
    grid = [NOW + 60 * each for each in range(1, times + 1)]
    now, starts = NOW, []
    for each in looks:
        now += each
        before = found
        firing = fire(found, now)
        starts += firing.starts
        found = firing.timer
        assert found.due is None or found.due > now or before != found
    assert starts == sorted(set(starts))
    assert set(starts) <= set(grid)
    if misfire == "all":
        assert starts == [each for each in grid if each <= now]


def test_policies_are_words_that_are_known():
    xml = f'{HEAD}<process id="p" xmlns:m="urn:mlkit:bpmn" m:overlap="never"/></definitions>'
    (problem,) = parse_text(xml.encode(), Path("p.bpmn")).problems
    assert problem.message == "mlkit:overlap is one of allow, skip, queue, not 'never'"


def test_a_time_that_needs_a_variable_is_refused():
    xml = (
        f'{HEAD}<process id="p"><startEvent id="s"><timerEventDefinition><timeDuration>'
        "${wait}</timeDuration></timerEventDefinition></startEvent></process></definitions>"
    )
    definitions = parse_text(xml.encode(), Path("p.bpmn"))
    with pytest.raises(BadData, match="no variable 'wait'"):
        of_process(definitions.processes[0], NOW)
