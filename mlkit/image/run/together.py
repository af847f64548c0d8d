"""Running containers beside other work, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from mlkit.image.run.engine.engine import Engine

T = TypeVar("T")
MOST = 3
"""Runs at the same time."""


class Together:
    """Starts runs that go on while other work is done.

    Args:
        engine: Where they run.
        one_at_a_time: Run each only when its result is asked for.
    """

    def __init__(self, engine: Engine, one_at_a_time: bool) -> None:
        self._engine = engine
        self._pool = None if one_at_a_time else ThreadPoolExecutor(MOST)
        self._started: list[Future[object]] = []

    @property
    def at_once(self) -> bool:
        """Return whether runs go on at the same time."""
        return self._pool is not None

    def start(self, run: Callable[[], T]) -> Callable[[], T]:
        """Start a run; the function that is returned waits for its end and returns its result."""
        if self._pool is None:
            return run
        future = self._pool.submit(run)
        self._started.append(future)  # type: ignore[arg-type]  # its result is not looked at
        return future.result

    def both(self, one: Callable[[], T], other: Callable[[], T]) -> tuple[T, T]:
        """Run two at the same time, if that is allowed, and return their results."""
        first = self.start(one)
        if not self.at_once:
            return first(), other()
        second = other()
        return first(), second

    def close(self) -> None:
        """End what still runs: what its containers are asked fails once they are gone."""
        if self._pool is None:
            return
        self._pool.shutdown(wait=False, cancel_futures=True)
        if any(not each.done() for each in self._started):
            self._engine.abandon()
        self._pool.shutdown(wait=True)
