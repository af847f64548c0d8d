"""P-values of cointegration statistics, and the control of false discoveries among many."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mlkit.pairs.screen.cointegration import Matrix, Trend
from mlkit.pairs.settings import FDR, TREND


class _Surface(NamedTuple):
    """MacKinnon's approximation: p = Phi(polynomial in the statistic), in two pieces."""

    least: float
    split: float
    most: float
    small: tuple[float, ...]
    large: tuple[float, ...]


# MacKinnon (1994), tables 3 and 4, for two series.
_SURFACES = {
    "n": _Surface(
        -19.62, -1.53, 1.51, (1.9129, 1.3857, 0.035322), (1.5578, 0.8558, -0.2083, -0.033549)
    ),
    "c": _Surface(
        -18.86, -2.62, 0.92, (2.92, 1.5012, 0.039796), (2.1945, 0.64695, -0.29198, -0.042377)
    ),
    "ct": _Surface(
        -21.15, -3.19, 0.63, (3.6646, 1.5419, 0.036448), (2.85, 0.5272, -0.36622, -0.051695)
    ),
    "ctt": _Surface(
        -21.1, -3.51, 0.79, (4.3534, 1.6016, 0.037947), (3.4713, 0.5967, -0.32507, -0.042286)
    ),
}


def _normal(z: Matrix) -> Matrix:
    """Return the normal distribution function of few values, without the cost of scipy.special."""
    values = [0.5 * math.erfc(-each / math.sqrt(2.0)) for each in np.ravel(z)]
    return np.reshape(values, np.shape(z))


def mackinnon(statistic: Matrix, trend: Trend = TREND) -> Matrix:
    """Return the asymptotic p-value of one direction's Engle-Granger statistic.

    The same as statsmodels' `mackinnonp` with N = 2 (MacKinnon 1994). NaN stays NaN.
    """
    surface = _SURFACES[trend]
    small = np.polynomial.polynomial.polyval(statistic, surface.small)
    large = np.polynomial.polynomial.polyval(statistic, surface.large)
    p = _normal(np.where(statistic <= surface.split, small, large))
    p = np.where(statistic > surface.most, 1.0, p)
    return np.asarray(np.where(statistic < surface.least, 0.0, p))


def adjust(p: Matrix, method: FDR, *, tests: int | None = None) -> Matrix:
    """Adjust p-values so that those at or below alpha hold false discoveries to alpha.

    Args:
        p: P-values, or weighted ones, of all tests that were made, or of the lowest, shape (n,).
        method: `bh` (Benjamini and Hochberg 1995), for tests that depend on one another
            positively; `by` (Benjamini and Yekutieli 2001), for any dependence; `none`.
        tests: The number of all tests; None if all are given. Those that are not given have
            larger p-values, and adjusted ones are right up to the largest that is given.

    Returns:
        Adjusted p-values, at most 1, in the order given.
    """
    tests = len(p) if tests is None else tests
    if method == "none" or len(p) == 0:
        return p
    rank = np.arange(1, len(p) + 1)
    factor = harmonic(tests) if method == "by" else 1.0
    order = np.argsort(p)
    raised = np.minimum(p[order] * factor * tests / rank, 1.0)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum.accumulate(raised[::-1])[::-1]
    return adjusted


def harmonic(count: int) -> float:
    """Return 1 + 1/2 + ... + 1/count."""
    return float(np.sum(1.0 / np.arange(1, count + 1)))
