"""One pair in depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlkit.errors import BadData, UsageError
from mlkit.pairs.defaults import COST
from mlkit.pairs.fit import hedging
from mlkit.pairs.fit.hedging import Filtered, LeastSquares, Series
from mlkit.pairs.fit.johansen import JohansenTest, johansen
from mlkit.pairs.fit.ornstein_uhlenbeck import OrnsteinUhlenbeck, Thresholds, bertram
from mlkit.pairs.fit.ornstein_uhlenbeck import fit as fit_process
from mlkit.pairs.fit.spread import hurst, spread
from mlkit.pairs.prices.prices import Prices
from mlkit.pairs.screen.cointegration import MINIMUM_LENGTH, Trend, engle_granger
from mlkit.pairs.screen.null import better, null_of
from mlkit.pairs.screen.significance import mackinnon
from mlkit.pairs.screen.unit_root import dickey_fuller
from mlkit.pairs.settings import TREND, Signal


@dataclass(frozen=True)
class UnitRootTest:
    """A Dickey-Fuller statistic, with or without a first step.

    Attributes:
        name: What was tested.
        statistic: Low values speak against a unit root.
        lags: Lagged changes, by Akaike's criterion.
        p_value: MacKinnon (1994).
        critical: MacKinnon's (2010) values at 1, 5 and 10 %.
    """

    name: str
    statistic: float
    lags: int
    p_value: float
    critical: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class PairFit:
    """All that `mlkit pairs fit` finds out about a pair.

    Attributes:
        y: The dependent ticker.
        x: The other ticker.
        bars: The number of bars.
        least_squares: The hedge ratio of all bars.
        rolling: The hedge ratio of the last `window` bars, shape (bars,).
        window: That window.
        kalman: The filtered hedge ratio.
        spread: y - hedge ratio * x, by least squares, shape (bars,).
        process: The spread's Ornstein-Uhlenbeck process; None if it does not revert.
        thresholds: Bertram's, for the given cost; None if it does not revert or in levels.
        hurst: The spread's Hurst exponent.
        engle_granger: y on x, and x on y.
        p_value: Of the better of both, from the simulated null.
        unit_roots: Dickey-Fuller tests of y and x themselves.
        johansen: For rank 0 and 1.
    """

    y: str
    x: str
    bars: int
    least_squares: LeastSquares
    rolling: Series
    window: int
    kalman: Filtered
    spread: Series
    process: OrnsteinUhlenbeck | None
    thresholds: Thresholds | None
    hurst: float
    engle_granger: tuple[UnitRootTest, UnitRootTest]
    p_value: float
    unit_roots: tuple[UnitRootTest, UnitRootTest]
    johansen: tuple[JohansenTest, ...]


def fit_pair(
    prices: Prices,
    y: str,
    x: str,
    *,
    levels: bool = False,
    trend: Trend = TREND,
    window: int | None = None,
    drift: float = Signal.drift,
    cost: float = COST,
    johansen_lags: int = 1,
    restricted_constant: bool = False,
) -> PairFit:
    """Fit a pair on all bars at which both have prices.

    Args:
        prices: Holds both tickers.
        y: The dependent ticker.
        x: The other ticker.
        levels: Fit prices instead of their logs.
        trend: What the Engle-Granger regression and Johansen's test hold besides.
        window: Bars of the rolling regression; None takes a fifth of all, 20 at least.
        drift: Of the Kalman filter's coefficients (see `hedging.kalman`).
        cost: Of a whole trading cycle, as a share of y's leg, for Bertram's thresholds.
        johansen_lags: Lagged changes in Johansen's regression.
        restricted_constant: Johansen's constant lies within the relations.

    Raises:
        BadData: Too few common bars, or one series is a multiple of the other.
        UsageError: An argument is out of range, or a ticker is not there.
    """
    if y == x:
        raise UsageError(f"{y} and {x}: a pair needs two different tickers")
    both = prices.select([y, x])
    close = both.close[~np.isnan(both.close).any(axis=1)]
    if len(close) < MINIMUM_LENGTH:
        raise BadData(f"{y} and {x} have {len(close)} bars in common, {MINIMUM_LENGTH} needed")
    series = close if levels else np.log(close)
    tests, p_value = _engle_granger(series, (y, x), trend)
    line = hedging.least_squares(series[:, 0], series[:, 1])
    gap = spread(series[:, 0], series[:, 1], line.hedge_ratio)
    process = fit_process(gap)
    rolling_window = window or max(20, len(close) // 5)
    return PairFit(
        y=y,
        x=x,
        bars=len(close),
        least_squares=line,
        rolling=hedging.rolling(series[:, 0], series[:, 1], rolling_window),
        window=rolling_window,
        kalman=hedging.kalman(series[:, 0], series[:, 1], drift),
        spread=gap,
        process=process,
        thresholds=_thresholds(process, cost) if not levels else None,
        hurst=float(hurst(gap[:, None])[0]),
        engle_granger=tests,
        p_value=p_value,
        unit_roots=(_dickey_fuller(y, series[:, 0]), _dickey_fuller(x, series[:, 1])),
        johansen=johansen(series, johansen_lags, trend=trend, restricted=restricted_constant),
    )


def _thresholds(process: OrnsteinUhlenbeck | None, cost: float) -> Thresholds | None:
    if process is None:
        return None
    return bertram(process.speed.value, process.volatility.value, cost)


def _engle_granger(
    series: Series, names: tuple[str, str], trend: Trend
) -> tuple[tuple[UnitRootTest, UnitRootTest], float]:
    from statsmodels.tsa.adfvalues import mackinnoncrit

    result = engle_granger(series, trend=trend)
    if np.isnan(result.statistic[0, 1]):
        raise BadData(f"{names[0]} is a multiple of {names[1]}: there is no spread")
    p = mackinnon(result.statistic, trend)
    critical = tuple(float(c) for c in mackinnoncrit(2, trend, len(series) - 1))
    first, second = (
        UnitRootTest(
            f"{names[i]} on {names[j]}",
            float(result.statistic[i, j]),
            int(result.lags[i, j]),
            float(p[i, j]),
            (critical[0], critical[1], critical[2]),
        )
        for i, j in ((0, 1), (1, 0))
    )
    null = null_of(len(series), trend=trend)
    return (first, second), float(null.p_value(better(result.statistic))[0, 1])


def _dickey_fuller(name: str, series: Series) -> UnitRootTest:
    from statsmodels.tsa.adfvalues import mackinnoncrit, mackinnonp

    statistic, lags = dickey_fuller(series)
    one, five, ten = mackinnoncrit(1, "c", len(series) - lags - 1)
    critical = float(one), float(five), float(ten)
    return UnitRootTest(name, statistic, lags, float(mackinnonp(statistic)), critical)
