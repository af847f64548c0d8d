"""What changes without this process: instances of other hosts, and logs of attempts that run.

Only instances that somebody watches are looked at, all of them together.
"""

from __future__ import annotations

import asyncio
import functools
import logging

from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.journal.records import Moved
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.changes import Changes
from mlkit.bpmn.server.context import Context

INTERVAL = 1.0
"""Seconds between two looks at the journal."""
_Stamp = tuple[int, float | None]
logger = logging.getLogger("mlkit.bpmn")


async def follow(context: Context, changes: Changes) -> None:
    """Look again and again, for ever; a journal that does not answer is asked again."""
    known: dict[str, _Stamp] = {}
    fails = False
    while True:
        await asyncio.sleep(INTERVAL)
        watched = context.feed.topics()
        changes.forget_all_but(set(watched))
        if not watched:
            known = {}
            continue
        try:
            found = await context.call(functools.partial(_read, watched))
            fails = False
        except Exception as error:  # Also after a defect those who watch are served.
            if not fails:
                logger.error("changes by other hosts are not seen: %s", error)
            fails = True
            continue
        known = _publish(context, changes, known, found)


def _read(watched: list[str], service: Service) -> list[Moved]:
    return list(service.journal.running_attempts.moved(watched))


def _publish(
    context: Context, changes: Changes, known: dict[str, _Stamp], found: list[Moved]
) -> dict[str, _Stamp]:
    """Publish what has changed since the last look and was not published; return what is known."""
    now: dict[str, _Stamp] = {}
    for each in found:
        now[each.id] = each.sequence, each.printed
        before = known.get(each.id)
        is_published = changes.sequences.get(each.id, -1) >= each.sequence
        has_moved = before is not None and before[0] != each.sequence and not is_published
        has_printed = before is not None and each.printed not in (None, before[1])
        if has_moved or has_printed or before is None:
            change = {
                "instance": each.id, "process": each.process, "state": each.status,
                "at": instant(each.updated),
            }  # fmt: skip
            context.feed.publish(each.id, change)
    return now
