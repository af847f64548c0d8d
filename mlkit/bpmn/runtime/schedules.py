"""What people and programs may ask of schedules: see them, pause them, start them now."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from mlkit.bpmn.definition.timers import instant, zone_of
from mlkit.bpmn.journal.notices import Audited
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Damaged, Row, Scheduled
from mlkit.bpmn.runtime.deployment import Starter
from mlkit.bpmn.runtime.scheduler import start_now
from mlkit.bpmn.runtime.session import Session
from mlkit.errors import UsageError

SHOWN = 5
"""Times that are shown of each schedule."""


class Shown(NamedTuple):
    """A schedule as it is shown.

    Attributes:
        upcoming: Its next times, in seconds since 1970.
        instance: The id of the instance that it has started last, if it can still be read.
    """

    scheduled: Scheduled
    upcoming: Sequence[float]
    instance: str | None


def schedules(session: Session) -> list[Shown]:
    """Return all schedules, by process and element."""
    now = time.time()
    return [describe(session.journal, each, now) for each in session.journal.schedules.all()]


def describe(journal: Journal, scheduled: Scheduled, now: float) -> Shown:
    """Return a schedule as it is shown."""
    instance = None
    if scheduled.instance:
        with contextlib.suppress(Damaged):
            instance = journal.get(scheduled.instance).id
    return Shown(scheduled, scheduled.timer.upcoming(SHOWN, now), instance)


def document(shown: Shown) -> dict[str, Any]:
    """Describe a schedule, as documents have it."""
    scheduled, timer = shown.scheduled, shown.scheduled.timer
    return {
        "process": timer.process,
        "element": timer.element,
        "kind": timer.kind,
        "timer": timer.text,
        "timezone": timer.zone,
        "misfire": timer.misfire,
        "overlap": timer.overlap,
        "paused": scheduled.paused,
        "queued": scheduled.queued,
        "last": None if scheduled.last is None else instant(scheduled.last),
        "instance": shown.instance,
        "upcoming": [instant(each) for each in shown.upcoming],
    }


def format_local(at: float, zone: str) -> str:
    """Write a time (seconds since 1970) by the clock of a schedule's time zone, for people."""
    return f"{datetime.fromtimestamp(at, zone_of(zone)):%a %Y-%m-%d %H:%M:%S %Z}"


def pause(session: Session, name: str, paused: bool, by: str) -> Shown:
    """Pause a schedule, or let it go on; what it misses meanwhile is not a misfire.

    Args:
        session: The state folder.
        name: `PROCESS`, or `PROCESS/ELEMENT` where a process has several.
        paused: Whether it is to be paused.
        by: Who does it.

    Raises:
        InputMissing: There is no such schedule.
    """
    source = session.source

    def change(journal: Journal) -> Shown:
        now = time.time()
        before = _find(journal, name)
        timer = before.timer
        if before.paused and not paused:
            timer = timer.resume(now)
        after = msgspec.structs.replace(before, paused=paused, timer=timer)
        if not journal.schedules.update(before, after):
            raise UsageError(f"schedule {name}: somebody else has just changed it")
        action = "pause" if paused else "resume"
        journal.audit.add(Audited(now, by, source, action, "", f"schedule {name}"[:1000]))
        return describe(journal, after, now)

    return session.write(change)


def run(session: Session, starter: Starter, name: str, by: str) -> Row:
    """Start what a schedule starts, now, beside its times.

    Raises:
        InputMissing: There is no such schedule.
    """
    return session.write(lambda journal: start_now(journal, starter, _find(journal, name), by))


def _find(journal: Journal, name: str) -> Scheduled:
    process, slash, element = name.partition("/")
    return journal.schedules.require(process, element if slash else None)
