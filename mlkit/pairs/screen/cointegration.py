"""The Engle-Granger test of cointegration, for all pairs of a panel at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData
from mlkit.pairs import _pair_kernels, settings
from mlkit.pairs.settings import TREND
from mlkit.progress import Progress, silent

Matrix = NDArray[np.float64]
Numbers = NDArray[np.int64]
Report = Callable[[int, int], None]
Trend = Literal["n", settings.Trend]

# How many powers of time, from the zeroth on, a trend holds.
TREND_ORDER: dict[str, int] = {"n": 0, "c": 1, "ct": 2, "ctt": 3}

MINIMUM_LENGTH = 30

# Below this 1 - R^2 the residual is rounding.
VANISHING = 16.0 * float(np.finfo(float).eps)


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


@dataclass(frozen=True, eq=False)
class Panel:
    """Detrended series whose pairs are tested in portions, so that nothing of size n^2 is held.

    Attributes:
        native: The kernels' copy of the series.
        squares: Sums of squares of the detrended and scaled series, shape (n,).
        scale: What restores each series' units, shape (n,).
        options: The kernels' choice of lags.
    """

    native: _pair_kernels.Panel
    squares: Matrix
    scale: Matrix
    options: dict[str, Any]

    @classmethod
    def of(
        cls,
        series: Matrix,
        trend: Trend = TREND,
        lags: int | None = None,
        most_lags: int | None = None,
    ) -> Panel:
        """Prepare series; the arguments and errors are those of `engle_granger`."""
        options = _options(len(series), lags, most_lags)
        residuals, scale = _detrend(series, trend)
        native = _pair_kernels.Panel(residuals)
        return cls(native, native.squares, scale, options)

    def all_pairs(self) -> Numbers:
        """Return the first partner of each column, so that the band holds every pair."""
        return np.zeros(len(self.scale), dtype=np.int64)

    def band(
        self, first: Numbers, begin: int, end: int, threads: int = 1, progress: Report = silent
    ) -> PairTests:
        """Test the pairs (i, j), first[j] <= i < j, of the columns j from begin to end - 1."""
        found = self.native.band(
            first, begin, end, threads=threads, progress=progress, **self.options
        )
        i, j = band_pairs(first, begin, end)
        return self._tests(i, j, *found)

    def pairs(
        self, first: Numbers, second: Numbers, threads: int = 1, progress: Report = silent
    ) -> PairTests:
        """Test the pairs that two arrays of positions list, each of shape (pairs,)."""
        found = self.native.pairs(first, second, threads=threads, progress=progress, **self.options)
        return self._tests(first, second, *found)

    def unit_roots(self, threads: int = 1) -> Matrix:
        """Return each detrended series' own Dickey-Fuller statistic, shape (n,)."""
        t, _, _ = self.native.alone(threads=threads, **self.options)
        return np.asarray(np.where(self.squares > 0.0, t[:, 0], np.nan))

    def _tests(
        self, i: Numbers, j: Numbers, t: Matrix, lags: NDArray[np.intc], cross: Matrix
    ) -> PairTests:
        squares = np.stack([self.squares[j], self.squares[i]], axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = cross[:, None] / squares
            closeness = 1.0 - slope[:, 0] * slope[:, 1]
        t[~(closeness > VANISHING)] = np.nan
        ratio = self.scale[i] / self.scale[j]
        slope[:, 0] *= ratio
        slope[:, 1] /= ratio
        return PairTests(i, j, t, lags, slope, closeness)


@dataclass(frozen=True, eq=False)
class PairTests:
    """Engle-Granger statistics of some pairs, both ways.

    Attributes:
        i: Positions of the first series, shape (pairs,).
        j: Positions of the second ones.
        statistic: t statistics of i on j and of j on i, shape (pairs, 2); NaN where the
            residual vanishes.
        lags: The lagged changes in step two, likewise.
        hedge_ratio: Step one's slopes, likewise, in the units of the series.
        closeness: 1 - R^2 of step one against the detrended series, shape (pairs,).
    """

    i: Numbers
    j: Numbers
    statistic: Matrix
    lags: NDArray[np.intc]
    hedge_ratio: Matrix
    closeness: Matrix

    @property
    def better(self) -> Matrix:
        """The lower statistic of both ways, shape (pairs,); NaN where there is none."""
        return np.asarray(np.fmin(self.statistic[:, 0], self.statistic[:, 1]))


def band_pairs(first: Numbers, begin: int, end: int) -> tuple[Numbers, Numbers]:
    """List the pairs (i, j), first[j] <= i < j, of some columns j, in the kernels' order."""
    columns = np.arange(begin, end)
    sizes = columns - first[begin:end]
    j = np.repeat(columns, sizes)
    starts = np.cumsum(sizes) - sizes
    i = np.arange(len(j)) - np.repeat(starts - first[begin:end], sizes)
    return i, j


def engle_granger(
    series: Matrix,
    *,
    trend: Trend = TREND,
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
        progress: Called with the pairs done and in all, at least once.

    Returns:
        Statistics that agree with statsmodels' (Engle and Granger 1987).

    Raises:
        BadData: The series are too short for the lags.
    """
    panel = Panel.of(series, trend, lags, most_lags)
    count = series.shape[1]
    found = panel.band(panel.all_pairs(), 0, count, threads, progress)
    statistic, slope = np.full((2, count, count), np.nan)
    closeness = np.zeros((count, count))
    chosen = np.zeros((count, count), dtype=np.intc)
    for way, (a, b) in enumerate(((found.i, found.j), (found.j, found.i))):
        statistic[a, b], chosen[a, b] = found.statistic[:, way], found.lags[:, way]
        slope[a, b], closeness[a, b] = found.hedge_ratio[:, way], found.closeness
    np.fill_diagonal(slope, 1.0)
    return EngleGranger(statistic, chosen, slope, closeness)


def _options(length: int, lags: int | None, most_lags: int | None) -> dict[str, Any]:
    most = lags if lags is not None else schwert(length) if most_lags is None else most_lags
    if length < max(MINIMUM_LENGTH, 2 * most + 3 + (lags is None)):
        needed = max(MINIMUM_LENGTH, 2 * most + 4)
        raise BadData(f"{length} bars are too few for a test with {most} lags: {needed} needed")
    return {"lags": most, "choose": lags is None}


def schwert(length: int) -> int:
    """Return the most lags that Akaike's criterion may choose (Schwert 1989, as statsmodels)."""
    return int(min(math.ceil(12.0 * (length / 100.0) ** 0.25), length // 2 - 1))


def _detrend(series: Matrix, trend: Trend) -> tuple[Matrix, Matrix]:
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
    """Return orthonormal polynomials of time, shape (order, length)."""
    time = np.linspace(-1.0, 1.0, length)
    orthonormal, _ = np.linalg.qr(np.vander(time, order, increasing=True))
    return np.ascontiguousarray(orthonormal.T)
