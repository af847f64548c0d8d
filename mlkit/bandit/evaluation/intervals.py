"""Confidence intervals of means: of what a policy earns, by estimators that are means of terms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlkit.bandit.evaluation.defaults import LEVEL, RESAMPLES

Array = NDArray[np.float64]

_CHUNK = 1 << 22
"""Resampled terms in memory at once."""


class Interval(NamedTuple):
    """An estimate and the ends of its confidence interval."""

    estimate: float
    low: float
    high: float


def bootstrap(
    terms: Array,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    scale: Array | None = None,
) -> Interval:
    """Estimate a mean with its percentile bootstrap interval (Efron 1979).

    Args:
        terms: One number for each row.
        level: Confidence, in (0, 1).
        resamples: Samples of the rows, drawn with replacement.
        seed: Makes them repeatable.
        scale: For a ratio estimator, what its mean divides that of `terms`: for SNIPS the weights,
            and `terms` are those of IPS.
    """
    generator = np.random.Generator(np.random.SFC64(seed))
    rows, means = len(terms), np.empty(resamples)
    step = max(1, _CHUNK // max(rows, 1))
    for begin in range(0, resamples, step):
        drawn = generator.integers(rows, size=(min(step, resamples - begin), rows))
        means[begin : begin + step] = _mean(terms[drawn], None if scale is None else scale[drawn])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(_mean(terms, scale)), float(low), float(high))


def _mean(terms: Array, scale: Array | None) -> Array:
    mean = terms.mean(axis=-1)
    return np.asarray(mean if scale is None else mean / scale.mean(axis=-1))


def empirical_bernstein(terms: Array, span: float, level: float = LEVEL) -> Interval:
    """Estimate a mean with an interval that holds for any number of rows.

    Theorem 4 of Maurer and Pontil, "Empirical Bernstein Bounds and Sample Variance
    Penalization" (2009), on both sides.

    Args:
        terms: One number for each row, at least two, independent of one another.
        span: Largest possible term less the smallest.
        level: Confidence, in (0, 1).
    """
    rows, log_odds = len(terms), np.log(4 / (1 - level))
    deviation = np.sqrt(2 * terms.var(ddof=1) * log_odds / rows)
    half = float(deviation + 7 * span * log_odds / (3 * (rows - 1)))
    mean = float(terms.mean())
    return Interval(mean, mean - half, mean + half)
