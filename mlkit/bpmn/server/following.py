"""What changes without this process: instances of other hosts, and logs of attempts that run.

Instances that somebody watches are looked at all together. Where somebody watches all instances,
as the first page and those of definitions do, those that have moved lately are looked for.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from dataclasses import dataclass, field

from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.journal.records import Moved
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.changes import Changes
from mlkit.bpmn.server.context import Context

INTERVAL = 1.0
"""Seconds between two looks at the journal."""
_REST = 20
"""A look is followed by so many times its own time without one: it never takes a processor."""
_SKEW = 10.0
"""Seconds by which the clocks of hosts may differ: an event is written with its host's time."""
_MOST = 500
"""Instances of a look for what has moved lately, the newest ones; their topic is sent at once."""
logger = logging.getLogger("mlkit.bpmn")


@dataclass
class _Known:
    """What was seen at the last look: how far instances had come, and when the last one moved."""

    stamps: dict[str, tuple[int, float | None]] = field(default_factory=dict)
    last: float | None = None


async def follow(context: Context, changes: Changes) -> None:
    """Look again and again, for ever; a journal that does not answer is asked again."""
    known = _Known()
    fails = False
    pause = INTERVAL
    while True:
        await asyncio.sleep(pause)
        pause = INTERVAL
        watched, is_all = context.feed.topics(), context.feed.watches_all
        if not (watched or is_all):
            changes.forget_all_but(set())
            known = _Known()
            continue
        begin = time.monotonic()
        since = known.last if is_all else None
        try:
            found, lately = await context.call(functools.partial(_read, watched, is_all, since))
            fails = False
        except Exception as error:  # Also after a defect those who watch are served.
            if not fails:
                logger.error("changes by other hosts are not seen: %s", error)
            fails = True
            continue
        pause = max(INTERVAL, _REST * (time.monotonic() - begin))
        known = _publish(context, changes, known, found, lately)
        if not is_all:
            known.last = None
        changes.forget_all_but({*watched, *known.stamps})


def _read(
    watched: list[str], is_all: bool, since: float | None, service: Service
) -> tuple[list[Moved], list[Moved]]:
    """Return those that are watched one by one, and those that have moved lately."""
    attempts = service.journal.running_attempts
    found = list(attempts.read_progress(watched)) if watched else []
    if not is_all:
        return found, []
    after = time.time() if since is None else since
    return found, attempts.moved_since(after - _SKEW, _MOST)


def _publish(
    context: Context, changes: Changes, known: _Known, found: list[Moved], lately: list[Moved]
) -> _Known:
    """Publish what has changed since the last look and was not published; return what is known."""
    now = _Known(last=known.last)
    for each in found:
        before = known.stamps.get(each.id)
        has_printed = before is not None and each.printed not in (None, before[1])
        if before is None or has_printed or _has_moved(changes, before, each):
            _tell(context, each)
        now.stamps[each.id] = each.sequence, each.printed
    for each in lately:
        now.last = max(each.updated, now.last or 0.0)
        before = known.stamps.get(each.id)
        if each.id not in now.stamps:
            if _has_moved(changes, before, each):
                _tell(context, each)
            now.stamps[each.id] = each.sequence, each.printed
    if now.last is None:
        now.last = time.time()
    return now


def _has_moved(changes: Changes, before: tuple[int, float | None] | None, each: Moved) -> bool:
    is_published = changes.sequences.get(each.id, -1) >= each.sequence
    return (before is None or before[0] != each.sequence) and not is_published


def _tell(context: Context, each: Moved) -> None:
    change = {
        "instance": each.id, "process": each.process, "state": each.status,
        "at": instant(each.updated),
    }  # fmt: skip
    context.feed.publish(each.id, change)
