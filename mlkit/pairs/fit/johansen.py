"""Johansen's test for the number of cointegrating relations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlkit.errors import UsageError
from mlkit.pairs.screen.cointegration import TREND_ORDER, Matrix, Trend
from mlkit.pairs.settings import TREND

Critical = tuple[float, float, float]


@dataclass(frozen=True)
class JohansenTest:
    """The statistics for the hypothesis of at most `rank` cointegrating relations.

    Attributes:
        rank: The hypothesis.
        eigenvalue: The next one.
        trace: The trace statistic.
        trace_critical: Its critical values at 10, 5 and 1 % (MacKinnon, Haug and Michelis
            1999); None where they are not tabulated.
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
    series: Matrix,
    lags: int = 1,
    *,
    trend: Trend = TREND,
    restricted: bool = False,
    season: int | None = None,
) -> tuple[JohansenTest, ...]:
    """Test for the number of cointegrating relations (Johansen 1991).

    Args:
        series: Levels, shape (length, n).
        lags: Lagged changes in the regression.
        trend: Deterministic terms outside the relations: nothing, a constant, and powers of time
            that are taken out of the levels first, as in statsmodels' `coint_johansen`.
        restricted: Keep the constant inside the relations, which means that the series do not
            drift; by default it is outside.
        season: Length of a season in bars, for which centred dummies are added.

    Returns:
        The tests for rank 0 .. n - 1.

    Raises:
        UsageError: The series are too short for the lags, or a constant is restricted beside
            another trend.
    """
    if restricted and trend != "c":
        raise UsageError(
            f"a restricted constant has no trend '{trend}' beside it", hint="drop one of them"
        )
    length, count = series.shape
    if length <= (lags + 2) * count + lags + 2 + (season or 0):
        raise UsageError(f"{length} bars are too few for Johansen's test with {lags} lags")
    order = TREND_ORDER[trend]
    levels = _without_trend(series, order) if order > 1 else series
    eigenvalues = _eigenvalues(levels, lags, _constant(order, restricted), season)[:count]
    logs = -(length - lags - 1) * np.log1p(-eigenvalues)
    return tuple(
        JohansenTest(
            rank=rank,
            eigenvalue=float(eigenvalues[rank]),
            trace=float(logs[rank:].sum()),
            trace_critical=_critical("trace", count - rank, order, restricted),
            maximum=float(logs[rank]),
            maximum_critical=_critical("maximum", count - rank, order, restricted),
        )
        for rank in range(count)
    )


def _constant(order: int, restricted: bool) -> str:
    return "restricted" if restricted else "outside" if order else "none"


def _without_trend(series: Matrix, order: int) -> Matrix:
    """Take powers of time, the zeroth included, out of each series."""
    powers = np.vander(np.linspace(-1.0, 1.0, len(series)), order)
    return np.asarray(series - powers @ np.linalg.lstsq(powers, series, rcond=None)[0])


def _eigenvalues(series: Matrix, lags: int, constant_is: str, season: int | None) -> Matrix:
    """Return the squared canonical correlations of changes and levels, largest first."""
    changes = np.diff(series, axis=0)
    rows = len(changes) - lags
    levels = series[lags:-1]
    others = [changes[lags - lag : len(changes) - lag] for lag in range(1, lags + 1)]
    constant = np.ones((rows, 1))
    if constant_is == "restricted":
        levels = np.hstack([levels, constant])
    elif constant_is == "outside":
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


# A constant within the relations, for 1 and 2 unit roots: 10, 5 and 1 %, by the response surfaces
# of MacKinnon, Haug and Michelis (1999), table II (case 1*).
_RESTRICTED: dict[tuple[str, int], Critical] = {
    ("trace", 1): (7.56, 9.16, 12.76),
    ("trace", 2): (17.98, 20.26, 25.08),
    ("maximum", 1): (7.56, 9.16, 12.76),
    ("maximum", 2): (13.91, 15.89, 20.16),
}


def _critical(statistic: str, relations: int, order: int, restricted: bool) -> Critical | None:
    from statsmodels.tsa.coint_tables import c_sja, c_sjt

    if restricted:
        return _RESTRICTED.get((statistic, relations))
    if relations > 12 or order > 2:
        return None
    values = (c_sjt if statistic == "trace" else c_sja)(relations, order - 1)
    first, second, third = (float(each) for each in values)
    return first, second, third
