"""From logs to posteriors."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlkit.bandit.logs.log import Columns, Log
from mlkit.bandit.logs.rewards import logs_of, read_all, wait_for_rewards
from mlkit.bandit.posteriors.forgetting import Forgetting
from mlkit.bandit.posteriors.posterior import SCHEMA, Header, Posteriors, shrunk, update
from mlkit.bandit.posteriors.tally import Sums, Tally
from mlkit.bandit.posteriors.window import HOUR, Buckets, Window
from mlkit.errors import UsageError
from mlkit.progress import Progress, silent
from mlkit.unpacking import STREAMED, UnpackLimits


def fit(
    logs: Sequence[Path],
    columns: Columns | None,
    header: Header,
    *,
    skip_bad_rows: bool = False,
    reward_scale: float = 1.0,
    excluded: Collection[str] = (),
    limits: UnpackLimits = STREAMED,
    half_life: float | None = None,
    window: int | None = None,
    as_of: float | None = None,
    attribution: float | None = None,
    progress: Progress = silent,
) -> Posteriors:
    """Fit one posterior an arm, and one a (context, arm) pair where rows have a context.

    An arm's posterior starts from the prior; that of a (context, arm) pair from the arm's
    mean over all logs, worth `header.shrinkage` pulls. Memory is bound by the number of pairs.

    Args:
        logs: CSV, Parquet or JSON Lines files; `-` is a CSV on standard input.
        columns: The columns of CSV and Parquet logs.
        header: The model's name, prior and shrinkage; its source is filled in.
        skip_bad_rows: Count and skip a bad row instead of raising.
        reward_scale: What the rewards of the logs are divided by, to lie in [0, 1].
        excluded: Arms whose rows do not count.
        limits: How much a compressed log may unpack to.
        half_life: Seconds in which a reward loses half of its weight; None: all weigh the same.
        window: Hours that count, the one of the time of the posteriors included; None: all.
        as_of: The time of the posteriors, in seconds since 1970; None: that of the newest reward.
        attribution: Seconds in which a reward must come: without one by then, what a decision
            of a server showed counts as 0; None: only rewards count.
        progress: Reports the bytes read.

    Raises:
        InputMissing: A log cannot be read.
        UsageError: Columns are needed and not given, or the scale is not above 0.
        BadData: A log lacks a column, is damaged, has a bad row, or none at all.
    """
    opened = logs_of(
        logs,
        columns,
        skip_bad_rows=skip_bad_rows,
        reward_scale=reward_scale,
        excluded=excluded,
        limits=limits,
        timed=half_life is not None or window is not None,
    )
    wait_for_rewards(opened, attribution, as_of)
    if window is not None:
        return _of_window(opened, header, Buckets(window), as_of, progress)
    tally, forgetting = Tally(half_life), None
    for _, batch in read_all(opened, progress):
        tally.add(batch)
    if half_life is not None:
        forgetting = Forgetting(half_life, tally.newest if as_of is None else as_of)
        check_past(tally.newest, forgetting.as_of)
    source = tuple(map(Log.source, opened))
    return posteriors_of(tally.sums(as_of), replace(header, source=source, forgetting=forgetting))


def _of_window(
    logs: Sequence[Log],
    header: Header,
    pairs: Buckets,
    as_of: float | None,
    progress: Progress,
) -> Posteriors:
    """Fit rewards of the last hours."""
    newest = -np.inf
    for _, batch in read_all(logs, progress):
        newest = max(newest, pc.max(batch["time"]).as_py() or -np.inf)
        _add_hours(pairs, batch)
        pairs.expire(newest)
    at = newest if as_of is None else as_of
    check_past(newest, at)
    pairs.expire(at)
    buckets = Buckets(pairs.hours)
    for key in pairs:
        for hour, a, b, pulls in pairs.of(key):
            for own in dict.fromkeys([(None, key[1]), key]):
                buckets.add(own, hour * HOUR, a, b, pulls)
    source = tuple(map(Log.source, logs))
    about = replace(header, source=source, window=Window(at, buckets))
    return posteriors_of(_sums_of(pairs), about)


def _add_hours(pairs: Buckets, batch: pa.RecordBatch) -> None:
    sign, reward = batch["sign"].cast(pa.float64()), batch["reward"]
    columns = {
        "context": batch["context"],
        "arm": batch["arm"],
        "hour": pc.floor(pc.divide(batch["time"], HOUR)),
        "a": pc.multiply(sign, reward),
        "b": pc.multiply(sign, pc.subtract(1.0, reward)),
        "pulls": sign,
    }
    groups = pa.table(columns).group_by(["context", "arm", "hour"])
    for row in groups.aggregate([(name, "sum") for name in ("a", "b", "pulls")]).to_pylist():
        sums = row["a_sum"], row["b_sum"], int(row["pulls_sum"])
        pairs.add((row["context"], row["arm"]), row["hour"] * HOUR, *sums)


def _sums_of(pairs: Buckets) -> Sums:
    """Return the sums over the window as a tally does."""
    keys = sorted(pairs, key=lambda key: (key[0] or "", key[1]))
    contexts = [None, *sorted({context for context, _ in keys if context is not None})]
    arms = sorted({arm for _, arm in keys})
    of_context = {name: number for number, name in enumerate(contexts)}
    of_arm = {name: number for number, name in enumerate(arms)}
    rows = np.array([pairs.sum(key) for key in keys], dtype=np.float64).reshape(-1, 3)
    return Sums(
        pa.array(contexts, pa.string()),
        pa.array(arms, pa.string()),
        np.array([of_context[context] for context, _ in keys], dtype=np.int64),
        np.array([of_arm[arm] for _, arm in keys], dtype=np.int64),
        rows[:, 2].astype(np.int64),
        rows[:, 0],
        rows[:, 0] + rows[:, 1],
    )


def check_past(newest: float, as_of: float) -> None:
    """Refuse a time before the newest reward.

    Raises:
        UsageError: It is before.
    """
    if newest > as_of:
        hint = "leave --as-of out, or out of the logs what is later"
        raise UsageError(f"--as-of: the logs have rewards {newest - as_of:g} s later", hint=hint)


def posteriors_of(sums: Sums, header: Header) -> Posteriors:
    """Turn sums of rewards into posteriors, sorted by context and arm."""
    pulls, reward = _by_arm(sums, sums.pulls), _by_arm(sums, sums.reward)
    a, b = update(*header.prior, reward, _by_arm(sums, sums.weight))
    arms = pa.table([sums.arms, a, b, pulls.astype(np.int64)], schema=SCHEMA.remove(0))
    own = sums.context > 0  # the first is null: rows without a context
    arm = sums.arm[own]
    start = shrunk(a[arm], b[arm], header.shrinkage)
    updated = update(*start, sums.reward[own], sums.weight[own])
    ids = sums.contexts.take(pa.array(sums.context[own])), sums.arms.take(pa.array(arm))
    contexts = pa.table([*ids, *updated, sums.pulls[own]], schema=SCHEMA)
    about = header.model, header.prior, header.shrinkage, header.source, header.forgetting
    return Posteriors(*about, header.window, arms, contexts)


def _by_arm(sums: Sums, values: NDArray[Any]) -> NDArray[np.float64]:
    # The annotations of bincount are int, whatever the weights are.
    return np.asarray(np.bincount(sums.arm, values, len(sums.arms)), np.float64)
