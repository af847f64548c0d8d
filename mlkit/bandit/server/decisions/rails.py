"""Limits of what a server shows: shares, pinned and blocked arms, a fallback."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlkit.errors import ConfigurationError, InputMissing, UsageError

_CHECKED_EVERY = 0.25
"""Seconds between two looks at the file of the kill switch."""


@dataclass(frozen=True)
class Rails:
    """Limits that hold for every decision.

    Attributes:
        min_share: Share of decisions in which each candidate comes first at least.
        max_share: Share of decisions in which a candidate comes first at most.
        holdout: Share of decisions that are a random ranking of all candidates.
        pinned: Arms that are shown first, in this order, where they are candidates.
        blocked: Arms that are never shown.

    Raises:
        UsageError: A share is outside [0, 1], an arm is pinned and blocked, or an id is empty.
    """

    min_share: float = 0.0
    max_share: float = 1.0
    holdout: float = 0.0
    pinned: tuple[str, ...] = ()
    blocked: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name in ("min_share", "max_share", "holdout"):
            if not 0 <= getattr(self, name) <= 1:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"{option} {getattr(self, name)}: expected a share in [0, 1]")
        if self.min_share > self.max_share:
            raise UsageError("--min-share is above --max-share")
        if both := sorted(self.blocked.intersection(self.pinned)):
            raise UsageError(f"--pin {both[0]}: the arm is blocked too")
        if "" in self.blocked.union(self.pinned):
            raise UsageError("--pin and --block: an arm's id is not empty")

    @property
    def are_none(self) -> bool:
        """Whether nothing is limited."""
        return self == Rails()

    def uniform(self, candidates: int) -> float:
        """Return the share of random rankings: the holdout, and the minimum share of each arm.

        A minimum share of n arms is a random ranking with n times that probability. Of more arms
        than it leaves room for, all decisions are random.
        """
        return self.holdout + (1 - self.holdout) * min(1.0, candidates * self.min_share)


def read_fallback(path: Path) -> tuple[str, ...]:
    """Read a list of arms: an id a line; empty lines and repeats are left out.

    Raises:
        InputMissing: The file cannot be read.
        ConfigurationError: It is not UTF-8, or has no arm.
    """
    try:
        arms = _arms(path.read_bytes())
    except OSError as error:
        raise InputMissing(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8") from error
    if not arms:
        raise ConfigurationError(f"{path}: no arms", hint="one arm id per line, the best first")
    return arms


def _arms(content: bytes) -> tuple[str, ...]:
    lines = (line.strip() for line in content.decode().splitlines())
    return tuple(dict.fromkeys(line for line in lines if line))


class KillSwitch:
    """A file that operators make to show a fixed list instead of what the policy chooses.

    While the file is there, its lines are the arms that are shown; those of the fallback, if it is
    empty or unreadable.

    Args:
        path: The file.
        fallback: The arms of an empty file.
        clock: Returns seconds from any start.
    """

    def __init__(
        self, path: Path, fallback: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._fallback = tuple(fallback)
        self._clock = clock
        self._next = -1.0
        self._stamp: tuple[int, int, int] | None = None
        self._arms: tuple[str, ...] | None = None

    def arms(self) -> tuple[str, ...] | None:
        """Return the arms to show, or None if the policy chooses."""
        now = self._clock()
        if now >= self._next:
            self._next = now + _CHECKED_EVERY
            self._look()
        return self._arms

    def _look(self) -> None:
        try:
            found = self._path.stat()
        except OSError:
            self._stamp, self._arms = None, None
            return
        stamp = found.st_ino, found.st_mtime_ns, found.st_size
        if stamp != self._stamp:
            self._arms = self._read()
            self._stamp = stamp

    def _read(self) -> tuple[str, ...]:
        try:
            return _arms(self._path.read_bytes()) or self._fallback
        except (OSError, UnicodeDecodeError):
            return self._fallback
