"""What comes from a feed, taken by a thread of its own into a queue of bounded size."""

from __future__ import annotations

import queue
import threading
import time
from typing import NamedTuple

from mlkit.errors import MlkitError
from mlkit.pairs.feeds.bounded_queue import BoundedQueue
from mlkit.pairs.feeds.feed import Batch, Broken, Feed, Position, reconnecting
from mlkit.pairs.feeds.records import PriceRecord
from mlkit.pairs.live.topics import Input

MOST = 5000
"""Records of an input at most, but for a larger batch of the feed."""
AHEAD = 3600 * 10**9
"""How far a record's time may be ahead of the clock."""


class Ended(NamedTuple):
    """The feed has ended; with an error, if it failed."""

    error: Exception | None = None


class Intake:
    """Reads a feed.

    Args:
        feed: The feed.
        position: Where it goes on.
    """

    def __init__(self, feed: Feed, position: Position) -> None:
        self._feed, self._position = feed, position
        self._queue: BoundedQueue[Batch | Broken | Ended] = BoundedQueue()
        self._held: Batch | Broken | Ended | None = None
        self.ended: Ended | None = None
        self.last_arrival = time.monotonic()
        self._thread = threading.Thread(target=self._read, name="feed", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def _read(self) -> None:
        try:
            for each in reconnecting(self._feed, self._position, self._queue.stopped.wait):
                if not self._queue.put(each):
                    return
            self._queue.put(Ended())
        except Exception as error:
            self._queue.put(Ended(error))

    def stop(self) -> None:
        """Read no more; the thread ends with the feed's next batch."""
        self._queue.stopped.set()

    def next(self, timeout: float) -> Input | None:
        """Return what has come, as one input; None if nothing comes within the time in seconds."""
        first = self._get(timeout)
        if first is None:
            return None
        if isinstance(first, Ended):
            self.ended = first
            return None
        if isinstance(first, Broken):
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            return Input(broken=first.problem, at=moment)
        self.last_arrival = time.monotonic()
        return self._join(first)

    def _get(self, timeout: float) -> Batch | Broken | Ended | None:
        if self._held is not None:
            held, self._held = self._held, None
            return held
        try:
            return self._queue.get(timeout)
        except queue.Empty:
            return None

    def _join(self, batch: Batch) -> Input:
        """Join a batch with those that wait behind it, which saves writes to the disk."""
        found = Input(list(batch.records), batch.position, dict(batch.rejected))
        while len(found.records) < MOST:
            try:
                more = self._queue.get(0)
            except queue.Empty:
                break
            if not isinstance(more, Batch):
                self._held = more
                break
            found.records.extend(more.records)
            found.position = more.position
            for reason, count in more.rejected.items():
                found.rejected[reason] = found.rejected.get(reason, 0) + count
        if not self._feed.is_replay:
            _drop_ahead(found)
        return found


def _drop_ahead(given: Input) -> None:
    """Drop records from the future: one of them would make all others late."""
    most = time.time_ns() + AHEAD
    kept: list[PriceRecord] = [each for each in given.records if each.time <= most]
    if len(kept) < len(given.records):
        given.rejected["ahead"] = given.rejected.get("ahead", 0) + len(given.records) - len(kept)
        given.records = kept


def failure(ended: Ended) -> MlkitError | Exception | None:
    """Return why a feed failed; None if it has ended."""
    return ended.error
