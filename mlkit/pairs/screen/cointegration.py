"""The Engle-Granger test of cointegration, for all pairs of a panel at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData
from mlkit.pairs import _pair_kernels
from mlkit.progress import Progress, silent

Matrix = NDArray[np.float64]
Trend = Literal["n", "c", "ct", "ctt"]

# How many powers of time, from the zeroth on, a trend holds.
TREND_ORDER: dict[str, int] = {"n": 0, "c": 1, "ct": 2, "ctt": 3}

MINIMUM_LENGTH = 30


@dataclass(frozen=True, eq=False)
class EngleGranger:
    """Engle-Granger statistics of every ordered pair; [i, j] regresses i on j.

    Attributes:
        statistic: The t statistics, shape (n, n); NaN on the diagonal and where the residual
            vanishes.
        lags: The lagged changes in step two, shape (n, n).
        hedge_ratio: Step one's slopes, in the units of the series, shape (n, n).
        closeness: 1 - R^2 of step one against the detrended series, shape (n, n); the same
            in both directions.
    """

    statistic: Matrix
    lags: NDArray[np.intc]
    hedge_ratio: Matrix
    closeness: Matrix


def engle_granger(
    series: Matrix,
    *,
    trend: Trend = "c",
    lags: int | None = None,
    most_lags: int | None = None,
    threads: int = 1,
    progress: Progress = silent,
) -> EngleGranger:
    """Test all pairs of series for cointegration, in both directions.

    Args:
        series: Levels of n series, shape (length, n), finite.
        trend: What step one holds besides the other series: nothing, a constant, and powers
            of time, as in `statsmodels.tsa.stattools.coint`.
        lags: Lagged changes in step two; None lets Akaike's criterion choose.
        most_lags: The most that it may choose; None is Schwert's rule as statsmodels has it.
        threads: Threads to use; the result does not depend on them.
        progress: Told the pairs done and in all.

    Returns:
        Statistics that agree with statsmodels' (Engle and Granger 1987).

    Raises:
        BadData: The series are too short for the lags.
    """
    length = len(series)
    most = lags if lags is not None else schwert(length) if most_lags is None else most_lags
    if length < max(MINIMUM_LENGTH, 2 * most + 3 + (lags is None)):
        needed = max(MINIMUM_LENGTH, 2 * most + 4)
        raise BadData(f"{length} bars are too few for a test with {most} lags: {needed} needed")
    residuals, scale = _detrended(series, trend)
    cross = residuals @ residuals.T
    t, chosen = _pair_kernels.engle_granger(
        residuals, cross, lags=most, choose=lags is None, threads=threads, progress=progress
    )
    np.fill_diagonal(t, np.nan)
    square = np.diag(cross)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = cross / square
        closeness = 1.0 - slope * slope.T
        t[~(closeness > 0.0)] = np.nan
    return EngleGranger(t, chosen, slope * (scale[:, None] / scale), closeness)


def schwert(length: int) -> int:
    """Give the most lags that Akaike's criterion may choose (Schwert 1989, as statsmodels)."""
    return int(min(math.ceil(12.0 * (length / 100.0) ** 0.25), length // 2 - 1))


def _detrended(series: Matrix, trend: Trend) -> tuple[Matrix, Matrix]:
    """Project the trend out, and scale by powers of two, which rounds nothing.

    Returns:
        The residuals, shape (n, length), and the factor that restores each one's units.
    """
    order = TREND_ORDER[trend]
    rows = np.ascontiguousarray(series.T, dtype=np.float64)
    if order:
        rows = rows - rows[:, :1]  # exact for near levels: a large offset costs no digits
        basis = _time_basis(rows.shape[1], order)
        for _ in range(2):  # the second pass removes what rounding left
            rows = rows - (rows @ basis.T) @ basis
    _, exponent = np.frexp(np.abs(rows).max(axis=1))
    scale: Matrix = np.ldexp(1.0, exponent)
    return np.ascontiguousarray(rows / scale[:, None]), scale


def _time_basis(length: int, order: int) -> Matrix:
    """Give orthonormal polynomials of time, shape (order, length)."""
    time = np.linspace(-1.0, 1.0, length)
    orthonormal, _ = np.linalg.qr(np.vander(time, order, increasing=True))
    return np.ascontiguousarray(orthonormal.T)
