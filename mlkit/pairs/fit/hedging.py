"""Hedge ratios: by least squares, by rolling least squares, and by a Kalman filter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import UsageError
from mlkit.pairs.settings import Signal

Series = NDArray[np.float64]


@dataclass(frozen=True)
class LeastSquares:
    """y = intercept + hedge ratio * x.

    Attributes:
        hedge_ratio: The slope.
        hedge_ratio_error: Its conventional standard error; with cointegrated series the
            estimate is better, and its distribution another, than that suggests.
        intercept: The constant.
        r_squared: Share of y's variance.
    """

    hedge_ratio: float
    hedge_ratio_error: float
    intercept: float
    r_squared: float


def least_squares(y: Series, x: Series) -> LeastSquares:
    """Regress y on x and a constant; both of shape (length,)."""
    dx, dy = x - x.mean(), y - y.mean()
    square = float(dx @ dx)
    slope = float(dx @ dy) / square
    residual = dy - slope * dx
    rest = float(residual @ residual)
    return LeastSquares(
        hedge_ratio=slope,
        hedge_ratio_error=float(np.sqrt(rest / (len(y) - 2) / square)),
        intercept=float(y.mean() - slope * x.mean()),
        r_squared=1.0 - rest / float(dy @ dy),
    )


def rolling(y: Series, x: Series, window: int) -> Series:
    """Return the least-squares hedge ratio of the last `window` bars at every bar.

    Returns:
        Shape (length,); NaN before the first full window, and where x does not move in it.

    Raises:
        UsageError: The window is under 3 bars or longer than the series.
    """
    if not 3 <= window <= len(y):
        raise UsageError(f"a window of {window} bars does not fit {len(y)} bars")
    views = np.lib.stride_tricks.sliding_window_view
    xs, ys = views(x, window), views(y, window)
    dx = xs - xs.mean(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (dx * ys).sum(axis=1) / (dx * dx).sum(axis=1)
    return np.concatenate(
        [np.full(window - 1, np.nan), np.where(np.isfinite(slope), slope, np.nan)]
    )


@dataclass(frozen=True, eq=False)
class Filtered:
    """A Kalman filter's coefficients after each bar, from that bar and those before it.

    Attributes:
        hedge_ratio: Shape (length,).
        intercept: Shape (length,).
        deviation: Standard deviation of the hedge ratio, shape (length,).
    """

    hedge_ratio: Series
    intercept: Series
    deviation: Series


def kalman(y: Series, x: Series, drift: float = Signal.drift) -> Filtered:
    """Follow y = intercept + hedge ratio * x with coefficients that walk at random.

    In one bar the coefficients move by `drift / (1 - drift)` of what one bar's observation
    reveals about them: the state noise is that share of R (X'X / T)^-1, and R is the residual
    variance of least squares. So neither series' unit matters. The start is diffuse.

    Raises:
        UsageError: `drift` is not between 0 and 1.
    """
    if not 0.0 < drift < 1.0:
        raise UsageError(f"a drift of {drift} is not between 0 and 1")
    design = np.column_stack([np.ones_like(x), x - x.mean()])
    whole = least_squares(y, x)
    noise = float(y.var()) * (1.0 - whole.r_squared)
    unit = noise * np.linalg.inv(design.T @ design / len(y))
    state, covariance = np.zeros(2), 1e8 * unit
    states, variances = np.empty((len(y), 2)), np.empty(len(y))
    for t, row in enumerate(design):
        covariance = covariance + drift / (1.0 - drift) * unit
        gain = covariance @ row / (row @ covariance @ row + noise)
        state = state + gain * (y[t] - row @ state)
        # Joseph's form keeps the covariance positive from the diffuse start on.
        left = np.eye(2) - np.outer(gain, row)
        covariance = left @ covariance @ left.T + noise * np.outer(gain, gain)
        states[t], variances[t] = state, covariance[1, 1]
    intercept = states[:, 0] - states[:, 1] * x.mean()
    return Filtered(states[:, 1], intercept, np.sqrt(variances))
