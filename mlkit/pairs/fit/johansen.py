"""Johansen's test for the number of cointegrating relations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlkit.errors import UsageError
from mlkit.pairs.screen.cointegration import Matrix

Critical = tuple[float, float, float]


@dataclass(frozen=True)
class JohansenTest:
    """The statistics for the hypothesis of at most `rank` cointegrating relations.

    Attributes:
        rank: The hypothesis.
        eigenvalue: The next one.
        trace: The trace statistic.
        trace_critical: Its critical values at 10, 5 and 1 % (MacKinnon, Haug and Michelis
            1999); None with a restricted constant.
        maximum: The maximum eigenvalue statistic.
        maximum_critical: Its critical values, likewise.
    """

    rank: int
    eigenvalue: float
    trace: float
    trace_critical: Critical | None
    maximum: float
    maximum_critical: Critical | None


def johansen(
    series: Matrix, lags: int = 1, *, restricted: bool = False, season: int | None = None
) -> tuple[JohansenTest, ...]:
    """Test for the number of cointegrating relations (Johansen 1991).

    Args:
        series: Levels, shape (length, n).
        lags: Lagged changes in the regression.
        restricted: Keep the constant inside the relations, which says that the series do not
            drift; by default it stands outside.
        season: Add centred dummies of a season of so many bars.

    Returns:
        The tests for rank 0 .. n - 1.

    Raises:
        UsageError: The series are too short for the lags.
    """
    length, count = series.shape
    if length <= (lags + 2) * count + lags + 2 + (season or 0):
        raise UsageError(f"{length} bars are too few for Johansen's test with {lags} lags")
    eigenvalues = _eigenvalues(series, lags, restricted, season)[:count]
    logs = -(length - lags - 1) * np.log1p(-eigenvalues)
    return tuple(
        JohansenTest(
            rank=rank,
            eigenvalue=float(eigenvalues[rank]),
            trace=float(logs[rank:].sum()),
            trace_critical=None if restricted else _critical("trace", count - rank),
            maximum=float(logs[rank]),
            maximum_critical=None if restricted else _critical("maximum", count - rank),
        )
        for rank in range(count)
    )


def _eigenvalues(series: Matrix, lags: int, restricted: bool, season: int | None) -> Matrix:
    """Give the squared canonical correlations of changes and levels, largest first."""
    changes = np.diff(series, axis=0)
    rows = len(changes) - lags
    levels = series[lags:-1]
    others = [changes[lags - lag : len(changes) - lag] for lag in range(1, lags + 1)]
    constant = np.ones((rows, 1))
    if restricted:
        levels = np.hstack([levels, constant])
    else:
        others.append(constant)
    if season is not None:
        place = np.arange(rows)[:, None] % season == np.arange(season - 1)
        others.append(place - 1.0 / season)
    from_others = np.hstack(others) if others else np.zeros((rows, 0))
    bases = [np.linalg.qr(_residuals(each, from_others))[0] for each in (changes[lags:], levels)]
    return np.asarray(np.linalg.svd(bases[0].T @ bases[1], compute_uv=False) ** 2)


def _residuals(of: Matrix, on: Matrix) -> Matrix:
    if on.shape[1] == 0:
        return of
    basis, _ = np.linalg.qr(on)
    return np.asarray(of - basis @ (basis.T @ of))


def _critical(statistic: str, relations: int) -> Critical | None:
    from statsmodels.tsa.coint_tables import c_sja, c_sjt

    if relations > 12:
        return None
    values = (c_sjt if statistic == "trace" else c_sja)(relations, 0)
    first, second, third = (float(each) for each in values)
    return first, second, third
