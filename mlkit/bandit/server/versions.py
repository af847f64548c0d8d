"""What the decisions of the versions of a model have earned, beside one another."""

from __future__ import annotations

import math

from scipy import special

from mlkit.bandit.server import metrics
from mlkit.bandit.server.messages import Version, Versions
from mlkit.bandit.server.records import Event
from mlkit.bandit.server.variants import Variant, Variants
from mlkit.web.metrics import Counters, SharedCounters

_STABLE = metrics.DECISIONS, metrics.REWARDS, metrics.SQUARES
_CANDIDATE = metrics.CANDIDATE_DECISIONS, metrics.CANDIDATE_REWARDS, metrics.CANDIDATE_SQUARES


def count_reward(counters: Counters, event: Event) -> None:
    """Count the reward of a decision for the version that made it."""
    reward = event.reward or 0.0
    _, rewards, squares = _CANDIDATE if event.by_candidate else _STABLE
    counters.add(rewards, reward)
    counters.add(squares, reward * reward)


def compared(variants: Variants, counters: SharedCounters) -> Versions:
    """Compare the mean reward per decision of two versions.

    A decision whose reward has not come counts as 0. The test is Welch's, with as many decisions
    that its statistic is Normal.
    """
    sums, places = counters.sums(), counters.layout.counters
    stable = _version(variants.stable, *(sums[places[name]] for name in _STABLE))
    if variants.candidate is None:
        return Versions(stable, 0.0, None, None)
    other = _version(variants.candidate, *(sums[places[name]] for name in _CANDIDATE))
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
