"""The screen: which of all pairs of a universe are worth a closer look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData, UsageError
from mlkit.pairs.cluster import Cluster
from mlkit.pairs.fit.spread import half_life, hurst, spread
from mlkit.pairs.prices.prices import Prices
from mlkit.pairs.screen.cointegration import MINIMUM_LENGTH, Matrix, Panel, Trend
from mlkit.pairs.screen.criteria import Criteria, Resources, Scale
from mlkit.pairs.screen.null import null_of
from mlkit.pairs.screen.ranking import Ranking, by_correlation, by_distance
from mlkit.pairs.screen.significance import adjust, mackinnon
from mlkit.pairs.screen.testing import by_cointegration
from mlkit.pairs.screen.universe import Universe
from mlkit.progress import Progress, silent

# A hedge that explains less of the other leg's variance than this is not a hedge.
HEDGES_LITTLE = 0.1

RANKINGS: dict[str, Callable[[Universe, Criteria, Resources, Progress], Ranking]] = {
    "cointegration": by_cointegration,
    "correlation": by_correlation,
    "distance": by_distance,
}
"""How each method ranks the pairs."""

STATIONARY_ALPHA = 0.05
"""The share of tickers wrongly called stationary that is accepted (Benjamini and Hochberg)."""


@dataclass(frozen=True)
class Pair:
    """One pair that passed.

    Attributes:
        y: The ticker that is bought when the spread y - hedge ratio * x is low.
        x: The other ticker.
        scale: What the hedge ratio is in.
        hedge_ratio: Money (log) or shares (levels) of x for each of y; negative for a pair
            that moves against one another, whose legs are on the same side.
        intercept: The spread's mean in the window.
        statistic: Engle-Granger, y on x: the lower one of both directions.
        lags: Lagged changes in that test.
        mackinnon: MacKinnon's p-value of y on x.
        mackinnon_reverse: MacKinnon's p-value of x on y.
        p_value: The screen's p-value, from the simulated null of the better direction.
        weight: The prior weight; `p_value` over it is what the control of false discoveries sees.
        adjusted_p: After the control of false discoveries.
        r_squared: Share of y's variance (about its trend) that x explains; with a share near 0
            the hedge ratio is near 0 and the spread is y alone.
        half_life: In bars; inf if the spread does not come back.
        hurst: The spread's Hurst exponent.
        correlation: Of the returns.
        distance: Sum of squared deviations of the normalised prices.
    """

    y: str
    x: str
    scale: Scale
    hedge_ratio: float
    intercept: float
    statistic: float | None
    lags: int | None
    mackinnon: float | None
    mackinnon_reverse: float | None
    p_value: float | None
    weight: float | None
    adjusted_p: float | None
    r_squared: float | None
    half_life: float
    hurst: float
    correlation: float
    distance: float

    @property
    def hedges_little(self) -> bool:
        """Whether the hedge ratio is near 0: x explains hardly any of y's variance."""
        return self.r_squared is not None and self.r_squared < HEDGES_LITTLE


@dataclass(frozen=True)
class Screen:
    """The outcome of a screen.

    Attributes:
        pairs: Those that passed, best first.
        tickers: How many tickers took part.
        left_out: Tickers that did not, and why.
        considered: Pairs of these tickers.
        filtered: Pairs that a filter took out before the tests.
        near_collinear: Pairs that are one series but for rounding; they are not tested.
        tested: Pairs that were tested and ranked.
        best_adjusted_p: The lowest adjusted p-value, passed or not; None without tests.
        criteria: What was looked for.
        bars: Bars in the window.
    """

    pairs: tuple[Pair, ...]
    tickers: int
    left_out: dict[str, str]
    considered: int
    filtered: int
    near_collinear: tuple[tuple[str, str], ...]
    tested: int
    best_adjusted_p: float | None
    criteria: Criteria
    bars: int


def screen(
    prices: Prices,
    criteria: Criteria,
    *,
    threads: int = 1,
    checkpoint: Path | None = None,
    cluster: Cluster | None = None,
    progress: Progress = silent,
) -> Screen:
    """Rank all pairs of a universe on all bars given, and keep those that pass.

    Args:
        prices: All bars of the window.
        criteria: What to look for.
        threads: Threads to use; the result does not depend on them.
        checkpoint: A directory that keeps finished portions of a cointegration screen; a screen
            of the same prices and criteria goes on from there.
        cluster: Machines that test the pairs of a cointegration screen; the bits are the same.
        progress: Called with the pairs done and in all.

    Raises:
        BadData: There are fewer than two tickers, or too few bars.
        UsageError: The checkpoint is of another screen, or the method has nothing for a cluster.
    """
    if cluster is not None and criteria.method != "cointegration":
        raise UsageError(
            f"a cluster tests for cointegration: '{criteria.method}' takes less than its results "
            "would to travel"
        )
    whole, left_out = _complete(prices)
    if criteria.method == "cointegration" and not criteria.keep_stationary:
        whole = _without_stationary(whole, criteria, left_out, threads)
    tickers = len(whole.tickers)
    considered = tickers * (tickers - 1) // 2
    universe = Universe.of(_affordable(whole, criteria), criteria.scale, criteria.groups)
    resources = Resources(threads, checkpoint, cluster)
    found = Ranking.empty()
    if universe.pairs > 0:
        found = RANKINGS[criteria.method](universe, criteria, resources, progress)
    return Screen(
        pairs=tuple(_passing(universe, found, criteria)),
        tickers=tickers,
        left_out=left_out,
        considered=considered,
        filtered=considered - found.ranked - len(found.near_collinear),
        near_collinear=tuple(_names(universe, pair) for pair in found.near_collinear),
        tested=found.ranked,
        best_adjusted_p=found.best_adjusted_p,
        criteria=criteria,
        bars=len(prices),
    )


def _names(universe: Universe, pair: NDArray[np.int64]) -> tuple[str, str]:
    one, two = sorted(universe.prices.tickers[each] for each in pair)
    return one, two


def _complete(prices: Prices) -> tuple[Prices, dict[str, str]]:
    """Leave out tickers without a price at every bar, or with one and the same."""
    if len(prices) < MINIMUM_LENGTH:
        raise BadData(
            f"{prices.source}: {len(prices)} bars in the window, "
            f"a screen needs at least {MINIMUM_LENGTH}"
        )
    missing = np.isnan(prices.close).sum(axis=0)
    constant = np.ptp(prices.close, axis=0) == 0.0
    left_out = {}
    for ticker, gaps, flat in zip(prices.tickers, missing, constant, strict=True):
        if gaps or flat:
            left_out[ticker] = f"{gaps} bars without a price" if gaps else "constant"
    kept = [ticker for ticker in prices.tickers if ticker not in left_out]
    if len(kept) < 2:
        raise BadData(
            f"{prices.source}: a screen needs 2 tickers with complete bars, and finds {len(kept)}",
            hint="a wide file has a column per ticker, a long one the columns date, ticker, close",
        )
    return prices.select(kept), left_out


def _without_stationary(
    prices: Prices, criteria: Criteria, left_out: dict[str, str], threads: int
) -> Prices:
    """Leave out tickers without a unit root: a stationary series seems to fit every other one."""
    for ticker, p in stationary(prices, criteria, threads).items():
        left_out[ticker] = f"stationary (unit-root test: p = {p:.2g})"
    return prices.select([ticker for ticker in prices.tickers if ticker not in left_out])


def stationary(prices: Prices, criteria: Criteria, threads: int = 1) -> dict[str, float]:
    """Find the tickers whose own series has no unit root.

    Each detrended series takes the test's second step by itself; its p-value comes from the
    simulated null of that statistic. False discoveries among the tickers are held to 5 %.

    Returns:
        The p-values of these tickers.
    """
    series = np.log(prices.close) if criteria.scale == "log" else prices.close
    statistic = Panel.of(series, criteria.trend, criteria.lags).unit_roots(threads)
    null = null_of(len(series), trend=criteria.trend, lags=criteria.lags, width=1)
    p = null.p_value(statistic)
    found = np.flatnonzero(adjust(p, "bh") <= STATIONARY_ALPHA)
    return {prices.tickers[n]: float(p[n]) for n in found}


def _affordable(prices: Prices, criteria: Criteria) -> Prices:
    """Leave out tickers whose least price is below the filter's."""
    least = criteria.filters.min_price
    if least is None:
        return prices
    kept = prices.close.min(axis=0) >= least
    return prices.select([prices.tickers[n] for n in np.flatnonzero(kept)])


def _passing(universe: Universe, found: Ranking, criteria: Criteria) -> list[Pair]:
    """Describe the passing pairs, best first, until enough have satisfied the filters."""
    filters, pairs, batch = criteria.filters, list[Pair](), 1024
    passing = np.arange(len(found.y))
    if found.figures:
        passing = np.flatnonzero(found.figures["adjusted_p"] <= criteria.alpha)
    for begin in range(0, len(passing), batch):
        some = passing[begin : begin + batch]
        y, x = found.y[some], found.x[some]
        spreads = spread(universe.series[:, y], universe.series[:, x], found.hedge_ratio[some])
        lives, exponents = half_life(spreads), hurst(spreads)
        keep = (lives >= filters.half_life[0]) & (lives <= filters.half_life[1])
        if filters.max_hurst is not None:
            keep &= exponents < filters.max_hurst
        traits = {
            "intercept": spreads.mean(axis=0),
            "half_life": lives,
            "hurst": exponents,
            "correlation": universe.correlation(y, x),
            "distance": universe.distance(y, x),
        }
        for n in np.flatnonzero(keep):
            these = {name: float(values[n]) for name, values in traits.items()}
            pairs.append(_pair(universe, found, int(some[n]), these, criteria.trend))
            if len(pairs) == criteria.top:
                return pairs
    return pairs


def _pair(universe: Universe, found: Ranking, n: int, traits: dict[str, Any], trend: Trend) -> Pair:
    tickers = universe.prices.tickers
    return Pair(
        y=tickers[found.y[n]],
        x=tickers[found.x[n]],
        scale=universe.scale,
        hedge_ratio=float(found.hedge_ratio[n]),
        **_test(found.figures, n, trend),
        **traits,
    )


_TEST = ("statistic", "p_value", "weight", "adjusted_p", "r_squared")


def _test(figures: dict[str, Matrix], n: int, trend: Trend) -> dict[str, Any]:
    """Return the test's figures of one pair; None where the method makes no test."""
    if not figures:
        return dict.fromkeys((*_TEST, "lags", "mackinnon", "mackinnon_reverse"))
    both = np.array([figures["statistic"][n], figures["reverse"][n]])
    forward, backward = mackinnon(both, trend)
    return {
        **{name: float(figures[name][n]) for name in _TEST},
        "lags": int(figures["lags"][n]),
        "mackinnon": float(forward),
        "mackinnon_reverse": float(backward),
    }
