"""Workers that wait for tasks: woken when one appears, without a thread for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

LOOK_INTERVAL = 1.0
"""Seconds after which waiting workers look again, for locks that have ended and other hosts."""
Ready = Callable[[list[str]], Awaitable[set[str]]]


class Waiter:
    """One worker that waits."""

    def __init__(self, topics: Iterable[str]) -> None:
        self.topics = frozenset(topics)
        self.news = asyncio.Event()


class Polling:
    """All workers of a server that wait.

    Every method but `notify` runs in the event loop's thread.

    Args:
        ready: Returns those of some topics that have a task that is free.
        interval: Seconds between two looks.
    """

    def __init__(self, ready: Ready, interval: float = LOOK_INTERVAL) -> None:
        self._ready = ready
        self._interval = interval
        self._waiters: set[Waiter] = set()
        self._look: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        """Return how many workers wait."""
        return len(self._waiters)

    @contextmanager
    def waiting(self, topics: Iterable[str]) -> Iterator[Waiter]:
        """Let a worker wait for tasks of some topics."""
        waiter = Waiter(topics)
        self._waiters.add(waiter)
        self._loop = asyncio.get_running_loop()
        if self._look is None or self._look.done():
            self._look = self._loop.create_task(self._looking())
        try:
            yield waiter
        finally:
            self._waiters.discard(waiter)

    def notify(self, topics: Iterable[str]) -> None:
        """Wake who waits for tasks of these topics; from any thread."""
        found = frozenset(topics)
        if self._loop is not None and self._waiters and found:
            with suppress(RuntimeError):  # The loop is closed: nobody waits any more.
                self._loop.call_soon_threadsafe(self._wake, found)

    def _wake(self, topics: frozenset[str]) -> None:
        for each in self._waiters:
            if each.topics & topics:
                each.news.set()

    async def _looking(self) -> None:
        while self._waiters:
            await asyncio.sleep(self._interval)
            wanted = sorted({topic for each in self._waiters for topic in each.topics})
            if wanted:
                self._wake(frozenset(await self._ready(wanted)))
