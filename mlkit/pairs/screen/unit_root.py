"""The augmented Dickey-Fuller test of a single series, with lags by Akaike's criterion."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]


def dickey_fuller(series: Series) -> tuple[float, int]:
    """Test a series for a unit root, in a regression with a constant.

    The statistic and the lags are those of `statsmodels.tsa.stattools.adfuller`. One QR
    decomposition of the longest regression gives the residuals of all shorter ones.

    Args:
        series: Shape (length,), not constant.

    Returns:
        The statistic, and the number of lagged changes. At most ceil(12 (length / 100)^(1/4))
        lags are tried (Schwert 1989), all of them on the same bars.
    """
    most = math.ceil(12.0 * (len(series) / 100.0) ** 0.25)
    most = min(len(series) // 2 - 2, most)
    design, change = _regression(series, most)
    count = len(change)
    orthogonal, _ = np.linalg.qr(design)
    explained = (orthogonal.T @ change) ** 2
    rest = change - orthogonal @ (orthogonal.T @ change)
    # Residual sums of squares with 0, 1, ... lags: what later columns explain comes on top.
    squares = float(rest @ rest) + np.append(np.cumsum(explained[::-1])[::-1][2:], 0.0)
    with np.errstate(divide="ignore"):
        criterion = count * np.log(squares) + 2.0 * np.arange(len(squares))
    lags = int(np.argmin(criterion))
    return _t_value(*_regression(series, lags)), lags


def _regression(series: Series, lags: int) -> tuple[Series, Series]:
    """Return the columns constant, level and lagged changes, and the change that they explain."""
    changes = np.diff(series)
    count = len(changes) - lags
    lagged = [changes[lags - lag : lags - lag + count] for lag in range(1, lags + 1)]
    level = series[lags:-1]
    return np.column_stack([np.ones(count), level, *lagged]), changes[lags:]


def _t_value(design: Series, change: Series) -> float:
    """Return the level's coefficient over its standard error."""
    # The level goes last: its coefficient and error then stand in the last row alone.
    order = [0, *range(2, design.shape[1]), 1]
    orthogonal, triangle = np.linalg.qr(design[:, order])
    projected = orthogonal.T @ change
    rest = change - orthogonal @ projected
    freedom = len(change) - design.shape[1]
    deviation = math.sqrt(float(rest @ rest) / freedom)
    return float(projected[-1] * math.copysign(1.0, triangle[-1, -1]) / deviation)
