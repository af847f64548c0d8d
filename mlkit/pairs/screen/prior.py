"""Weights that say before any test which pairs are likelier to be cointegrated.

Weighted control of false discoveries (Genovese, Roeder and Wasserman 2006) divides each p-value by
a weight; the weights have a mean of 1. It stays valid as long as the weights do not depend on the
p-values of pairs that have nothing to do with one another.

The correlation of two random walks' steps does not: write y's steps as c times those of x and a
remainder. Engle and Granger's statistic of y on x depends on x and on the direction of the
remainder alone, since the regression takes c out; and among independent Gaussian steps, c and the
remainder's length, which make the correlation, are independent of both. So correlation may choose
the weights, while cointegrated pairs usually are among the most correlated ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlkit.pairs.screen.cointegration import Matrix, Numbers, band_pairs
from mlkit.pairs.screen.universe import Universe, products

BINS = 1 << 16
HALF = 0.5
"""The share of the weight that all pairs have alike, so that no pair loses more than that."""


@dataclass(frozen=True, eq=False)
class Weights:
    """The weight of each pair of a universe.

    Attributes:
        of_bin: Weights by the size of the steps' correlation, shape (BINS,).
        groups: Each ticker's group; then only those count.
        within: The weight of a pair within a group.
    """

    of_bin: Matrix | None = None
    groups: NDArray[np.str_] | None = None
    within: float = 1.0

    def of(self, universe: Universe, begin: int, end: int, i: Numbers, j: Numbers) -> Matrix:
        """Return the weights of pairs whose second columns lie in [begin, end)."""
        if self.groups is not None:
            same = self.groups[i] == self.groups[j]
            return np.where(same, self.within, HALF if self.within > 1.0 else 1.0)
        if self.of_bin is not None:
            return np.asarray(self.of_bin[_bins(products(universe.steps, begin, end, i, j))])
        return np.ones(len(i))


def count(universe: Universe, least: float | None, begin: int, end: int) -> NDArray[np.int64]:
    """Count pairs whose second columns lie in [begin, end), by their steps' correlation.

    Args:
        universe: The tickers.
        least: Only pairs whose returns correlate at least so much take part.
        begin: The first column.
        end: The column after the last one.

    Returns:
        The pairs of each bin, shape (BINS,).
    """
    i, j = band_pairs(universe.first, begin, end)
    if least is not None:
        kept = np.abs(products(universe.returns, begin, end, i, j)) >= least
        i, j = i[kept], j[kept]
    found = _bins(products(universe.steps, begin, end, i, j))
    return np.bincount(found, minlength=BINS)


def by_correlation(counts: NDArray[np.int64]) -> Weights:
    """Weigh pairs by 1 / rank of the steps' absolute correlation; half the weight is shared alike.

    Args:
        counts: The pairs of each bin of correlations, from `count`.
    """
    pairs = int(counts.sum())
    if pairs == 0:
        return Weights()
    rank = np.cumsum(counts[::-1])[::-1]  # pairs at least as correlated: ties share the last rank
    share = 1.0 / np.maximum(rank, 1)
    of_bin = HALF + (1.0 - HALF) * pairs * share / (counts @ share)
    return Weights(of_bin)


def by_groups(universe: Universe, groups: NDArray[np.str_]) -> Weights:
    """Return half the weight to all pairs alike, and half to those within a group."""
    _, sizes = np.unique(groups, return_counts=True)
    within = int((sizes * (sizes - 1) // 2).sum())
    if within == 0:
        return Weights()
    return Weights(None, groups, HALF + (1.0 - HALF) * universe.pairs / within)


def _bins(correlation: Matrix) -> NDArray[np.intp]:
    size = np.abs(np.nan_to_num(correlation))
    return np.minimum((size * BINS).astype(np.intp), BINS - 1)
