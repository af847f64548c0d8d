"""What the writer sees over time: sums of the whole server, and the rewards of each arm.

Both cover all time since the start in bounded memory. The history keeps what is recent finely and
drops every second point of the older half when it is full. Rewards of arms are kept by period;
when there are too many, neighbouring periods are merged, and new ones are twice as long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from mlkit.bandit.server import metrics
from mlkit.bandit.server.learning.records import Change, Kind
from mlkit.web.metrics import SharedCounters
from mlkit.web.shared_document import SharedDocument

MOST_POINTS = 512
MOST_PERIODS = 32
MOST_ARMS = 2_000
"""Arms whose rewards are followed: the first that are rewarded."""
ROOM = 1 << 22
"""Bytes for what is published: 2,000 arms with ids of 256 bytes, and the history."""
_LENGTH = 10.0
"""Seconds of the first periods."""
_SPLIT_EVERY = 5.0
_RECENT = 0.25
"""The share of the time so far that is recent."""


class RewardSums(msgspec.Struct, array_like=True, gc=False):
    """Rewards of an arm: how many, their sum and that of their squares."""

    count: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def add(self, other: RewardSums) -> None:
        """Add those of another period."""
        self.count += other.count
        self.total += other.total
        self.squares += other.squares


class Observed(msgspec.Struct):
    """What is published: sums up to some times, and rewards of arms before and after `since`."""

    times: list[float] = []
    decisions: list[float] = []
    events: list[float] = []
    rewards: list[float] = []
    start: float = 0.0
    since: float = 0.0
    old: dict[str, RewardSums] = {}
    recent: dict[str, RewardSums] = {}

    def by_arm(self) -> dict[str, RewardSums]:
        """Return the rewards of arms since the start."""
        found: dict[str, RewardSums] = {}
        for each in (self.old, self.recent):
            _merge(found, each)
        return found


class Period(NamedTuple):
    """Rewards of arms in a stretch of time, from `start` on, in seconds since 1970."""

    start: float
    arms: dict[str, RewardSums]


def _merge(into: dict[str, RewardSums], arms: dict[str, RewardSums]) -> None:
    for arm, sums in arms.items():
        into.setdefault(arm, RewardSums()).add(sums)


_decode = msgspec.json.Decoder(Observed).decode


def read(document: SharedDocument) -> Observed:
    """Return what was published last."""
    content = document.read()
    return _decode(content) if content else Observed()


class Observer:
    """Follows a server from its writer; a new writer goes on where the one before was.

    Args:
        document: Where to publish.
        counters: The counters of all processes.
        clock: Returns the seconds since 1970.
    """

    def __init__(
        self,
        document: SharedDocument,
        counters: SharedCounters,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._document, self._counters, self._clock = document, counters, clock
        self._seen = seen = read(document)
        starts = (seen.start, seen.old), (seen.since, seen.recent)
        self._periods = [Period(*each) for each in starts if each[1]]
        self._length, self._split_at = _LENGTH, -float("inf")
        self._arms = {*seen.old, *seen.recent}
        self._events = self._seen.events[-1] if self._seen.events else 0.0
        self._rewards = self._seen.rewards[-1] if self._seen.rewards else 0.0
        self._idle_at: float | None = None

    def observe(self, changes: Sequence[Change]) -> None:
        """Take in changes that the model has learned."""
        rewards = [
            (arm, reward, 1.0 if kind == Kind.REWARD else -1.0)
            for kind, _, arm, reward, *_ in changes
            if reward is not None and kind in (Kind.REWARD, Kind.WITHDRAW)
        ]
        if not rewards:
            return
        arms = self._period().arms
        for arm, reward, sign in rewards:
            self._events += sign
            self._rewards += sign * reward
            sums = arms.get(arm)
            if sums is None:
                if arm not in self._arms and len(self._arms) >= MOST_ARMS:
                    continue
                self._arms.add(arm)
                sums = arms[arm] = RewardSums()
            sums.count += sign
            sums.total += sign * reward
            sums.squares += sign * reward**2

    def _period(self) -> Period:
        now = self._clock()
        if not self._periods or now >= self._periods[-1].start + self._length:
            self._periods.append(Period(now, {}))
        if len(self._periods) > MOST_PERIODS:
            for first, second in zip(self._periods[::2], self._periods[1::2], strict=False):
                _merge(first.arms, second.arms)
            self._periods = self._periods[::2]
            self._length *= 2
        return self._periods[-1]

    def _split(self) -> None:
        """Sum the rewards of arms before what is recent, and recent ones."""
        seen, now = self._seen, self._clock()
        if not self._periods or now < self._split_at + _SPLIT_EVERY:
            return
        self._split_at, seen.start = now, self._periods[0].start
        edge = now - _RECENT * (now - seen.start)
        later = (each.start for each in self._periods[1:] if each.start >= edge)
        seen.since = next(later, self._periods[-1].start)
        seen.old, seen.recent = {}, {}
        for period in self._periods:
            _merge(seen.recent if period.start >= seen.since else seen.old, period.arms)

    def publish(self) -> None:
        """Add a point to the history, unless nothing has happened, and publish."""
        point, last = self._point(), self._last()
        if last == point[1:]:
            self._idle_at = point[0]
            return
        if last is not None and self._idle_at is not None:
            self._append([self._idle_at, *last])  # or a pause would thin out what came after it
        self._idle_at = None
        self._append(point)
        self._split()
        self._document.publish(msgspec.json.encode(self._seen))

    def _columns(self) -> tuple[list[float], ...]:
        seen = self._seen
        return seen.times, seen.decisions, seen.events, seen.rewards

    def _last(self) -> list[float] | None:
        return [column[-1] for column in self._columns()[1:]] if self._seen.times else None

    def _append(self, point: list[float]) -> None:
        for column, value in zip(self._columns(), point, strict=True):
            column.append(value)
            if len(column) > MOST_POINTS:
                half = MOST_POINTS // 2
                column[:half] = column[:half:2]

    def _point(self) -> list[float]:
        sums, places = self._counters.sums(), self._counters.layout.counters
        decisions = sum(
            sums[places[each]] for each in (metrics.DECISIONS, metrics.CANDIDATE_DECISIONS)
        )
        return [self._clock(), decisions, self._events, self._rewards]
