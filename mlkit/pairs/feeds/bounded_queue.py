"""A queue of bounded size between a thread that reads a feed and whoever takes what it read."""

from __future__ import annotations

import queue
import threading
from typing import Generic, TypeVar

T = TypeVar("T")
_SIZE = 16
_CHECK = 0.2
"""Seconds between two looks at whether the reader is to stop."""


class BoundedQueue(Generic[T]):
    """A queue whose writer waits while it is full, until the reader stops."""

    def __init__(self) -> None:
        self._queue: queue.Queue[T] = queue.Queue(_SIZE)
        self.stopped = threading.Event()

    def put(self, item: T) -> bool:
        """Add an item; return False, without it, once the reader has stopped."""
        while not self.stopped.is_set():
            try:
                self._queue.put(item, timeout=_CHECK)
                return True
            except queue.Full:
                continue
        return False

    def get(self, timeout: float | None = None) -> T:
        """Take the next item.

        Raises:
            queue.Empty: None came within the time in seconds.
        """
        if timeout is not None and timeout <= 0:
            return self._queue.get_nowait()
        return self._queue.get(timeout=timeout)
