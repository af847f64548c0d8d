"""What the journal holds: changes, the events that they come from, and decisions that wait."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Kind(IntEnum):
    """What a change does."""

    REWARD = 0
    PUT = 1
    REMOVE = 2
    WITHDRAW = 3
    SEVERAL = 4
    """In the journal: rewards that were earned or withdrawn together, as a list."""


class Change(NamedTuple):
    """One change of the posteriors: a reward, one that is withdrawn, an arm put or removed.

    Of a reward, `a` is the reward, and `b` the probability that the arm was examined; None: 1.
    `at` is when it was earned, in seconds since 1970.
    """

    kind: int
    context: str | None
    arm: str
    a: float | None = None
    b: float | None = None
    pulls: float | None = None
    features: bytes | None = None
    at: float | None = None


class Effect(NamedTuple):
    """What an event counts for.

    Attributes:
        context: The context.
        arm: The arm.
        reward: The reward; None: it was withdrawn.
        examined: The probability that the arm was examined; None: 1.
        features: Features of the context, as JSON.
        at: When the reward was earned, in seconds since 1970.
    """

    context: str | None
    arm: str
    reward: float | None
    examined: float | None = None
    features: bytes | None = None
    at: float | None = None

    def change(self) -> Change:
        """Return the change that counts it."""
        return self._as(Kind.REWARD)

    def revert(self) -> Change:
        """Return the change that takes it back."""
        return self._as(Kind.WITHDRAW)

    def _as(self, kind: Kind) -> Change:
        context, arm, reward, examined, features, at = self
        return Change(kind, context, arm, reward, examined, None, features, at)


class Event(NamedTuple):
    """One feedback event, or the amendment of one.

    Attributes:
        event: The hash of its id.
        body: The hash of the rest of it.
        context: The context.
        arm: The arm.
        reward: The reward; None: of an amendment that withdraws it.
        decided: When the decision was made, in seconds since 1970; 0: not known.
        features: Features of the context, as JSON.
        examined: The probability that the arm was examined; None: 1.
        at: When the reward was earned, in seconds since 1970.
        settles: The key of its decision and arm, if decisions wait for rewards.
        amends: The hash of the id of the event whose reward this one replaces; None: of none.
        by_candidate: Whether a candidate version of the model made the decision.
    """

    event: bytes
    body: bytes
    context: str | None
    arm: str
    reward: float | None
    decided: float = 0.0
    features: bytes | None = None
    examined: float | None = None
    at: float | None = None
    settles: bytes | None = None
    amends: bytes | None = None
    by_candidate: bool = False

    def effect(self) -> Effect:
        """Return what it counts for."""
        _, _, context, arm, reward, _, features, examined, at, *_ = self
        return Effect(context, arm, reward, examined, features, at)


class Seen(NamedTuple):
    """What is remembered of an event.

    Attributes:
        body: The hash of the rest of it.
        effect: What it counts for now; None: for nothing that could be amended.
        decided: When the decision was made, in seconds since 1970; 0: not known.
    """

    body: bytes
    effect: Effect | None
    decided: float = 0.0


class Shown(NamedTuple):
    """A decision that waits for rewards.

    Attributes:
        decision: The hash of its id.
        due: Until when, in seconds since 1970.
        details: What its zeros are made of: see `attribution`.
    """

    decision: bytes
    due: float
    details: bytes


class SnapshotRow(NamedTuple):
    """The present posterior of an arm, or of an arm in a context."""

    arm: str
    context: str
    removed: int
    a: float | None
    b: float | None
    pulls: float | None
    state: bytes | None = None
    at: float | None = None
