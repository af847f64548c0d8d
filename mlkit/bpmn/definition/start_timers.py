"""Timer start events: when a deployed process starts by itself, and what was missed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

from mlkit.bpmn.definition.model import EventDefinition, Misfire, Overlap, Process
from mlkit.bpmn.definition.timers import FOREVER, following, schedule
from mlkit.errors import BadData

TOLERANCE = 60.0
"""Seconds that a start may be late before its time counts as missed."""
MOST_STARTS = 100
"""Missed starts that are made up for in one step; the others follow in the next ones."""


@dataclass(frozen=True, slots=True)
class StartTimer:
    """A timer start event of a deployed process, and when it is due.

    Attributes:
        process: The key of the process.
        element: The start event.
        kind: `date`, `duration` or `cycle`.
        text: The text in the diagram.
        zone: The time zone in which it counts.
        misfire, overlap: What becomes of missed times, and of starts before the last has ended.
        due: The next time, in seconds since 1970; None: it does not start any more.
        again: Times that are left after `due`; `FOREVER` without an end.
        interval: From what the next time is found.
    """

    process: str
    element: str
    kind: str
    text: str
    zone: str = "UTC"
    misfire: Misfire = "one"
    overlap: Overlap = "allow"
    due: float | None = None
    again: int = 0
    interval: str = ""

    def is_same(self, other: StartTimer) -> bool:
        """Return whether two versions of a process begin at the same times."""
        return (self.kind, self.text, self.zone) == (other.kind, other.text, other.zone)

    def upcoming(self, count: int, now: float) -> list[float]:
        """Return the next times from now on, at most `count`."""
        return list(islice(self._times(now), count))

    def _times(self, now: float) -> Iterator[float]:
        timer = self if self.due is None or self.due >= now else self.after(now)
        while timer.due is not None:
            yield timer.due
            timer = timer.after(timer.due)

    def after(self, now: float) -> StartTimer:
        """Return the timer at its first time after its due one and after now."""
        if self.due is None or not self.again:
            return replace(self, due=None)
        found = following(self.interval, self.due, now)
        if found is None:
            return replace(self, due=None)
        due, steps = found
        if self.again == FOREVER:
            return replace(self, due=due)
        again = self.again - steps
        return replace(self, due=due, again=again) if again >= 0 else replace(self, due=None)

    def resume(self, now: float) -> StartTimer:
        """Return the timer at its first time from now on, as it goes on after a pause.

        A clock that was wrong for a moment may have led it far ahead: where it has no end, it
        comes back from there.
        """
        if self.due is None or self.due < now:
            return self.after(now)
        if self.again != FOREVER:
            return self
        nearest = replace(self, due=now).after(now)
        return nearest if nearest.due is not None and nearest.due < self.due else self


class Firing(NamedTuple):
    """What a timer that is due does.

    Attributes:
        starts: The times for which an instance starts.
        timer: The timer as it goes on.
    """

    starts: list[float]
    timer: StartTimer


def fire(timer: StartTimer, now: float) -> Firing:
    """Find out what a timer starts, and how it goes on.

    Args:
        timer: The timer.
        now: Seconds since 1970.
    """
    due = timer.due
    if due is None or due > now:
        return Firing([], timer)
    if timer.misfire == "all":
        return _catch_up(timer, now)
    if due >= now - TOLERANCE:
        return Firing([due], timer.after(due))
    return Firing([due] if timer.misfire == "one" else [], timer.after(now))


def _catch_up(timer: StartTimer, now: float) -> Firing:
    starts: list[float] = []
    while timer.due is not None and timer.due <= now and len(starts) < MOST_STARTS:
        starts.append(timer.due)
        timer = timer.after(timer.due)
    return Firing(starts, timer)


def of_process(process: Process, now: float) -> list[StartTimer]:
    """Return the timers at which a process starts, as they are when it is deployed.

    A date that has passed is not made up for: what is deployed today does not start for last year.

    Raises:
        BadData: A time needs a variable, or is none.
    """
    return [
        _begin(process, node.id, each, now)
        for node in process.body.nodes.values()
        if node.type == "startEvent" and node.event is not None and not node.event.parallel
        for each in node.event.of_kind("timer")
    ]


def _begin(process: Process, element: str, event: EventDefinition, now: float) -> StartTimer:
    assert event.expression is not None
    text = str(event.expression.evaluate(_no_variable, datetime.fromtimestamp(now, UTC)))
    timer = StartTimer(
        process.id,
        element,
        event.timer,
        text,
        event.calendar.zone,
        process.misfire,
        process.overlap,
    )
    first = schedule(event.timer, text, now, event.calendar)
    if first.due < now:  # Of a cycle that is over, this is its last time.
        return timer
    return replace(timer, due=first.due, again=first.again, interval=first.interval)


def _no_variable(name: str) -> Any:
    raise BadData(f"there is no variable {name!r} before a process has begun")
