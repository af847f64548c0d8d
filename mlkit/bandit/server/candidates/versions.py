"""What the decisions of the versions of a model have earned, beside one another."""

from __future__ import annotations

import math

from scipy import special

from mlkit.bandit.server import metrics
from mlkit.bandit.server.api.messages import Version, Versions
from mlkit.bandit.server.candidates.variants import Variant, Variants
from mlkit.bandit.server.learning.records import Event
from mlkit.web.metrics import Counters, SharedCounters

_STABLE = metrics.DECISIONS, metrics.REWARDS, metrics.SQUARES
_CANDIDATE = metrics.CANDIDATE_DECISIONS, metrics.CANDIDATE_REWARDS, metrics.CANDIDATE_SQUARES
_FLEET = (
    (metrics.FLEET_DECISIONS, metrics.FLEET_REWARDS, metrics.FLEET_SQUARES),
    (
        metrics.FLEET_CANDIDATE_DECISIONS,
        metrics.FLEET_CANDIDATE_REWARDS,
        metrics.FLEET_CANDIDATE_SQUARES,
    ),
)
_REPLACED = metrics.REPLACED_REWARDS, metrics.REPLACED_SQUARES


def count_reward(counters: Counters, event: Event, promoted: float) -> None:
    """Count the reward of a decision for the version that made it.

    Args:
        counters: Where to count.
        event: The reward.
        promoted: When a candidate was promoted, in seconds since 1970; 0: none was.
    """
    reward = event.reward or 0.0
    if event.by_candidate:
        rewards, squares = _CANDIDATE[1:]
    else:
        rewards, squares = _REPLACED if event.decided < promoted else _STABLE[1:]
    counters.add(rewards, reward)
    counters.add(squares, reward * reward)


def note_promotion(writer: Counters, counters: SharedCounters, at: float) -> None:
    """Note what the stable version had when the candidate took its place.

    Args:
        writer: The counters of the writer.
        counters: Those of all processes.
        at: The time, in seconds since 1970.
    """
    sums, places = counters.sums(), counters.layout.counters
    for name, before in metrics.BEFORE.items():
        writer.values[places[before]] = sums[places[name]]
    writer.values[places[metrics.PROMOTED]] = at


def compare(variants: Variants, counters: SharedCounters) -> Versions:
    """Compare the mean reward per decision of two versions.

    A decision whose reward has not come counts as 0. The test is Welch's, with as many decisions
    that its statistic is Normal. A promoted candidate takes along what it has earned. In a fleet
    that has had a candidate the decisions are those of all hosts.
    """
    sums, places = counters.sums(), counters.layout.counters
    in_fleet = sums[places[metrics.FLEET_EPOCH]] > 0
    names = _FLEET if in_fleet else (_STABLE, _CANDIDATE)
    own, its = ([sums[places[name]] for name in each] for each in names)
    if sums[places[metrics.PROMOTED]] and not in_fleet:
        before = [sums[places[metrics.BEFORE[name]]] for name in _STABLE]
        own = [a - b + c for a, b, c in zip(own, before, its, strict=True)]
    stable = _version(variants.stable, *own)
    if variants.candidate is None:
        return Versions(stable, 0.0, None, None)
    other = _version(variants.candidate, *its)
    difference, p = _difference(stable, other)
    return Versions(stable, variants.share, difference, p, other)


def _version(variant: Variant, decisions: float, rewards: float, squares: float) -> Version:
    mean = rewards / decisions if decisions else None
    error = None
    if mean is not None and decisions > 1:
        spread = max(squares / decisions - mean * mean, 0.0)
        error = math.sqrt(spread / (decisions - 1))
    about = variant.model, variant.policy, variant.base
    return Version(*about, int(decisions), rewards, mean, error)


def _difference(stable: Version, other: Version) -> tuple[float | None, float | None]:
    if stable.mean is None or other.mean is None:
        return None, None
    difference = other.mean - stable.mean
    if stable.error is None or other.error is None:
        return difference, None
    error = math.hypot(stable.error, other.error)
    if not error:
        return difference, None
    return difference, float(2 * special.ndtr(-abs(difference) / error))
