"""Pair-trading kernels."""

import collections.abc

import numpy as np
import numpy.typing as npt

_Statistics = tuple[npt.NDArray[np.float64], npt.NDArray[np.intc], npt.NDArray[np.float64]]
_Numbers = npt.NDArray[np.integer]
_Progress = collections.abc.Callable[[int, int], None]

class Panel:
    """Detrended series, shape (n, length), whose pairs are tested in portions."""

    def __init__(self, series: npt.NDArray[np.float64]) -> None: ...
    @property
    def squares(self) -> npt.NDArray[np.float64]:
        """Sums of squares, shape (n,)."""

    def band(
        self,
        first: _Numbers,
        begin: int,
        end: int,
        *,
        lags: int,
        choose: bool,
        threads: int = 1,
        progress: _Progress | None = None,
    ) -> _Statistics:
        """Test the pairs (i, j), first[j] <= i < j, of columns j from begin to end - 1.

        Returns:
            Column by column: Engle-Granger statistics of i on j and of j on i, shape
            (pairs, 2), the lags likewise, and inner products, shape (pairs,).

        Raises:
            ValueError: A number is out of range, or the series are too short.
        """

    def pairs(
        self,
        first: _Numbers,
        second: _Numbers,
        *,
        lags: int,
        choose: bool,
        threads: int = 1,
        progress: _Progress | None = None,
    ) -> _Statistics:
        """Test the pairs that two arrays of numbers list; returns what `band` does."""

    def alone(self, *, lags: int, choose: bool, threads: int = 1) -> _Statistics:
        """Test each series for a unit root; returns what `band` does, both ways alike."""

    def distances(
        self,
        first: _Numbers,
        begin: int,
        end: int,
        *,
        threads: int = 1,
        progress: _Progress | None = None,
    ) -> npt.NDArray[np.float64]:
        """Sum the squared differences of the pairs of a band, shape (pairs,)."""
