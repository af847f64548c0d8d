"""Pair-trading kernels."""

import collections.abc

import numpy as np
import numpy.typing as npt

def engle_granger(
    series: npt.NDArray[np.float64],
    cross: npt.NDArray[np.float64],
    *,
    lags: int,
    choose: bool,
    threads: int = 1,
    progress: collections.abc.Callable[[int, int], None] | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intc]]:
    """Compute the Engle-Granger statistics of all pairs of series, in both directions.

    Args:
        series: Detrended series, shape (n, length).
        cross: Their inner products, shape (n, n).
        lags: Lagged changes in the regression of the residuals.
        choose: Take as many of them as Akaike's criterion prefers.
        threads: Threads to use.
        progress: Called now and then with the pairs done and in all.

    Returns:
        The statistics and the lags, shape (n, n); [i, j] regresses series i on series j.

    Raises:
        ValueError: A shape is wrong, a value is not finite (the first is named), or the
            series are too short.
    """
