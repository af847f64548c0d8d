"""What a pair's formation period fixes before its first trade."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData, UsageError
from mlkit.pairs import _pair_strategy as native
from mlkit.pairs.fit import ornstein_uhlenbeck
from mlkit.pairs.settings import Signal

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Formation:
    """The fit of one pair.

    Attributes:
        y: Ticker that the spread is long of.
        x: Ticker that hedges it.
        beta: Hedge ratio: money of x for each unit of money of y (log prices), or shares.
        alpha: Intercept of the regression, in log price or price.
        mean: Mean of the spread `y - alpha - beta x` that the z-score refers to.
        deviation: Its deviation.
        signal: The same in the engine's form.
        warm_up_bars: Bars before the first traded one that the signal needs.
    """

    y: str
    x: str
    beta: float
    alpha: float
    mean: float
    deviation: float
    signal: native.Signal
    warm_up_bars: int

    @property
    def warm(self) -> int:
        """The old name of `warm_up_bars`."""
        return self.warm_up_bars

    @property
    def names(self) -> tuple[str, str]:
        """Both tickers."""
        return self.y, self.x

    def with_lookback(self, lookback: int) -> Formation:
        """Return the same fit with a z-score over another number of bars."""
        signal = self.signal.with_lookback(lookback)
        warm_up_bars = self.warm_up_bars - self.signal.lookback + lookback
        return replace(self, signal=signal, warm_up_bars=warm_up_bars)


def fit(
    y: Vector, x: Vector, names: tuple[str, str], settings: Signal, beta: float | None = None
) -> Formation:
    """Fit the hedge ratio and the spread on a formation period.

    Args:
        y: Closes of the first leg, shape (T,).
        x: Closes of the second leg, shape (T,).
        names: Their tickers.
        settings: What the signal needs.
        beta: The hedge ratio of the method that chose the pair; None for least squares.

    Raises:
        UsageError: The period is shorter than a window of the signal.
        BadData: One of the series is constant, or the spread does not revert (`ou`).
    """
    place = f"{names[0]}/{names[1]}"
    require_length(len(y), place, settings)
    if settings.log:
        y, x = np.log(y), np.log(x)
    for name, series in zip(names, (y, x), strict=True):
        if np.ptp(series) == 0.0:
            raise BadData(f"{place}: {name} is constant in the formation period")
    alpha, slope, covariance, noise = _regress(y, x)
    if beta is None or settings.hedge == "kalman":  # the filter starts from least squares
        beta = slope
    else:
        alpha = float(np.mean(y - beta * x))
    spread = y - alpha - beta * x
    mean, deviation = 0.0, float(np.std(spread, ddof=1))
    if settings.zscore == "ou":
        mean, deviation = _stationary(spread, place)
    return build_formation(
        names, settings, alpha=alpha, beta=beta, mean=mean, deviation=deviation,
        covariance=covariance, bars=len(y), noise=noise,
    )  # fmt: skip


def build_formation(
    names: tuple[str, str],
    settings: Signal,
    *,
    alpha: float,
    beta: float,
    mean: float = 0.0,
    deviation: float = 0.0,
    covariance: Vector | None = None,
    bars: int = 0,
    noise: float = 0.0,
) -> Formation:
    """Build a formation from its numbers, as a pair that carries its beta has them."""
    cov = np.zeros(3) if covariance is None else covariance
    # The drift replaces a share of the T observations' information at each bar, so that the
    # filter does not depend on the unit of x.
    drift = settings.drift / (1.0 - settings.drift) * bars * cov
    signal = native.Signal(
        hedge=settings.hedge,
        log=settings.log,
        alpha=alpha,
        beta=beta,
        hedge_window=settings.hedge_window,
        lookback=settings.lookback if settings.zscore == "lookback" else 0,
        mean=mean,
        deviation=deviation,
        covariance=list(cov),
        drift=list(drift),
        noise=noise,
    )
    # A Kalman filter starts from the fit, and a fixed spread with fixed moments has no memory.
    warm_up_bars = warm_up(settings) if signal.warms_up else 0
    return Formation(names[0], names[1], beta, alpha, mean, deviation, signal, warm_up_bars)


def warm_up(settings: Signal) -> int:
    """Count the bars that the signal needs before its first z-score."""
    lookback = settings.lookback if settings.zscore == "lookback" else 1
    return lookback + (settings.hedge_window - 1 if settings.hedge == "rolling" else 0)


def require_length(bars: int, place: str, settings: Signal) -> None:
    """Refuse a formation period that is too short.

    Args:
        bars: Its bars.
        place: Whose it is, for the message.
        settings: What the signal needs.

    Raises:
        UsageError: It is.
    """
    needed = max(warm_up(settings), 10)
    if bars < needed:
        raise UsageError(
            f"{place}: {bars} formation bars, and the signal needs {needed}",
            hint="lengthen --formation or shorten --lookback and --hedge-window",
        )


def _regress(y: Vector, x: Vector) -> tuple[float, float, Vector, float]:
    """Regress y on a constant and x: alpha, beta, their covariance (aa, ab, bb), the variance."""
    centre = x.mean()
    dx = x - centre
    squares = float(dx @ dx)
    beta = float(dx @ (y - y.mean())) / squares
    alpha = float(y.mean() - beta * centre)
    residual = y - alpha - beta * x
    noise = float(residual @ residual) / (len(y) - 2)
    covariance = noise * np.array(
        [1 / len(y) + centre**2 / squares, -centre / squares, 1 / squares]
    )
    return alpha, beta, covariance, noise


def _stationary(spread: Vector, place: str) -> tuple[float, float]:
    """Return the long-run mean and deviation of the Ornstein-Uhlenbeck process of a spread."""
    process = ornstein_uhlenbeck.fit(spread)
    if process is None:
        raise BadData(
            f"{place}: the spread of the formation period does not revert",
            hint="use the lookback or the formation z-score, or another pair",
        )
    return process.mean.value, process.deviation
