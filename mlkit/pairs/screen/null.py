"""What the screen's statistics look like on prices that have nothing to do with one another.

The screen takes the better of a pair's two Engle-Granger statistics, with lags chosen by
Akaike's criterion, on a few hundred bars. The published distributions are those of one
direction on an endless series: on random walks of 252 bars one direction falls below
p = 1e-5 more than five times too often, and false discovery control by such p-values fails.
So the distribution is simulated for the very statistic, length and trend: directly down to
p = 1e-3, by multilevel splitting (`splitting`) down to 1e-9. The same holds for the unit-root
test of a single ticker.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlkit.pairs.screen.cointegration import Matrix, Panel, Trend, engle_granger
from mlkit.pairs.screen.splitting import SHARE, Tail, merge, pair_statistic, split
from mlkit.pairs.settings import TREND
from mlkit.progress import Progress, silent

JOINT = 1e-3
"""Above this probability the tables rest on direct simulation, below it on splitting."""

LEAST = 1e-9
"""The smallest tabulated probability."""

PROBABILITIES: NDArray[np.float64] = np.concatenate(
    [np.geomspace(LEAST, JOINT, 31), np.geomspace(JOINT, 0.1, 21)[1:], np.linspace(0.12, 0.98, 44)]
)
TABLES = Path(__file__).with_name("null_tables.json")

_AT_JOINT = 30
# The tail beyond the table falls by as much as it does between these two of its columns.
_TAIL = slice(0, 6, 5)
_WALKS = 64


@dataclass(frozen=True, eq=False)
class Null:
    """The distribution of a statistic under independent random walks.

    Attributes:
        quantiles: Rising, one for each of `PROBABILITIES`.
        error: Standard deviation of log p at the far end of the table, from the simulation.
        pairs: The directly simulated pairs behind it; 0 where it is interpolated.
    """

    quantiles: Matrix
    error: float = 0.0
    pairs: int = 0

    def p_value(self, statistic: Matrix) -> Matrix:
        """Return the probability of a statistic as low as this.

        Between the quantiles log p is linear in the statistic, and so it is below the first, as
        steep as over the last factor of 10: the true tail falls ever faster, so p is too large
        there and never too small. NaN gives 1.
        """
        log_p = np.log(PROBABILITIES)
        p = np.exp(np.interp(statistic, self.quantiles, log_p, right=0.0))
        ends = self.quantiles[_TAIL]
        slope = np.diff(log_p[_TAIL]) / np.diff(ends)
        below = np.minimum(np.nan_to_num(statistic) - ends[0], 0.0)
        p = np.where(below < 0.0, np.exp(log_p[0] + slope * below), p)
        return np.where(np.isnan(statistic), 1.0, p)

    def statistic(self, p: Matrix) -> Matrix:
        """Return the statistic below which a probability p lies, the inverse of `p_value`."""
        ends = self.quantiles[_TAIL]
        log_p = np.log(PROBABILITIES)
        slope = np.diff(ends) / np.diff(log_p[_TAIL])
        inside = np.interp(np.log(p), log_p, self.quantiles)
        beyond = ends[0] + slope * (np.log(p) - log_p[0])
        return np.asarray(np.where(p < PROBABILITIES[0], beyond, inside))


def null_of(
    length: int,
    *,
    trend: Trend = TREND,
    lags: int | None = None,
    most_lags: int | None = None,
    width: int = 2,
) -> Null:
    """Return the null distribution for a length, a trend and a choice of lags.

    Shipped tables serve Akaike's choice among the default number of lags, interpolated in
    1 / length; above the longest one that one is taken. For any other choice of lags 100,000
    pairs are simulated, and a tail, from a fixed seed; each quantile is then moved outwards by
    one standard error, so that the error of a short simulation makes p larger.

    Args:
        length: Bars.
        trend: What the test removes.
        lags: Lagged changes; None lets Akaike's criterion choose.
        most_lags: The most that it may choose.
        width: 2 for pairs, 1 for the unit-root test of one series.
    """
    if lags is None and most_lags is None:
        return _read_table(length, trend, width)
    found = simulate(
        length, 100_000, trend=trend, lags=lags, most_lags=most_lags, width=width,
        particles=400, seed=length,
    )  # fmt: skip
    return _cautious(found)


def _cautious(null: Null) -> Null:
    """Move the tail outwards by one standard error of its simulation."""
    distance = np.log(JOINT / PROBABILITIES[:_AT_JOINT])
    raised = np.log(PROBABILITIES[:_AT_JOINT]) - null.error * distance / distance[0]
    quantiles = null.quantiles.copy()
    quantiles[:_AT_JOINT] = null.statistic(np.exp(raised))
    return Null(quantiles, null.error, null.pairs)


@cache
def _tables() -> dict[str, Any]:
    tables: dict[str, Any] = json.loads(TABLES.read_text(encoding="utf-8"))
    return tables


def _read_table(length: int, trend: Trend, width: int) -> Null:
    table = _tables()["pair" if width == 2 else "single"][trend]
    lengths = np.array([int(each) for each in table])
    quantiles = np.array([each["quantiles"] for each in table.values()])
    errors = [each["error"] for each in table.values()]
    above = min(int(np.searchsorted(lengths, length)), len(lengths) - 1)
    below = max(above - 1, 0)
    if length >= lengths[-1] or above == below:
        return Null(quantiles[above], errors[above])
    ends = 1.0 / lengths[[below, above]]
    weight = (1.0 / length - ends[1]) / (ends[0] - ends[1])
    mixed = weight * quantiles[below] + (1.0 - weight) * quantiles[above]
    return Null(mixed, max(errors[below], errors[above]))


def simulate(
    length: int,
    pairs: int,
    *,
    trend: Trend = TREND,
    lags: int | None = None,
    most_lags: int | None = None,
    width: int = 2,
    particles: int = 0,
    populations: int = 1,
    seed: int = 0,
    threads: int = 1,
    progress: Progress = silent,
) -> Null:
    """Simulate the null distribution on independent Gaussian random walks.

    Every pair within sets of 64 walks is used, as a screen uses them. The tail below p = 1e-3
    comes from splitting, joined to the direct simulation there.

    Args:
        length: Bars.
        pairs: Pairs (or single series) to simulate directly, at least.
        trend: What the test removes.
        lags: Lagged changes; None lets Akaike's criterion choose.
        most_lags: The most that it may choose.
        width: 2 for pairs, 1 for single series.
        particles: The population of the splitting; 0 takes 1,000.
        populations: How many are split, independently, and averaged.
        seed: Of the random numbers.
        threads: Threads to use; the result does not depend on them.
        progress: Called with the sets done and in all.
    """
    each = _WALKS * (_WALKS - 1) // 2 if width == 2 else _WALKS
    sets = -(-pairs // each)
    found = np.empty((sets, each))
    for number in range(sets):
        steps = np.random.default_rng([seed, number]).standard_normal((length, _WALKS))
        walks = steps.cumsum(axis=0)
        if width == 2:
            result = engle_granger(
                walks, trend=trend, lags=lags, most_lags=most_lags, threads=threads
            )
            found[number] = better(result.statistic)[np.triu_indices(_WALKS, 1)]
        else:
            found[number] = Panel.of(walks, trend, lags, most_lags).unit_roots(threads)
        progress(number + 1, sets)
    test = pair_statistic(trend, lags, most_lags, width)
    # Populations end at different statistics: one level more lets all of them reach LEAST.
    least = LEAST if populations == 1 else LEAST * SHARE
    tails = [
        split(test, length, width, least=least, particles=particles or 1000, seed=seed + each)
        for each in range(populations)
    ]
    return _join(found, merge(tails))


def _join(found: Matrix, tail: Tail) -> Null:
    """Join direct simulation, shape (sets, pairs of a set), and a tail."""
    joint = float(np.quantile(found, JOINT))
    above = np.quantile(found, PROBABILITIES[_AT_JOINT:])
    below = joint + _gaps(tail, joint)
    # Sets are independent of one another, their pairs are not.
    shares = (found <= joint).mean(axis=1)
    direct = shares.std() / np.sqrt(len(shares)) / JOINT
    error = float(np.hypot(direct, tail.deviation[-1]))
    return Null(np.concatenate([below, above]), error, found.size)


def _gaps(tail: Tail, joint: float) -> Matrix:
    """Return how far below the joint the tail's quantiles lie.

    A parabola through the joint smooths the levels where log p is concave; on the shortest
    series it is not, and the levels themselves are taken.
    """
    beyond = tail.statistic < joint
    gap = tail.statistic[beyond] - joint
    log_p = tail.log_p[beyond] - np.interp(-joint, -tail.statistic, tail.log_p)
    design = np.stack([gap, gap * gap], axis=1) / tail.deviation[beyond, None]
    (a, b), *_ = np.linalg.lstsq(design, log_p / tail.deviation[beyond], rcond=None)
    wanted = np.log(PROBABILITIES[:_AT_JOINT] / JOINT)
    if b < 0.0:
        grid = np.linspace(1.15 * gap[-1], 0.0, 2000)
        return np.asarray(np.interp(wanted, a * grid + b * grid**2, grid))
    inside = np.interp(wanted, np.append(log_p[::-1], 0.0), np.append(gap[::-1], 0.0))
    steep = (gap[-1] - gap[-3]) / (log_p[-1] - log_p[-3])
    return np.asarray(np.where(wanted < log_p[-1], gap[-1] + steep * (wanted - log_p[-1]), inside))


def better(statistic: Matrix) -> Matrix:
    """Take the lower statistic of each pair's two directions."""
    return np.fmin(statistic, statistic.T)
