"""From the engine's thread to metrics, logs, and those who watch: what has changed, gathered."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.journal.records import Entry
from mlkit.bpmn.runtime.running import Running
from mlkit.bpmn.server import metrics
from mlkit.bpmn.server.telemetry import Telemetry
from mlkit.web.events import Feed
from mlkit.web.metrics import Counters

logger = logging.getLogger("mlkit.bpmn")


class Changes:
    """Takes what the engine has moved, and hands it to the feed in the event loop's thread.

    Args:
        feed: Who watches.
        telemetry: Who reports to a collector; None: nobody.

    Attributes:
        sequences: The last events of instances that were published, by the instances' ids.
    """

    def __init__(self, feed: Feed, telemetry: Telemetry | None = None) -> None:
        self._feed = feed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._counters: Counters | None = None
        self._uncounted: list[Callable[[Counters], None]] = []
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._news: dict[str, dict[str, Any]] = {}
        self.sequences: dict[str, int] = {}

    def tell(self, loop: asyncio.AbstractEventLoop, counters: Counters) -> None:
        """Notify the watchers of a loop from now on, and count."""
        with self._lock:
            self._counters, uncounted = counters, self._uncounted
            self._uncounted = []
            for each in uncounted:
                each(counters)
        self._loop = loop

    def count_leases(self, change: str, number: int) -> None:
        """Count, in the engine's thread, instances that were taken, or lost to another host."""
        self._count(lambda counters: counters.add(change, number))

    def note(self, running: Running, entry: Entry) -> None:
        """Note, in the engine's thread, that an instance has moved."""
        self._count(lambda counters: metrics.count(counters, running, entry))
        if self._telemetry is not None:
            self._telemetry.note(running, entry)
        _log(running, entry)
        if self._loop is None or not len(self._feed):
            return
        state = running.state
        change = {
            "instance": running.id,
            "process": state.process,
            "state": state.effective_status,
            "at": instant(entry.at),
        }
        with self._lock:
            self.sequences[running.id] = running.sequence
            is_first = not self._news
            self._news[running.id] = change
        if is_first:
            self._loop.call_soon_threadsafe(self._publish)

    def _count(self, add: Callable[[Counters], None]) -> None:
        """Count now, or once it is known where: the engine moves before anything is served."""
        with self._lock:
            if self._counters is None:
                self._uncounted.append(add)
            else:
                add(self._counters)

    def forget_all_but(self, watched: set[str]) -> None:
        """Forget the last events of instances that nobody watches."""
        with self._lock:
            for each in self.sequences.keys() - watched:
                del self.sequences[each]

    def _publish(self) -> None:
        with self._lock:
            news, self._news = self._news, {}
        for instance, change in news.items():
            self._feed.publish(instance, change)


def _log(running: Running, entry: Entry) -> None:
    """Log how attempts failed and instances ended, with the ids of the instance and element."""
    log, state = entry.log, running.state
    about = {"instance": running.id, "definition": state.process}
    if log is not None and log.outcome not in ("completed", "error"):
        logger.warning(
            "attempt %d at %s of instance %s failed", log.attempt, log.element, running.id,
            extra={**about, "element": log.element, "attempt": log.attempt},
        )  # fmt: skip
    if entry.ends:
        logger.info(
            "instance %s of %s is %s", running.id, state.process, state.status,
            extra={**about, "state": state.status},
        )  # fmt: skip
