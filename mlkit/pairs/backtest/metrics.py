"""How good a backtest was, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
EULER = 0.5772156649015329
FLAT = 1e-13
"""Deviation below which returns do not vary but for rounding, as those of cash above cash."""


@dataclass(frozen=True)
class Performance:
    """Measures of an equity curve; None where one is not defined.

    Attributes:
        bars: Returns that were measured.
        bars_per_year: Bars per year.
        total_return: Equity at the end over that at the start, less 1.
        annual_return: The same per year, compounded.
        volatility: Standard deviation of the returns, per year.
        sharpe: Mean return in excess of cash over its deviation, per year.
        sortino: The same over the downside deviation.
        calmar: Annual return over the maximum drawdown.
        max_drawdown: Greatest loss from a peak, as a share of the peak.
        drawdown_bars: Bars of the longest stretch below a peak.
        skewness: Of the returns.
        kurtosis: Of the returns; 3 for a normal distribution.
        probabilistic_sharpe: Probability that the true Sharpe ratio is above 0.
    """

    bars: int
    bars_per_year: float
    total_return: float
    annual_return: float | None
    volatility: float
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    max_drawdown: float
    drawdown_bars: int
    skewness: float | None
    kurtosis: float | None
    probabilistic_sharpe: float | None


def performance(equity: Vector, bars_per_year: float, cash_rate: float = 0.0) -> Performance:
    """Measure an equity curve.

    Args:
        equity: Equity at each close, shape (T,), from the close before the first decision.
        bars_per_year: Bars per year.
        cash_rate: Interest per year that the Sharpe and Sortino ratios are in excess of.
    """
    returns = np.diff(equity) / equity[:-1]
    excess = returns - cash_rate / bars_per_year
    year = math.sqrt(bars_per_year)
    downside = math.sqrt(float(np.mean(np.minimum(excess, 0.0) ** 2)))
    growth = float(equity[-1] / equity[0])
    annual = growth ** (bars_per_year / len(returns)) - 1.0 if growth > 0.0 else None
    drawdown, stretch = drawdowns(equity)
    skewness, kurtosis = shape(excess)
    per_bar = sharpe(excess)
    certain = None
    if per_bar is not None and skewness is not None and kurtosis is not None:
        certain = probabilistic_sharpe(per_bar, 0.0, len(returns), skewness, kurtosis)
    return Performance(
        bars=len(returns),
        bars_per_year=bars_per_year,
        total_return=growth - 1.0,
        annual_return=annual,
        volatility=float(np.std(returns, ddof=1)) * year,
        sharpe=None if per_bar is None else per_bar * year,
        sortino=float(excess.mean()) / downside * year if downside > FLAT else None,
        calmar=annual / drawdown if annual is not None and drawdown > 0.0 else None,
        max_drawdown=drawdown,
        drawdown_bars=stretch,
        skewness=skewness,
        kurtosis=kurtosis,
        probabilistic_sharpe=certain,
    )


def sharpe(returns: Vector) -> float | None:
    """Return the Sharpe ratio a bar; None if the returns do not vary."""
    deviation = float(np.std(returns, ddof=1))
    return float(returns.mean()) / deviation if deviation > FLAT else None


def drawdowns(equity: Vector) -> tuple[float, int]:
    """Return the greatest loss from a peak as its share, and the bars of the longest one."""
    peaks = np.maximum.accumulate(equity)
    below = np.concatenate(([False], equity < peaks, [False]))
    edges = np.flatnonzero(np.diff(below.astype(np.int8)))
    stretches = edges[1::2] - edges[::2]
    return float(np.max(1.0 - equity / peaks)), int(stretches.max(initial=0))


def shape(returns: Vector) -> tuple[float | None, float | None]:
    """Return the skewness and the kurtosis (3 for a normal distribution) of returns."""
    centred = returns - returns.mean()
    variance = float(np.mean(centred**2))
    if variance <= FLAT**2:
        return None, None
    return (
        float(np.mean(centred**3)) / variance**1.5,
        float(np.mean(centred**4)) / variance**2,
    )


def probabilistic_sharpe(
    observed: float, benchmark: float, bars: int, skewness: float, kurtosis: float
) -> float:
    """Return the probability that the true Sharpe ratio exceeds a benchmark.

    Bailey and Lopez de Prado, The Sharpe Ratio Efficient Frontier (2012), equation 11.

    Args:
        observed: Sharpe ratio a bar, not annualised.
        benchmark: The one to exceed, per bar.
        bars: Returns that `observed` is made of.
        skewness: Of the returns.
        kurtosis: Of the returns; 3 for a normal distribution.
    """
    spread = 1.0 - skewness * observed + (kurtosis - 1.0) / 4.0 * observed**2
    return _normal((observed - benchmark) * math.sqrt((bars - 1) / spread))


def _normal(z: float) -> float:
    """Return the normal distribution function; scipy.special would cost a third of a run."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def expected_best_sharpe(variance: float, trials: float) -> float:
    """Return the Sharpe ratio that the best of many worthless trials is expected to show.

    Bailey and Lopez de Prado, The Deflated Sharpe Ratio (2014), equation 1.

    Args:
        variance: Of the trials' Sharpe ratios, per bar.
        trials: How many independent trials there were.
    """
    if trials <= 1.0:
        return 0.0
    from statistics import NormalDist

    quantile = NormalDist().inv_cdf
    quantiles = quantile(1.0 - 1.0 / trials), quantile(1.0 - 1.0 / (trials * math.e))
    return float(math.sqrt(variance) * ((1.0 - EULER) * quantiles[0] + EULER * quantiles[1]))


def independent_trials(trials: int, correlation: float) -> float:
    """Return the number of independent trials that correlated ones are worth.

    Bailey and Lopez de Prado (2014), appendix 3: rho + (1 - rho) M.
    """
    share = min(max(correlation, 0.0), 1.0)
    return share + (1.0 - share) * trials


def average_correlation(returns: Vector) -> float:
    """Return the mean correlation between different rows; rows that do not vary are left out.

    Args:
        returns: Shape (configurations, bars).
    """
    centred = returns - returns.mean(axis=1, keepdims=True)
    norms = np.sqrt(np.sum(centred**2, axis=1))
    varying = norms > FLAT * math.sqrt(returns.shape[1])
    scaled = centred[varying] / norms[varying, None]
    count = len(scaled)
    if count < 2:
        return 1.0
    total = scaled.sum(axis=0)
    return float((total @ total - count) / (count * (count - 1)))


@dataclass(frozen=True)
class Deflated:
    """A Sharpe ratio after the number of trials that it was the best of.

    Attributes:
        trials: Configurations that were tried, here and elsewhere.
        correlation: Mean correlation of the returns of those that were tried here.
        independent: Independent trials that they are worth.
        sharpe_variance: Variance of the Sharpe ratios a bar of those that were tried here.
        benchmark: Expected best Sharpe ratio a bar of as many worthless trials.
        probability: Probability that the true Sharpe ratio exceeds it, all trials counted.
        adjusted_benchmark: As `benchmark`, for the independent trials.
        adjusted_probability: As `probability`, for the independent trials.
    """

    trials: int
    correlation: float
    independent: float
    sharpe_variance: float
    benchmark: float
    probability: float | None
    adjusted_benchmark: float
    adjusted_probability: float | None


def deflate(
    best: Vector, sharpes: Sequence[float] | Vector, correlation: float, elsewhere: int = 0
) -> Deflated:
    """Deflate the Sharpe ratio of the best of many configurations.

    Args:
        best: Its returns, shape (T,).
        sharpes: Sharpe ratios a bar of all configurations that were scored on the same bars.
        correlation: The mean correlation of their returns, see `average_correlation`.
        elsewhere: Trials that were made before.
    """
    trials = len(sharpes) + elsewhere
    independent = independent_trials(trials, correlation)
    variance = float(np.var(np.asarray(sharpes), ddof=1)) if len(sharpes) > 1 else 0.0
    raw, adjusted = (expected_best_sharpe(variance, n) for n in (trials, independent))
    return Deflated(
        trials, correlation, independent, variance,
        raw, _above(best, raw), adjusted, _above(best, adjusted),
    )  # fmt: skip


def _above(returns: Vector, benchmark: float) -> float | None:
    observed = sharpe(returns)
    skewness, kurtosis = shape(returns)
    if observed is None or skewness is None or kurtosis is None:
        return None
    return probabilistic_sharpe(observed, benchmark, len(returns), skewness, kurtosis)
