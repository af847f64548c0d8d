"""Decisions that wait for a reward: without one by then, each arm that was shown counts as 0.

A decision is kept from before it is answered until its time is over; then its zeros and its end are
one commit, so that each zero counts once after any crash. What is settled is remembered under a
key of the decision and the arm, beside the ids of events and as long as those: a reward that comes
first leaves it there, so that no zero follows; a reward that comes later finds the zero's effect
there, and takes it back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from mlkit.bandit.server.learning.journal import Journal
from mlkit.bandit.server.learning.records import Change, Effect, Seen, Shown
from mlkit.storage.sqlite_file import reading

_BYTES = 16


class Details(NamedTuple):
    """What the zeros of a decision are made of.

    Attributes:
        context: The context.
        at: When it was decided, in seconds since 1970.
        features: Features of the context, as JSON.
        arms: The arms that were shown.
        examined: The probability that each was looked at; None: 1.
    """

    context: str | None
    at: float
    features: bytes | None
    arms: list[str]
    examined: list[float] | None = None


class Settled(NamedTuple):
    """Decisions whose time is over.

    Attributes:
        decisions: How many.
        zeros: Their zeros.
    """

    decisions: int
    zeros: list[Change]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Details).decode


def decision_key(decision_id: str) -> bytes:
    """Return the key under which a decision waits."""
    return blake2b(decision_id.encode(), digest_size=_BYTES).digest()


def settled_key(decision: bytes, arm: str) -> bytes:
    """Return the key under which it is remembered that an arm of a decision is settled."""
    return blake2b(decision + arm.encode(), digest_size=_BYTES, person=b"settled").digest()


def waiting(decision_id: str, due: float, details: Details) -> Shown:
    """Return a decision as it waits."""
    return Shown(decision_key(decision_id), due, _encode(details))


def settle_due(journal: Journal, now: float, most: int, is_known: Callable[[str], bool]) -> Settled:
    """Count the zeros of decisions whose time is over, inside a transaction.

    Args:
        journal: The journal.
        now: The time, in seconds since 1970.
        most: The most decisions to settle.
        is_known: Returns whether an arm may be rewarded.

    Returns:
        What was settled; the changes are in the journal now.
    """
    settled: dict[bytes, Seen] = {}
    due = journal.due(now, most)
    for shown in due:
        with reading("pending"):
            zeros = _zeros(_decode(shown.details), shown.decision)
        for key, effect in zeros:
            if is_known(effect.arm) and not journal.recall([key]):
                settled[key] = Seen(b"", effect, effect.at or 0.0)
    changes = [each.effect.change() for each in settled.values() if each.effect is not None]
    journal.remember(settled)
    journal.append(changes)
    journal.end(due)
    return Settled(len(due), changes)


def _zeros(details: Details, decision: bytes) -> Sequence[tuple[bytes, Effect]]:
    context, at, features, arms, chances = details
    examined: Sequence[float | None] = chances or [None] * len(arms)
    return [
        (settled_key(decision, arm), Effect(context, arm, 0.0, chance, features, at))
        for arm, chance in zip(arms, examined, strict=True)
    ]
