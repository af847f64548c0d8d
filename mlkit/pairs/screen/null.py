"""What the screen's statistic looks like on prices that have nothing to do with one another.

The screen takes the better of a pair's two Engle-Granger statistics, with lags chosen by
Akaike's criterion, on a few hundred bars. The published distributions are those of one
direction on an endless series: on random walks of 252 bars one direction falls below
p = 1e-5 more than five times too often, and false discovery control by such p-values fails.
So the distribution is simulated for the very statistic, length and trend.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlkit.pairs.screen.cointegration import Matrix, Trend, engle_granger
from mlkit.progress import Progress, silent

PROBABILITIES: NDArray[np.float64] = np.concatenate(
    [np.geomspace(1e-5, 0.1, 41), np.linspace(0.12, 0.98, 44)]
)
TABLES = Path(__file__).with_name("null_tables.json")

# The tail beyond the table falls by as much as it does between these two of its columns.
_TAIL = slice(0, 11, 10)


@dataclass(frozen=True, eq=False)
class Null:
    """The distribution of the better of two statistics under independent random walks.

    Attributes:
        quantiles: Rising, one for each of `PROBABILITIES`.
        pairs: The simulated pairs behind them; 0 where they are interpolated.
    """

    quantiles: Matrix
    pairs: int = 0

    def p_value(self, statistic: Matrix) -> Matrix:
        """Give the probability of a statistic as low as this.

        Between the quantiles log p is linear in the statistic. Below the first it is linear in
        the statistic's logarithm, as if the tail were a power: the true tail falls ever
        faster, so p is too large there and never too small. NaN gives 1.
        """
        log_p = np.log(PROBABILITIES)
        p = np.exp(np.interp(statistic, self.quantiles, log_p, right=0.0))
        ends = self.quantiles[_TAIL]
        slope = np.diff(log_p[_TAIL]) / np.diff(np.log(-ends))
        with np.errstate(divide="ignore", invalid="ignore"):
            tail = np.exp(log_p[0] + slope * (np.log(-statistic) - np.log(-ends[0])))
        p = np.where(statistic < ends[0], tail, p)
        return np.where(np.isnan(statistic), 1.0, p)


def null_of(
    length: int, *, trend: Trend = "c", lags: int | None = None, most_lags: int | None = None
) -> Null:
    """Give the null distribution for a length, a trend and a choice of lags.

    Shipped tables serve Akaike's choice among the default number of lags, interpolated in
    1 / length; above the longest one that one is taken. For any other choice of lags 100,000
    pairs are simulated, from a fixed seed.
    """
    if lags is None and most_lags is None:
        return _tabulated(length, trend)
    return simulate(length, 100_000, trend=trend, lags=lags, most_lags=most_lags, seed=length)


@cache
def _tables() -> dict[str, Any]:
    tables: dict[str, Any] = json.loads(TABLES.read_text(encoding="utf-8"))
    return tables


def _tabulated(length: int, trend: Trend) -> Null:
    table = _tables()[trend]
    lengths = np.array([int(each) for each in table])
    quantiles = np.array([each["quantiles"] for each in table.values()])
    above = min(int(np.searchsorted(lengths, length)), len(lengths) - 1)
    below = max(above - 1, 0)
    if length >= lengths[-1] or above == below:
        return Null(quantiles[above])
    ends = 1.0 / lengths[[below, above]]
    weight = (1.0 / length - ends[1]) / (ends[0] - ends[1])
    return Null(weight * quantiles[below] + (1.0 - weight) * quantiles[above])


def simulate(
    length: int,
    pairs: int,
    *,
    trend: Trend = "c",
    lags: int | None = None,
    most_lags: int | None = None,
    seed: int = 0,
    threads: int = 1,
    progress: Progress = silent,
) -> Null:
    """Simulate the null distribution on independent Gaussian random walks.

    Every pair within sets of 64 walks is used; a quantile is the order statistic one standard
    error further out than its rank, so that the error of the simulation makes p larger.
    """
    walks = 64
    each = walks * (walks - 1) // 2
    sets = -(-pairs // each)
    found = np.empty((sets, each))
    for number in range(sets):
        steps = np.random.default_rng([seed, number]).standard_normal((length, walks))
        result = engle_granger(
            steps.cumsum(axis=0), trend=trend, lags=lags, most_lags=most_lags, threads=threads
        )
        found[number] = better(result.statistic)[np.triu_indices(walks, 1)]
        progress(number + 1, sets)
    return Null(_quantiles(np.sort(found, axis=None)), found.size)


def _quantiles(ordered: Matrix) -> Matrix:
    expected = PROBABILITIES * len(ordered)
    rank = np.maximum(np.floor(expected - np.sqrt(expected)), 1.0).astype(np.intp)
    return ordered[rank - 1]


def better(statistic: Matrix) -> Matrix:
    """Take the lower statistic of each pair's two directions."""
    return np.fmin(statistic, statistic.T)
