"""Intervals of ratios of sums, for all estimators of a log from the same bootstrap samples.

What is resampled are rows, or slates where rows come in slates. Above `BLOCKS` of them they are
put into that many blocks of equal size at random, and blocks are resampled: their sums are as
independent as the rows, and the deviation of an interval's width is below 1 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlkit.bandit.evaluation.intervals import empirical_bernstein
from mlkit.bandit.evaluation.terms import Terms

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Ends = tuple[float, float]

BLOCKS = 10_000
_CHUNK = 1 << 22
"""Counts in memory at once."""


def resample(terms: Sequence[Terms], units: Codes, resamples: int, seed: int) -> Array:
    """Estimate by bootstrap samples, shape (resamples, estimators); NaN where nothing is left.

    Args:
        terms: The estimators.
        units: What is resampled as a whole: a number per row, from 0, shape (rows,).
        resamples: Samples, drawn with replacement.
        seed: The same seed draws the same samples of a log, so that estimates can be compared.
    """
    generator = np.random.Generator(np.random.SFC64(seed))
    count = int(units.max()) + 1
    blocks = min(count, BLOCKS)
    block = (generator.permutation(count) % blocks)[units]
    above = np.stack([_sums(block, _add_influence(each), blocks) for each in terms], axis=1)
    below = np.stack([_sums(block, each.denominator, blocks) for each in terms], axis=1)
    found = np.empty((resamples, len(terms)))
    step = max(1, _CHUNK // blocks)
    for begin in range(0, resamples, step):
        drawn = _counts(generator, min(step, resamples - begin), blocks)
        with np.errstate(divide="ignore", invalid="ignore"):
            found[begin : begin + step] = (drawn @ above) / (drawn @ below)
    return found


def _add_influence(terms: Terms) -> Array:
    return terms.numerator if terms.influence is None else terms.numerator + terms.influence


def _sums(block: Codes, values: Array, blocks: int) -> Array:
    return np.bincount(block, values, minlength=blocks).astype(np.float64)


def _counts(generator: np.random.Generator, samples: int, blocks: int) -> Array:
    """Draw how often each block is in each sample, shape (samples, blocks)."""
    drawn = generator.integers(blocks, size=(samples, blocks))
    drawn += np.arange(samples)[:, None] * blocks
    counts = np.bincount(drawn.reshape(-1), minlength=samples * blocks)
    return np.asarray(counts.reshape(samples, blocks), dtype=np.float64)


def percentiles(estimates: Array, level: float) -> Ends | None:
    """Return the percentile interval of bootstrap estimates; None if there are none."""
    good = estimates[np.isfinite(estimates)]
    if not len(good):
        return None
    low, high = np.quantile(good, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bernstein(terms: Terms, units: Codes, level: float) -> Ends | None:
    """Return the empirical Bernstein interval of an estimator that is a mean of bounded terms.

    The terms of a slate are added, and its bound is that of a row times the rows of the largest.
    """
    if terms.span is None:
        return None
    if terms.subset:
        if int(units.max()) + 1 < len(units):  # rows of a slate are not independent
            return None
        values, span = terms.numerator[terms.denominator > 0], terms.span
    else:
        size = terms.denominator.sum() / (int(units.max()) + 1)
        values = np.bincount(units, terms.numerator) / size
        span = terms.span * float(np.bincount(units).max()) / size
    if len(values) < 2:
        return None
    found = empirical_bernstein(values, span, level)
    return found.low, found.high
