"""The screen: which of all pairs of a universe are worth a closer look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData
from mlkit.pairs.fit.spread import half_life, hurst, spread
from mlkit.pairs.prices.prices import Prices
from mlkit.pairs.screen import ranking
from mlkit.pairs.screen.cointegration import MINIMUM_LENGTH, Trend
from mlkit.pairs.screen.significance import Fdr
from mlkit.progress import Progress, silent

Method = Literal["cointegration", "correlation", "distance"]
Scale = Literal["log", "levels"]


@dataclass(frozen=True)
class Filters:
    """What a pair has to satisfy besides its rank.

    The first four are applied before the tests and lower their number; half-life and Hurst
    exponent belong to the spread that is tested, and are applied after.

    Attributes:
        min_correlation: Of the returns.
        groups: A group for each ticker; both of a pair have to share it.
        min_price: The least close of both in the window.
        half_life: Bounds in bars.
        max_hurst: The Hurst exponent stays below it.
    """

    min_correlation: float | None = None
    groups: Mapping[str, str] | None = None
    min_price: float | None = None
    half_life: tuple[float, float] = (0.0, np.inf)
    max_hurst: float | None = None


@dataclass(frozen=True)
class Criteria:
    """What the screen looks for.

    Attributes:
        method: `cointegration` ranks by p-value, `correlation` by the size of the returns'
            correlation, `distance` by the squared deviation of normalised prices (Gatev,
            Goetzmann and Rouwenhorst 2006).
        scale: `log`: the hedge ratio weighs money; `levels`: it weighs shares.
        trend: What the cointegrating regression holds besides the other series.
        lags: Lagged changes of the test; None lets Akaike's criterion choose.
        fdr: The control of false discoveries (cointegration only).
        alpha: The share of false discoveries that is accepted.
        top: The most pairs to give; None for all.
        filters: What a pair has to satisfy besides.
    """

    method: Method = "cointegration"
    scale: Scale = "log"
    trend: Trend = "c"
    lags: int | None = None
    fdr: Fdr = "by"
    alpha: float = 0.05
    top: int | None = None
    filters: Filters = field(default_factory=Filters)


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
        adjusted_p: After the control of false discoveries.
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
    adjusted_p: float | None
    half_life: float
    hurst: float
    correlation: float
    distance: float


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
    prices: Prices, criteria: Criteria, *, threads: int = 1, progress: Progress = silent
) -> Screen:
    """Rank all pairs of a universe on all bars given, and keep those that pass.

    Raises:
        BadData: There are fewer than two tickers, or too few bars.
    """
    whole, left_out = _complete(prices)
    universe = ranking.Universe.of(whole, criteria.scale)
    wanted = _wanted(universe, criteria.filters)
    rank = ranking.METHODS[criteria.method]
    found = rank(universe, wanted, criteria, threads, progress)
    passing = found.order[found.adjusted_p[found.order] <= criteria.alpha]
    pairs = _passing(universe, found, passing, criteria)
    considered = universe.count * (universe.count - 1) // 2
    adjusted = found.adjusted_p[found.order]
    tests = criteria.method == "cointegration" and len(adjusted) > 0
    return Screen(
        pairs=tuple(pairs),
        tickers=universe.count,
        left_out=left_out,
        considered=considered,
        filtered=considered - int(wanted.sum()),
        near_collinear=tuple(universe.names(pair) for pair in found.near_collinear),
        tested=len(found.order),
        best_adjusted_p=float(adjusted.min()) if tests else None,
        criteria=criteria,
        bars=len(prices),
    )


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
            hint="a wide file has a column a ticker, a long one the columns date, ticker, close",
        )
    return prices.select(kept), left_out


def _wanted(universe: ranking.Universe, filters: Filters) -> NDArray[np.bool_]:
    """Mark the pairs that the filters before the tests let through, shape (pairs,)."""
    wanted = np.ones(len(universe.first), dtype=bool)
    if filters.min_correlation is not None:
        wanted &= np.abs(universe.correlation) >= filters.min_correlation
    if filters.groups is not None:
        groups = np.array([_group(filters.groups, each) for each in universe.prices.tickers])
        wanted &= groups[universe.first] == groups[universe.second]
    if filters.min_price is not None:
        dear = universe.prices.close.min(axis=0) >= filters.min_price
        wanted &= dear[universe.first] & dear[universe.second]
    return wanted


def _group(groups: Mapping[str, str], ticker: str) -> str:
    if ticker not in groups:
        raise BadData(f"no group for ticker '{ticker}'", hint="add it to the groups file")
    return groups[ticker]


def _passing(
    universe: ranking.Universe,
    found: ranking.Ranking,
    passing: NDArray[np.intp],
    criteria: Criteria,
) -> list[Pair]:
    """Describe the passing pairs, best first, until enough have satisfied the filters."""
    filters, pairs, batch = criteria.filters, list[Pair](), 1024
    for begin in range(0, len(passing), batch):
        some = passing[begin : begin + batch]
        y, x = found.y[some], found.x[some]
        spreads = spread(universe.series[:, y], universe.series[:, x], found.hedge_ratio[some])
        lives, exponents = half_life(spreads), hurst(spreads)
        keep = (lives >= filters.half_life[0]) & (lives <= filters.half_life[1])
        if filters.max_hurst is not None:
            keep &= exponents < filters.max_hurst
        means = spreads.mean(axis=0)
        for n in np.flatnonzero(keep):
            pairs.append(_pair(universe, found, int(some[n]), (means[n], lives[n], exponents[n])))
            if len(pairs) == criteria.top:
                return pairs
    return pairs


def _pair(
    universe: ranking.Universe,
    found: ranking.Ranking,
    n: int,
    traits: tuple[float, float, float],
) -> Pair:
    tickers = universe.prices.tickers
    mean, life, exponent = (float(each) for each in traits)
    tests = {} if found.tests is None else found.tests.of(n)
    return Pair(
        y=tickers[found.y[n]],
        x=tickers[found.x[n]],
        scale=universe.scale,
        hedge_ratio=float(found.hedge_ratio[n]),
        intercept=mean,
        statistic=tests.get("statistic"),
        lags=None if found.tests is None else int(found.tests.lags[n]),
        mackinnon=tests.get("mackinnon"),
        mackinnon_reverse=tests.get("mackinnon_reverse"),
        p_value=tests.get("p_value"),
        adjusted_p=None if found.tests is None else float(found.adjusted_p[n]),
        half_life=life,
        hurst=exponent,
        correlation=float(universe.correlation[n]),
        distance=float(universe.distance(n)),
    )
