"""Recent rates of arms against old ones, from logs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlkit.bandit.logs.log import Log
from mlkit.bandit.logs.rewards import read_all, wait_for_rewards
from mlkit.bandit.posteriors.drift import Moments, adjust, p_values
from mlkit.errors import BadData
from mlkit.progress import Progress, silent


class Drift(NamedTuple):
    """How the rate of an arm has changed.

    Attributes:
        arm: Its id.
        old_pulls: Rewards before.
        old_mean: Their mean; None: there are none.
        recent_pulls: Recent rewards.
        recent_mean: Their mean; None: there are none.
        p: The p-value of no change; None: there is nothing to compare.
        q: It, adjusted for the number of arms that are compared.
    """

    arm: str
    old_pulls: int
    old_mean: float | None
    recent_pulls: int
    recent_mean: float | None
    p: float | None
    q: float | None


class Drifts(NamedTuple):
    """The arms of logs, those whose rate most surely changed first.

    Attributes:
        since: When the recent period begins, in seconds since 1970.
        until: When it ends.
        arms: The arms.
    """

    since: float
    until: float
    arms: list[Drift]

    def only(self, known: Iterable[str]) -> Drifts:
        """Return those of some arms, whose p-values are adjusted for the number of these."""
        names = set(known)
        kept = [each for each in self.arms if each.arm in names]
        q = adjust(np.array([np.nan if each.p is None else each.p for each in kept]))
        arms = [each._replace(q=_or_none(value)) for each, value in zip(kept, q, strict=True)]
        return self._replace(arms=arms)


def read_drifts(
    logs: Callable[[], Sequence[Log]],
    recent: float,
    *,
    as_of: float | None = None,
    attribution: float | None = None,
    progress: Progress = silent,
) -> Drifts:
    """Compare the recent rate of each arm with the one before.

    Args:
        logs: Returns the logs with their times, to be read; they are read twice.
        recent: Seconds that are recent.
        as_of: When that ends, in seconds since 1970; None: with the newest reward. What is later
            is left out.
        attribution: Seconds in which a reward must come; None: only rewards count.
        progress: Reports the bytes read.

    Raises:
        InputMissing: A log cannot be read.
        UsageError: A log has no times.
        BadData: A log is damaged, or nothing in it is old.
    """
    until = _newest(logs()) if as_of is None else as_of
    opened, since = logs(), until - recent
    wait_for_rewards(opened, attribution, until)
    sums: defaultdict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros((2, 3)))
    for _, batch in read_all(opened, progress):
        _add(sums, batch.filter(pc.less_equal(batch["time"], until)), since)
    names = sorted(sums)
    table = np.array([sums[name] for name in names])
    if not len(names) or not (table[:, 0, 0] > 0).any():
        hint = "--recent DURATION sets the length of the recent period"
        raise BadData("the logs have no rewards before the recent ones", hint=hint)
    return Drifts(since, until, _compare(names, table))


def _newest(logs: Sequence[Log]) -> float:
    times = (pc.max(batch["time"]).as_py() for _, batch in read_all(logs, silent))
    return max((time for time in times if time is not None), default=0.0)


def _add(sums: defaultdict[str, NDArray[np.float64]], batch: pa.RecordBatch, since: float) -> None:
    reward, sign = batch["reward"], batch["sign"].cast(pa.float64())
    table = pa.table(
        {
            "arm": batch["arm"],
            "recent": pc.greater(batch["time"], since),
            "pulls": sign,
            "sums": pc.multiply(sign, reward),
            "squares": pc.multiply(sign, pc.multiply(reward, reward)),
        }
    )
    columns = ("pulls", "sums", "squares")
    grouped = table.group_by(["arm", "recent"]).aggregate([(name, "sum") for name in columns])
    for row in grouped.to_pylist():
        sums[row["arm"]][int(row["recent"])] += [row[f"{name}_sum"] for name in columns]


def _compare(names: Sequence[str], table: NDArray[np.float64]) -> list[Drift]:
    old, recent = Moments(*table[:, 0].T), Moments(*table[:, 1].T)
    p = p_values(old, recent)
    columns = [old.pulls, old.means, recent.pulls, recent.means, p, adjust(p)]
    rows = zip(names, *(map(_or_none, column) for column in columns), strict=True)
    found = [
        Drift(arm, int(before or 0), old_mean, int(after or 0), mean, *tests)
        for arm, before, old_mean, after, mean, *tests in rows
    ]
    return sorted(found, key=lambda each: (2.0 if each.p is None else each.p, each.arm))


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
