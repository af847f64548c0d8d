"""What the decisions of a fleet's versions have earned, counted from the stream on every host.

Rewards are those of the events. Decisions are what hosts report: each its own number since the
present comparison began, so that a report that comes twice counts once.
"""

from __future__ import annotations

import msgspec

from mlkit.bandit.server import metrics
from mlkit.bandit.server.learning.records import Event
from mlkit.bandit.server.processes.protocol import DecisionCounts
from mlkit.web.metrics import Counters


class _Sums(msgspec.Struct):
    """Decisions of hosts that report no more, rewards, and squared rewards."""

    decisions: float = 0.0
    rewards: float = 0.0
    squares: float = 0.0

    def add(self, reward: float) -> None:
        self.rewards += reward
        self.squares += reward * reward


class _State(msgspec.Struct):
    """The sums.

    `epoch` is the number of starts, promotions and rollbacks so far, `began` when the stable
    version did, `ended` when the last candidate before this one did; `by_host` has the decisions
    of both versions in this epoch.
    """

    epoch: int = 0
    began: float = 0.0
    ended: float = 0.0
    has_candidate: bool = False
    is_promoted: bool = False
    stable: _Sums = msgspec.field(default_factory=_Sums)
    candidate: _Sums = msgspec.field(default_factory=_Sums)
    replaced: _Sums = msgspec.field(default_factory=_Sums)
    by_host: dict[str, tuple[float, float]] = {}


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_State).decode


class Tally:
    """The sums of the versions of a fleet.

    Args:
        text: What `save` has returned; None: there is nothing yet.
    """

    def __init__(self, text: str | None) -> None:
        self._state = _State()
        self.restore(text)

    def restore(self, text: str | None) -> None:
        """Go on from what `save` has returned."""
        self._state = _State() if text is None else _decode(text)

    def save(self) -> str:
        """Return all sums as a text."""
        return _encode(self._state).decode()

    @property
    def epoch(self) -> int:
        """How many starts, promotions and rollbacks there were; 0: there was no candidate yet."""
        return self._state.epoch

    # Versions

    def start(self, at: float) -> None:
        """Compare a candidate with the stable version from now on."""
        self._next()
        self._state.began, self._state.has_candidate = at, True
        self._state.stable, self._state.candidate = _Sums(), _Sums()

    def end(self, at: float, *, is_promoted: bool) -> None:
        """End the comparison; a promoted candidate takes along what it has earned."""
        self._fold()
        self._next()
        state = self._state
        state.ended, state.has_candidate, state.is_promoted = at, False, is_promoted
        if is_promoted:
            state.began, state.stable = at, state.candidate
        state.candidate = _Sums()

    def _next(self) -> None:
        self._state.epoch += 1
        self._state.by_host = {}

    def _fold(self) -> None:
        for stable, candidate in self._state.by_host.values():
            self._state.stable.decisions += stable
            self._state.candidate.decisions += candidate

    # Counting

    def count(self, event: Event) -> None:
        """Count the reward of a decision for the version that made it."""
        self._sums_of(event).add(event.reward or 0.0)

    def _sums_of(self, event: Event) -> _Sums:
        state = self._state
        if not event.by_candidate:
            return state.stable if event.decided >= state.began else state.replaced
        if state.has_candidate:
            return state.candidate if event.decided > state.ended else state.replaced
        return state.stable if state.is_promoted else state.replaced

    def report(self, counts: DecisionCounts) -> None:
        """Take what a host reports; what it counted before the last change is left out."""
        if counts.epoch == self._state.epoch:
            before = self._state.by_host.get(counts.source, (0.0, 0.0))
            now = max(before[0], counts.stable), max(before[1], counts.candidate)
            self._state.by_host[counts.source] = now

    def reported(self, source: str) -> tuple[float, float]:
        """Return the decisions of both versions that a host has reported."""
        return self._state.by_host.get(source, (0.0, 0.0))

    def publish(self, counters: Counters) -> None:
        """Show all processes of this host the sums."""
        state, places = self._state, counters.layout.counters
        hosts = state.by_host.values()
        values = {
            metrics.FLEET_EPOCH: float(state.epoch),
            metrics.FLEET_DECISIONS: state.stable.decisions + sum(own for own, _ in hosts),
            metrics.FLEET_REWARDS: state.stable.rewards,
            metrics.FLEET_SQUARES: state.stable.squares,
            metrics.FLEET_CANDIDATE_DECISIONS: sum(its for _, its in hosts),
            metrics.FLEET_CANDIDATE_REWARDS: state.candidate.rewards,
            metrics.FLEET_CANDIDATE_SQUARES: state.candidate.squares,
            metrics.FLEET_REPLACED_REWARDS: state.replaced.rewards,
        }
        for name, value in values.items():
            counters.values[places[name]] = value
