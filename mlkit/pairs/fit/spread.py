"""Spreads of pairs, and how fast they come back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlkit.pairs.screen.cointegration import Matrix

HURST_LAGS = np.arange(2, 21)


def spread(y: Matrix, x: Matrix, hedge_ratio: float | Matrix) -> Matrix:
    """Return y - hedge ratio * x; columns are pairs if there are several."""
    return y - hedge_ratio * x


def half_life(spreads: Matrix) -> NDArray[np.float64]:
    """Estimate in how many bars a spread halves its distance from its mean.

    By least squares of the change on the level, ds = a + b s + e: -ln 2 / ln(1 + b).

    Args:
        spreads: Shape (length, pairs).

    Returns:
        Shape (pairs,); inf where the spread does not come back, 0 where it overshoots in a
        single bar (b <= -1).
    """
    level = spreads[:-1] - spreads[:-1].mean(axis=0)
    slope = (level * np.diff(spreads, axis=0)).sum(axis=0) / (level * level).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        bars = -np.log(2.0) / np.log1p(slope)
    bars = np.where(slope >= 0.0, np.inf, bars)
    return np.asarray(np.where(slope <= -1.0, 0.0, bars))


def hurst(spreads: Matrix) -> NDArray[np.float64]:
    """Estimate Hurst exponents: below 0.5 reverts, 0.5 is a random walk, above it trends.

    The slope of the log standard deviation of differences over 2 to 20 bars against the log
    of their lag.

    Args:
        spreads: Shape (length, pairs), with more than 21 bars.
    """
    deviation = [(spreads[lag:] - spreads[:-lag]).std(axis=0) for lag in HURST_LAGS]
    lag = np.log(HURST_LAGS) - np.log(HURST_LAGS).mean()
    return np.asarray(lag @ np.log(deviation) / (lag @ lag))
