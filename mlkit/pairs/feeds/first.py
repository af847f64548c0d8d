"""The first tickers of a feed that does not say which ones it has."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

from mlkit.errors import InputMissing, MlkitError, UsageError
from mlkit.pairs.feeds.bounded_queue import BoundedQueue
from mlkit.pairs.feeds.feed import Batch, Feed, Position

MOST = 1_000_000
"""Records in which the tickers have to come, readable or not; they are kept until
the run takes them."""
LONGEST_WAIT = 600.0
"""Seconds in which another ticker has to come."""


class _Reader:
    """Reads a feed in a thread of its own, so that whoever waits for a batch can give up."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._queue: BoundedQueue[Batch | MlkitError | None] = BoundedQueue()
        self._ended = False
        threading.Thread(target=self._read, name="first tickers", daemon=True).start()

    def _read(self) -> None:
        try:
            for batch in self._feed.read(None):
                if not self._queue.put(batch):
                    return
            self._queue.put(None)
        except MlkitError as error:
            self._queue.put(error)
        except (Exception, SystemExit) as error:  # code of users, and of their brokers' clients
            self._queue.put(InputMissing(f"{self._feed.name}: {type(error).__name__}: {error}"))

    def next(self, timeout: float | None = None) -> Batch | None:
        """Return the next batch; None at the end.

        Raises:
            MlkitError: The feed broke.
            queue.Empty: None came within the time in seconds.
        """
        item = None if self._ended else self._queue.get(timeout)
        self._ended = not isinstance(item, Batch)
        if isinstance(item, MlkitError):
            raise item
        return item

    def stop(self) -> None:
        """Read no more; the thread ends with the feed's next batch."""
        self._queue.stopped.set()


class BegunFeed:
    """A feed of which some has been read, which it yields again.

    Args:
        feed: The feed.
        kept: What has been read.
        rest: What follows.
    """

    def __init__(self, feed: Feed, kept: list[Batch], rest: _Reader) -> None:
        self.name, self.is_replay = feed.name, feed.is_replay
        self._feed, self._kept = feed, kept
        self._rest: _Reader | None = rest

    def read(self, position: Position) -> Iterator[Batch]:
        """Yield what has been read and what follows, once; see `Feed.read`."""
        if self._rest is None:
            yield from self._feed.read(position)
            return
        kept, rest = self._kept, self._rest
        self._kept, self._rest = [], None
        try:
            yield from kept
            while (batch := rest.next()) is not None:
                yield batch
        finally:
            rest.stop()


def first_tickers(feed: Feed, count: int) -> tuple[tuple[str, ...], BegunFeed]:
    """Wait for the first tickers of a feed; return them, fewer if it ends, and the whole feed.

    Raises:
        UsageError: A million records have fewer tickers, or no other one comes for ten minutes.
        MlkitError: The feed broke, or is not there.
    """
    found: dict[str, None] = {}
    kept: list[Batch] = []
    rest = _Reader(feed)
    try:
        _collect(rest, kept, found, count, feed.name)
    except BaseException:
        rest.stop()
        raise
    return tuple(found)[:count], BegunFeed(feed, kept, rest)


def _collect(
    reader: _Reader, kept: list[Batch], found: dict[str, None], count: int, name: str
) -> None:
    """Read until there are enough tickers, or the feed ends."""
    records = unreadable = 0
    deadline = time.monotonic() + LONGEST_WAIT
    while len(found) < count:
        try:
            batch = reader.next(max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise _too_few(f"{name}: no other ticker came for {LONGEST_WAIT:g} s", found) from None
        if batch is None:
            return
        kept.append(batch)
        records += len(batch.records)
        unreadable += sum(batch.rejected.values())
        known = len(found)
        found |= dict.fromkeys(each.ticker for each in batch.records)
        if len(found) > known:
            deadline = time.monotonic() + LONGEST_WAIT
        if records + unreadable > MOST and len(found) < count:
            raise _too_few(f"{name}: {records:,} records, {unreadable:,} unreadable ones", found)


def _too_few(came: str, found: dict[str, None]) -> UsageError:
    hint = f"--universe {max(2, len(found))}, or --tickers A,B,..."
    return UsageError(f"{came}; they have {len(found):,} tickers", hint=hint)
