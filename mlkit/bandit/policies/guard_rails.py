"""Limits of what a policy may do: functions of the probabilities that arms come first.

`limited` applies all of them in the order in which each keeps what the earlier ones promise:
`restricted` (blocked or pinned arms) first, and to the arms that are left the minimum share, the
maximum share, and the holdout.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from mlkit.bandit.policies.policy import Array, check_length, numbers, real, within
from mlkit.errors import BadData, UsageError

_TOLERANCE = 1e-6
_LEAST = 1e-200
"""A smaller probability counts as none where others are passed on in proportion to it."""


def limited(
    probabilities: ArrayLike,
    *,
    allowed: ArrayLike | None = None,
    minimum: ArrayLike = 0.0,
    maximum: ArrayLike = 1.0,
    holdout: float = 0.0,
) -> Array:
    """Apply all limits: arms that are not allowed have no share, of the holdout neither.

    The holdout is uniform whatever the other limits are; it keeps limits that are the same for all
    arms, and moves others by at most its share.

    Args:
        probabilities: Shape (arms,), with the sum 1.
        allowed: Whether each arm may come first, shape (arms,); None: all.
        minimum: Minimum shares, one for all arms or shape (arms,).
        maximum: Maximum shares, likewise.
        holdout: Share of uniform traffic.

    Raises:
        BadData: The probabilities have another sum, or a shape is wrong.
        UsageError: A limit is out of range, cannot be met by the allowed arms, or an arm's minimum
            is above its maximum.
    """
    p = simplex(probabilities)
    mask = np.ones(p.size, dtype=np.bool_) if allowed is None else _mask(allowed)
    p = restricted(p, mask)
    least, most = _shares(minimum, p.size)[mask], _shares(maximum, p.size)[mask]
    if (least > most).any():
        raise UsageError("share: a minimum share is above the maximum share of the arm")
    kept = with_maximum_share(with_minimum_share(p[mask], least), most)
    p[mask] = with_holdout(kept, holdout)
    return p


def restricted(probabilities: ArrayLike, allowed: ArrayLike) -> Array:
    """Condition probabilities on the allowed arms.

    For blocked arms these are all others, for pinned arms the pinned ones. If a policy would show
    none of the allowed arms, they share equally.

    Args:
        probabilities: Shape (arms,), with the sum 1.
        allowed: Whether each arm may come first, shape (arms,).

    Raises:
        BadData: The probabilities have another sum, or a shape is wrong.
        UsageError: No arm is allowed.
    """
    p = simplex(probabilities)
    mask = _mask(allowed)
    if mask.shape != p.shape or mask.dtype != np.bool_:
        raise BadData(f"allowed: expected {p.size} booleans")
    if not mask.any():
        raise UsageError("allowed: all arms are blocked")
    kept = np.where(mask, p, 0.0)
    return normalized(kept if kept.sum() > 0 else mask.astype(np.float64))


def with_minimum_share(probabilities: ArrayLike, share: ArrayLike) -> Array:
    """Mix in a minimum share of each arm: share + (1 - sum of shares) p.

    An additive mixture and no clipping: it is the policy that shows an arm by its share, and else
    leaves the choice to the policy, so that relative preferences stay.

    Args:
        probabilities: Shape (arms,), with the sum 1.
        share: One for all arms, or shape (arms,).

    Raises:
        BadData: The probabilities have another sum, or a shape is wrong.
        UsageError: The shares are below 0 or sum to more than 1.
    """
    p = simplex(probabilities)
    least = _shares(share, p.size)
    total = float(least.sum())
    if total > 1 + 1e-12:
        raise UsageError(f"share: the minimum shares sum to {total:g}, expected at most 1")
    return normalized(least + max(0.0, 1 - total) * p)


def with_maximum_share(probabilities: ArrayLike, share: ArrayLike) -> Array:
    """Limit the share of each arm; what is cut goes to the others in proportion.

    The result is min(share, c p) with the c that makes the sum 1. Where that cannot be reached
    because the other arms have no probability, they share the rest equally.

    Args:
        probabilities: Shape (arms,), with the sum 1.
        share: One for all arms, or shape (arms,).

    Raises:
        BadData: The probabilities have another sum, or a shape is wrong.
        UsageError: The shares are below 0 or sum to less than 1.
    """
    p = simplex(probabilities)
    most = _shares(share, p.size)
    if most.sum() < 1 - 1e-12:
        raise UsageError(f"share: the maximum shares sum to {most.sum():g}, expected at least 1")
    p = np.where(p < _LEAST, 0.0, p)
    possible = np.where(p > 0, most, 0.0)
    if possible.sum() >= 1:
        return normalized(_fill(p, possible, 1.0))
    idle = np.where(p > 0, 0.0, most)
    return normalized(possible + _fill((p == 0) * 1.0, idle, 1 - float(possible.sum())))


def _fill(weights: Array, most: Array, total: float) -> Array:
    """Return min(most, c weights) with the sum `total`, or `most` where even that is less.

    Arms reach their limits in the order of most / weight: c is that of the first one that does
    not, when all before it are at their limits.
    """
    some = np.flatnonzero(weights > 0)
    arms = some[np.argsort(most[some] / weights[some], kind="stable")]
    room = total - np.cumsum(most[arms]) + most[arms]
    level = room / np.cumsum(weights[arms][::-1])[::-1]
    within_limit = level * weights[arms] <= most[arms]
    if not within_limit.any():
        return np.asarray(np.where(weights > 0, most, 0.0))
    return np.asarray(np.minimum(most, level[np.argmax(within_limit)] * weights))


def with_holdout(probabilities: ArrayLike, share: float) -> Array:
    """Mix in a share of uniform traffic: (1 - share) p + share / arms.

    Raises:
        BadData: The probabilities have another sum.
        UsageError: The share is outside [0, 1].
    """
    p = simplex(probabilities)
    within(0, 1, share=share)
    return normalized((1 - share) * p + share / p.size)


def draw(probabilities: ArrayLike, generator: Generator) -> int:
    """Draw a place by its probability; one without probability is never drawn."""
    p = simplex(probabilities)
    cumulative = np.cumsum(p)
    # Times the sum, so that rounding leaves no gap at the end.
    return int(np.searchsorted(cumulative, generator.random() * cumulative[-1], side="right"))


def pinned_ranking(
    ranking: Iterable[int], k: int, pinned: Iterable[int] = (), blocked: Collection[int] = ()
) -> list[int]:
    """Return the top k with the pinned arms first, in their order, and without the blocked ones.

    Args:
        ranking: Arms, best first.
        k: Length of the result; it is shorter if too few arms are left.
        pinned: Arms that must show.
        blocked: Arms that must not.

    Raises:
        UsageError: An arm is pinned and blocked, or more than k are pinned.
        BadData: k is below 1.
    """
    first, barred = list(dict.fromkeys(pinned)), set(blocked)
    check_length(k, max(k, 1))
    if both := sorted(barred.intersection(first)):
        raise UsageError(f"arm {both[0]} is pinned and blocked")
    if len(first) > k:
        raise UsageError(f"{len(first)} arms are pinned, more than k = {k}")
    return list(dict.fromkeys([*first, *(arm for arm in ranking if arm not in barred)]))[:k]


def simplex(probabilities: ArrayLike) -> Array:
    """Check probabilities: at least one, none below 0, with the sum 1."""
    given = numbers("probabilities", probabilities)
    p = real("probabilities", given, (given.size,), (0.0, 1.0))
    if abs(p.sum() - 1) > _TOLERANCE:
        raise BadData(f"probabilities: the sum is {p.sum():g}, expected 1")
    return p


def normalized(p: Array) -> Array:
    """Divide by the sum, which rounding has moved from 1."""
    return np.asarray(p / p.sum())


def _mask(allowed: ArrayLike) -> NDArray[np.bool_]:
    try:
        return np.asarray(allowed)
    except ValueError as error:
        raise BadData("allowed: expected a list of booleans") from error


def _shares(share: ArrayLike, arms: int) -> Array:
    given = numbers("share", share)
    if given.shape not in ((), (arms,)):
        raise BadData(f"share: shape is {given.shape}, expected one number or {arms}")
    if not ((given >= 0) & (given <= 1)).all():
        raise UsageError("share: expected numbers in [0, 1]")
    return np.broadcast_to(given, (arms,))
