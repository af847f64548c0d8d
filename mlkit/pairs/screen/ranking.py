"""The three ways to rank pairs: cointegration, correlation of returns, and distance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mlkit.pairs import _pair_kernels
from mlkit.pairs.screen.cointegration import Matrix, Numbers, Report, band_pairs
from mlkit.pairs.screen.criteria import Criteria, Resources
from mlkit.pairs.screen.universe import Universe, products
from mlkit.progress import Progress

Figures = dict[str, Matrix]


@dataclass(frozen=True, eq=False)
class Ranking:
    """Pairs in order, best first; the arrays are of shape (pairs,).

    Attributes:
        y: Position of the dependent ticker.
        x: Position of the other one.
        hedge_ratio: Of x for each y.
        figures: What the test found for each pair, by name; empty if the method makes no test.
        ranked: How many pairs were tested or ranked, those that are not in the arrays included.
        near_collinear: Positions of pairs that were not ranked for it, shape (n, 2).
        best_adjusted_p: The lowest adjusted p-value of all; None without tests.
    """

    y: Numbers
    x: Numbers
    hedge_ratio: Matrix
    figures: Figures
    ranked: int
    near_collinear: Numbers
    best_adjusted_p: float | None = None

    @classmethod
    def without_tests(cls, y: Numbers, x: Numbers, hedge_ratio: Matrix, ranked: int) -> Ranking:
        """Build the ranking of a method that makes no test."""
        return cls(y, x, hedge_ratio, {}, ranked, np.zeros((0, 2), dtype=np.int64))

    @classmethod
    def empty(cls) -> Ranking:
        """Build the ranking of no pairs."""
        none = np.zeros(0, dtype=np.int64)
        return cls.without_tests(none, none, np.zeros(0), 0)


class _Best:
    """The pairs with the lowest scores so far: all of them, or a number."""

    def __init__(self, most: int | None) -> None:
        self.most, self.ranked = most, 0
        self.score, self.i, self.j = np.zeros(0), *np.zeros((2, 0), dtype=np.int64)

    def add(self, score: Matrix, i: Numbers, j: Numbers) -> None:
        self.ranked += len(score)
        self.score = np.concatenate([self.score, score])
        self.i, self.j = np.concatenate([self.i, i]), np.concatenate([self.j, j])
        if self.most is not None and len(self.score) > self.most:
            self._take(np.argsort(self.score, kind="stable")[: self.most])

    def _take(self, chosen: Numbers) -> None:
        self.score, self.i, self.j = self.score[chosen], self.i[chosen], self.j[chosen]

    def sort(self, universe: Universe) -> tuple[Numbers, Numbers, Matrix]:
        """Return y, x and scores, best first; ties go by name."""
        y, x = universe.by_name(self.i, self.j)
        order = np.lexsort((universe.places[x], universe.places[y], self.score))
        return y[order], x[order], self.score[order]


def by_correlation(
    universe: Universe, criteria: Criteria, resources: Resources, progress: Progress
) -> Ranking:
    """Rank by the size of the correlation; hedge by the ratio of the returns' deviations."""
    best = _Best(_most(criteria))
    for _, _, i, j, correlation in _find_correlated(universe, criteria, progress):
        best.add(-np.abs(correlation), i, j)
    y, x, _ = best.sort(universe)
    deviation = np.diff(universe.series, axis=0).std(axis=0)
    ratio = np.sign(universe.correlation(y, x)) * deviation[y] / deviation[x]
    return Ranking.without_tests(y, x, ratio, best.ranked)


def by_distance(
    universe: Universe, criteria: Criteria, resources: Resources, progress: Progress
) -> Ranking:
    """Rank by the distance of normalised prices; hedge money for money."""
    panel = _pair_kernels.Panel(np.ascontiguousarray(universe.normalised.T))
    best, done = _Best(_most(criteria)), 0
    least = criteria.filters.min_correlation
    for begin, end in universe.portions():
        i, j = band_pairs(universe.first, begin, end)
        report = portion_of(progress, done, universe.pairs)
        distance = panel.distances(
            universe.first, begin, end, threads=resources.threads, progress=report
        )
        done += len(i)
        if least is not None:
            kept = np.abs(products(universe.returns, begin, end, i, j)) >= least
            distance, i, j = distance[kept], i[kept], j[kept]
        best.add(distance, i, j)
    y, x, _ = best.sort(universe)
    first = universe.prices.close[0]
    ratio = np.ones(len(y)) if universe.scale == "log" else first[y] / first[x]
    return Ranking.without_tests(y, x, ratio, best.ranked)


def _find_correlated(
    universe: Universe, criteria: Criteria, progress: Progress
) -> Iterator[tuple[int, int, Numbers, Numbers, Matrix]]:
    """Go through the pairs that correlate enough, with their correlations."""
    least, done = criteria.filters.min_correlation, 0
    for begin, end in universe.portions():
        i, j = band_pairs(universe.first, begin, end)
        done += len(i)
        correlation = products(universe.returns, begin, end, i, j)
        if least is not None:
            kept = np.abs(correlation) >= least
            i, j, correlation = i[kept], j[kept], correlation[kept]
        yield begin, end, i, j, correlation
        progress(done, universe.pairs)


def _most(criteria: Criteria) -> int | None:
    """Return how many pairs need to be kept; filters of the spread may ask for any of them."""
    filters = criteria.filters
    later = filters.half_life != (0.0, np.inf) or filters.max_hurst is not None
    return None if later else criteria.top


def portion_of(progress: Progress, done: int, total: int) -> Report:
    """Report a portion's progress as that of the whole."""

    def report(done_of_part: int, _total: int) -> None:
        progress(done + done_of_part, total)

    return report
