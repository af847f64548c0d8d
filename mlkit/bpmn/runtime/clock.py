"""Where a run takes the time from: the time of day, or a clock that a scenario moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Where a run takes the time from."""

    def now(self) -> float:
        """Return seconds since 1970."""

    def wait(self, due: float | None, idle: bool) -> float | None:
        """Return how many real seconds to wait for `due`; None waits for something else.

        `idle`: no script is running, so that only time can bring news.
        """


@dataclass(slots=True)
class RealClock:
    """The time of day."""

    now: Callable[[], float] = time.time

    def wait(self, due: float | None, idle: bool) -> float | None:
        """Wait as long as it takes."""
        return None if due is None else max(0.0, due - self.now())


@dataclass(slots=True)
class SimulatedClock:
    """A clock that stands still while work is open, and jumps to the next timer after it."""

    moment: float

    def now(self) -> float:
        """Return the simulated time."""
        return self.moment

    def wait(self, due: float | None, idle: bool) -> float | None:
        """Jump to `due` if nothing else can happen before."""
        if due is None or (not idle and due > self.moment):
            return None
        self.moment = max(self.moment, due)
        return 0.0
