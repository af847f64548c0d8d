"""Starts deployed processes by themselves: at their times, by messages, signals and conditions."""

from __future__ import annotations

import logging
import threading
import time

import msgspec

from mlkit.bpmn.definition.start_timers import fire
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Begun, Damaged, Row, Scheduled
from mlkit.bpmn.runtime import conditions
from mlkit.bpmn.runtime.deployment import Request, Starter
from mlkit.bpmn.runtime.host import Host
from mlkit.errors import BadData, MlkitError

BY = "schedule"
"""Who starts what starts by itself, in the audit log."""
_LOOK_AGAIN = 1.0
"""Seconds after which other hosts' messages, signals and schedules are seen at the latest."""
logger = logging.getLogger("mlkit.bpmn")


class Scheduler:
    """Looks, in a thread of its own, for what is due; the host writes what follows.

    However many hosts look at one journal, each time starts one instance: the start and the step
    of the schedule are one transaction, which only the first of them can commit.

    Args:
        host: Writes to the journal.
        starter: Starts instances.
    """

    def __init__(self, host: Host, starter: Starter) -> None:
        self._host = host
        self._starter = starter
        self._event = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="scheduler", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more, and wait for the last look."""
        self._stopping = True
        self._event.set()
        self._thread.join()

    def wake(self) -> None:
        """Look at once."""
        self._event.set()

    def _work(self) -> None:
        while not self._stopping:
            self._event.clear()
            wait = _LOOK_AGAIN
            try:
                due = self._host.write(self.look).result()
                wait = _LOOK_AGAIN if due is None else min(wait, max(0.0, due - time.time()))
            except MlkitError as error:
                logger.error("%s; trying again", error.message)
            except Exception:  # One schedule that fails is no reason to stop the others.
                logger.exception("the scheduler failed; trying again")
            self._event.wait(wait)

    def look(self, journal: Journal) -> float | None:
        """Start what is due, inside a transaction; return when the next start is due."""
        now = time.time()
        for each in journal.schedules.due(now):
            try:
                step(journal, self._starter, each, now)
            except BadData as error:  # It has written nothing; the others are no worse for it.
                logger.error("%s/%s: %s", each.timer.process, each.timer.element, error.message)
        for begun in journal.schedules.take_starts(now):
            self._begin(journal, begun)
        for begun in conditions.take_changes(journal, self._starter):
            self._begin(journal, begun)
        # What has failed is due still: it is tried again later, and not without a pause.
        return journal.schedules.next_due(after=now)

    def _begin(self, journal: Journal, begun: Begun) -> None:
        request = Request(
            begun.process, None, begun.variables, begun.key, node=begun.element, by=BY, source=BY
        )
        _try_start(journal, self._starter, request)


def step(journal: Journal, starter: Starter, scheduled: Scheduled, now: float) -> None:
    """Start what is due on a schedule, by the process's rule for overlapping starts."""
    firing = fire(scheduled.timer, now)
    count = scheduled.queued + len(firing.starts)
    starts, queued = count, 0
    if firing.timer.overlap != "allow":
        starts = min(count, 0 if _is_busy(journal, scheduled) else 1)
        queued = count - starts if firing.timer.overlap == "queue" else 0
    after = msgspec.structs.replace(scheduled, timer=firing.timer, queued=queued)
    if after == scheduled and not starts:
        return
    after = msgspec.structs.replace(after, last=now if starts else scheduled.last)
    if not journal.schedules.update(scheduled, after):
        return  # Another host has done it.
    request = Request(after.timer.process, node=after.timer.element, by=BY, source=BY)
    for _ in range(starts):
        row = _try_start(journal, starter, request)
        if row is not None:
            journal.schedules.note(after, row.number)


def _is_busy(journal: Journal, scheduled: Scheduled) -> bool:
    """Return whether the instance that a schedule has started last is not known to have ended."""
    try:
        return bool(scheduled.instance) and journal.get(scheduled.instance).is_open
    except Damaged:
        return True


def start_now(journal: Journal, starter: Starter, scheduled: Scheduled, by: str) -> Row:
    """Start what a schedule starts, beside its times and whatever else runs.

    Where starts must not overlap, the schedule still waits for the end of the instance that it has
    started by itself, rather than for that of the new one.
    """
    timer = scheduled.timer
    row = starter.start(journal, Request(timer.process, node=timer.element, by=by, source=BY))
    if timer.overlap == "allow" or not _is_busy(journal, scheduled):
        journal.schedules.note(scheduled, row.number)
    return row


def _try_start(journal: Journal, starter: Starter, request: Request) -> Row | None:
    try:
        return starter.start(journal, request)
    except MlkitError as error:
        logger.error("%s: %s", request.process, error.message)
        return None
