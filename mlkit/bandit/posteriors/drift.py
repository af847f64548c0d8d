"""Whether an arm's rate has changed: one test per arm, and what many arms make of it.

Of 0/1 rewards the two-sided test of two proportions: the pooled score test (Pearson's chi-squared)
where each expected count is at least 10, Fisher's exact test below that. Of other rewards Welch's
t-test. Among many arms some look changed by chance, so `q` is the p-value adjusted by Benjamini and
Hochberg ("Controlling the False Discovery Rate", 1995): of the arms with q <= 0.05, one in twenty
is expected to be a false alarm.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Array = NDArray[np.float64]
_ENOUGH = 10.0
"""The least expected count of the score test."""


class Moments(NamedTuple):
    """Rewards of arms in one period.

    Attributes:
        pulls: How many, shape (arms,).
        sums: Their sums, shape (arms,).
        squares: The sums of their squares, shape (arms,).
    """

    pulls: Array
    sums: Array
    squares: Array

    @property
    def means(self) -> Array:
        """The mean rewards, NaN without one."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.sums / self.pulls)

    @property
    def variances(self) -> Array:
        """The variances of the means, NaN below 2 rewards."""
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.maximum(self.squares - self.sums * self.means, 0)
            return np.asarray(spread / (self.pulls - 1) / self.pulls)


def p_values(old: Moments, recent: Moments) -> Array:
    """Return the p-value of each arm; NaN where a period has too few rewards.

    Args:
        old: The rewards of the earlier period.
        recent: Those of the later period.
    """
    is_binary = np.isclose(old.sums + recent.sums, old.squares + recent.squares, rtol=1e-12)
    found = np.where(is_binary, _score(old, recent), _welch(old, recent))
    for arm in np.flatnonzero(is_binary & (_least_expected(old, recent) < _ENOUGH)):
        found[arm] = _fisher(old, recent, int(arm))
    found[(old.pulls < 1) | (recent.pulls < 1)] = np.nan
    return found


def adjust(p: Array) -> Array:
    """Return p-values adjusted for their number by Benjamini and Hochberg; NaN stays NaN."""
    found, known = np.full(p.shape, np.nan), np.isfinite(p)
    if known.any():
        found[known] = stats.false_discovery_control(p[known])
    return found


def _least_expected(old: Moments, recent: Moments) -> Array:
    total = old.pulls + recent.pulls
    least = np.minimum(old.sums + recent.sums, total - old.sums - recent.sums)
    return np.asarray(least * np.minimum(old.pulls, recent.pulls) / np.maximum(total, 1))


def _score(old: Moments, recent: Moments) -> Array:
    rate = (old.sums + recent.sums) / np.maximum(old.pulls + recent.pulls, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = rate * (1 - rate) * (1 / old.pulls + 1 / recent.pulls)
        return _two_sided((recent.means - old.means) / np.sqrt(variance))


def _two_sided(z: Array) -> Array:
    return np.asarray(2 * special.ndtr(-np.abs(z)))


def _welch(old: Moments, recent: Moments) -> Array:
    first, second = old.variances, recent.variances
    with np.errstate(invalid="ignore", divide="ignore"):
        t = (recent.means - old.means) / np.sqrt(first + second)
        freedom = (first + second) ** 2 / (
            first**2 / (old.pulls - 1) + second**2 / (recent.pulls - 1)
        )
    same = (first + second == 0) & (recent.means == old.means)
    return np.where(same, 1.0, 2 * stats.t.sf(np.abs(t), freedom))


def _fisher(old: Moments, recent: Moments, arm: int) -> float:
    rows = [
        [round(each.sums[arm]), round(each.pulls[arm] - each.sums[arm])] for each in (old, recent)
    ]
    if min(map(min, rows)) < 0:  # more was taken back than the log has
        return float("nan")
    return float(stats.fisher_exact(rows)[1])
