"""The three ways to rank pairs: cointegration, correlation of returns, and distance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mlkit.pairs.prices.prices import Prices
from mlkit.pairs.screen.cointegration import Matrix, Trend, engle_granger
from mlkit.pairs.screen.null import null_of
from mlkit.pairs.screen.significance import adjust, mackinnon
from mlkit.progress import Progress

if TYPE_CHECKING:
    from mlkit.pairs.screen.screening import Criteria

# Below this 1 - R^2 two series are one but for rounding (statsmodels draws the line here too).
NEAR_COLLINEAR = 100.0 * float(np.sqrt(np.finfo(float).eps))


@dataclass(frozen=True, eq=False)
class Universe:
    """The series of the tickers, and their pairs in a fixed order.

    Attributes:
        prices: Complete prices of n tickers.
        scale: `log` or `levels`.
        series: Log prices or prices, shape (length, n).
        first: Position of each pair's first ticker, shape (pairs,).
        second: Position of its second ticker.
    """

    prices: Prices
    scale: Literal["log", "levels"]
    series: Matrix
    first: NDArray[np.intp]
    second: NDArray[np.intp]

    @classmethod
    def of(cls, prices: Prices, scale: Literal["log", "levels"]) -> Universe:
        """List the pairs of complete prices."""
        series = np.log(prices.close) if scale == "log" else prices.close
        return cls(prices, scale, series, *np.triu_indices(len(prices.tickers), 1))

    @property
    def count(self) -> int:
        """The number of tickers."""
        return len(self.prices.tickers)

    def names(self, pair: int) -> tuple[str, str]:
        """Give a pair's tickers."""
        tickers = self.prices.tickers
        return tickers[self.first[pair]], tickers[self.second[pair]]

    @cached_property
    def correlation(self) -> Matrix:
        """The correlation of each pair's log returns, shape (pairs,)."""
        returns = np.diff(np.log(self.prices.close), axis=0)
        return np.asarray(np.corrcoef(returns.T)[self.first, self.second])

    @cached_property
    def normalised(self) -> Matrix:
        """Prices over their first price."""
        return np.asarray(self.prices.close / self.prices.close[0])

    def distance(self, pair: int) -> float:
        """Sum the squared deviations of a pair's normalised prices."""
        gap = self.normalised[:, self.first[pair]] - self.normalised[:, self.second[pair]]
        return float(gap @ gap)


@dataclass(frozen=True, eq=False)
class Tests:
    """Engle-Granger tests of all pairs, each array of shape (pairs,)."""

    trend: Trend
    statistic: Matrix
    reverse: Matrix
    lags: NDArray[np.intc]
    p_value: Matrix

    def of(self, pair: int) -> dict[str, float]:
        """Give the figures of one pair."""
        both = np.array([self.statistic[pair], self.reverse[pair]])
        forward, backward = mackinnon(both, self.trend)
        return {
            "statistic": float(both[0]),
            "p_value": float(self.p_value[pair]),
            "mackinnon": float(forward),
            "mackinnon_reverse": float(backward),
        }


@dataclass(frozen=True, eq=False)
class Ranking:
    """Pairs in order. The arrays are of shape (pairs,) and hold every pair of the universe.

    Attributes:
        order: The ranked pairs' positions, best first.
        y: Position of the dependent ticker.
        x: Position of the other one.
        hedge_ratio: Of x for each y.
        adjusted_p: After false discovery control; 0 where the method makes no test.
        near_collinear: Positions of pairs that were not ranked for it.
        tests: The tests behind it, if the method makes any.
    """

    order: NDArray[np.intp]
    y: NDArray[np.intp]
    x: NDArray[np.intp]
    hedge_ratio: Matrix
    adjusted_p: Matrix
    near_collinear: NDArray[np.intp]
    tests: Tests | None = None


def by_cointegration(
    universe: Universe,
    wanted: NDArray[np.bool_],
    criteria: Criteria,
    threads: int,
    progress: Progress,
) -> Ranking:
    """Rank by the p-value of the better Engle-Granger direction."""
    first, second = universe.first, universe.second
    result = engle_granger(
        universe.series,
        trend=criteria.trend,
        lags=criteria.lags,
        threads=threads,
        progress=progress,
    )
    swap = result.statistic[second, first] < result.statistic[first, second]
    y, x = np.where(swap, second, first), np.where(swap, first, second)
    statistic = result.statistic[y, x]
    close = (result.closeness[first, second] < NEAR_COLLINEAR) | np.isnan(statistic)
    tested = np.flatnonzero(wanted & ~close)
    null = null_of(len(universe.series), trend=criteria.trend, lags=criteria.lags)
    p = null.p_value(statistic)
    adjusted = np.ones(len(first))
    adjusted[tested] = adjust(p[tested], criteria.fdr)
    order = tested[np.argsort(statistic[tested], kind="stable")]
    tests = Tests(criteria.trend, statistic, result.statistic[x, y], result.lags[y, x], p)
    ratio = result.hedge_ratio[y, x]
    return Ranking(order, y, x, ratio, adjusted, np.flatnonzero(wanted & close), tests)


def by_correlation(
    universe: Universe,
    wanted: NDArray[np.bool_],
    criteria: Criteria,
    threads: int,
    progress: Progress,
) -> Ranking:
    """Rank by the size of the correlation; hedge by the ratio of the returns' deviations."""
    pairs = np.flatnonzero(wanted)
    order = pairs[np.argsort(-np.abs(universe.correlation[pairs]), kind="stable")]
    y, x = _by_name(universe)
    deviation = np.diff(universe.series, axis=0).std(axis=0)
    ratio = np.sign(universe.correlation) * deviation[y] / deviation[x]
    return _without_tests(order, y, x, ratio)


def by_distance(
    universe: Universe,
    wanted: NDArray[np.bool_],
    criteria: Criteria,
    threads: int,
    progress: Progress,
) -> Ranking:
    """Rank by the distance of normalised prices; hedge money for money."""
    pairs = np.flatnonzero(wanted)
    distance = np.array([universe.distance(int(pair)) for pair in pairs])
    order = pairs[np.argsort(distance, kind="stable")]
    y, x = _by_name(universe)
    first = universe.prices.close[0]
    ratio = np.ones(len(y)) if universe.scale == "log" else first[y] / first[x]
    return _without_tests(order, y, x, ratio)


def _by_name(universe: Universe) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Take a pair's tickers in alphabetical order, so that the columns' order is nothing."""
    place = np.argsort(np.argsort(np.array(universe.prices.tickers)))
    swap = place[universe.second] < place[universe.first]
    first, second = universe.first, universe.second
    return np.where(swap, second, first), np.where(swap, first, second)


def _without_tests(
    order: NDArray[np.intp], y: NDArray[np.intp], x: NDArray[np.intp], ratio: Matrix
) -> Ranking:
    return Ranking(order, y, x, ratio, np.zeros(len(y)), np.zeros(0, np.intp))


METHODS: dict[str, Callable[[Universe, NDArray[np.bool_], Criteria, int, Progress], Ranking]] = {
    "cointegration": by_cointegration,
    "correlation": by_correlation,
    "distance": by_distance,
}
