"""Logs of rewards: CSV, Parquet, and the JSON Lines that the server writes.

A log of any size is read as a stream: no more than one batch of it is in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mlkit.bandit.logs.json_columns import COMPACTED, is_compacted
from mlkit.bandit.logs.log import Columns, Log
from mlkit.bandit.logs.outcomes import read_outcomes
from mlkit.bandit.logs.readers import (
    Rows,
    is_new,
    read_csv,
    read_json_lines,
    read_parquet,
)
from mlkit.bandit.logs.times import EXPECTED
from mlkit.bandit.posteriors.posterior import ID_BYTES
from mlkit.errors import BadData, UsageError
from mlkit.parquet import SUFFIXES, ParquetReader
from mlkit.progress import Progress
from mlkit.unpacking import STREAMED, UnpackLimits

REWARDS = pa.schema(
    [
        ("context", pa.string()),
        ("arm", pa.string()),
        ("reward", pa.float64()),
        ("sign", pa.int8()),
    ]
)
"""The columns of a batch of rewards; a row without a context counts for the arm alone.

A reward of the `sign` -1 is taken back. Features follow, if any, in columns named by
`feature_column`, the column `arm_features` with those of the arm as JSON, null where the log has
none, and the column `time`, in seconds since 1970, if they are asked for.
"""


def logs_of(
    paths: Sequence[Path],
    columns: Columns | None,
    *,
    skip_bad_rows: bool = False,
    reward_scale: float = 1.0,
    excluded: Collection[str] = (),
    limits: UnpackLimits = STREAMED,
    reward_range: tuple[float, float] = (0.0, 1.0),
    features: tuple[str, ...] = (),
    of_arms: bool = False,
    timed: bool = False,
) -> list[Log]:
    """Return logs to read as one: an event that several of them have counts once.

    Args:
        paths: The files.
        columns: The columns of CSV and Parquet logs.
        skip_bad_rows: Count and skip a bad row instead of raising.
        reward_scale: What rewards are divided by.
        excluded: Arms whose rows do not count.
        limits: How much a compressed file may unpack to.
        reward_range: The rewards that are good, once divided.
        features: Names of features to read beside the rewards.
        of_arms: Whether to read the features of arms that the logs have.
        timed: Whether to read when rewards were earned.

    Raises:
        UsageError: The scale is not above 0.
    """
    if not 0 < reward_scale < float("inf"):
        raise UsageError(f"--reward-scale: {reward_scale!r}, expected a number above 0")
    events: set[bytes] = set()
    arms = frozenset(excluded)
    return [
        Log(
            path,
            columns,
            skip_bad_rows,
            events,
            limits,
            reward_scale,
            arms,
            reward_range,
            features,
            of_arms,
            timed,
        )
        for path in paths
    ]


def wait_for_rewards(logs: Sequence[Log], attribution: float | None, as_of: float | None) -> None:
    """Count what decisions showed as 0, where no reward came in time.

    Args:
        logs: The logs, which are then read twice.
        attribution: Seconds in which a reward must come; None: only rewards count.
        as_of: The time to judge by, in seconds since 1970; None: that of the newest line.

    Raises:
        InputMissing: A log cannot be read.
        UsageError: No log has decisions.
    """
    if attribution is None:
        return
    outcomes = read_outcomes(logs, attribution, as_of)
    for log in logs:
        log.outcomes = outcomes


def read_all(logs: Sequence[Log], progress: Progress) -> Iterator[tuple[Log, pa.RecordBatch]]:
    """Yield the batches of logs one after another, each with its log.

    Args:
        logs: The logs.
        progress: Reports the bytes read, of all logs together.

    Raises:
        InputMissing: A log cannot be read.
        UsageError: The columns of a CSV or Parquet log are not given.
        BadData: A log lacks a column, is damaged, has a bad row, or there is no row at all.
    """
    sizes = [log.size() for log in logs]
    total = None if None in sizes else sum(size for size in sizes if size is not None)
    done = 0
    for log in logs:
        for batch in rewards_of(log):
            yield log, batch
            progress(done + log.bytes_read, total)
        done += log.bytes_read
    if not any(log.rows for log in logs):
        names = ", ".join(str(log.path) for log in logs)
        raise BadData(f"{names}: no rewards", hint=_why_none(logs))


def _why_none(logs: Sequence[Log]) -> str | None:
    skipped = sum(log.skipped for log in logs)
    return (
        f"{skipped} bad rows were skipped; without --skip-bad-rows one is named"
        if skipped
        else None
    )


def rewards_of(log: Log) -> Iterator[pa.RecordBatch]:
    """Read a log as batches of `REWARDS`.

    Raises:
        InputMissing: The file cannot be read.
        UsageError: The columns of a CSV or Parquet log are not given.
        BadData: The file lacks a column, is damaged, or has a bad row that is not to be
            skipped; the message names its line (CSV, JSON Lines) or row (Parquet).
    """
    for rows in _read_rows(log):
        batch = _filter_rows(log, rows)
        log.rows += pc.sum(batch["sign"]).as_py() or 0
        yield batch


def _read_rows(log: Log) -> Iterator[Rows]:
    if log.is_json_lines:
        return read_json_lines(log)
    if log.columns is None and _is_compacted(log):
        log.columns = COMPACTED
    if log.columns is None:
        hint = "only the logs of `mlkit bandit serve --log`, and those compacted, imply them"
        raise UsageError(f"{log.path}: --arm and --reward are needed", hint=hint)
    if log.timed and log.columns.time is None:
        hint = "--time COL names the column of the times at which rewards were earned"
        raise UsageError(f"{log.path}: no times, which forgetting needs", hint=hint)
    if log.path.suffix.lower() in SUFFIXES:
        return read_parquet(log, log.columns)
    return read_csv(log, log.columns)


def _is_compacted(log: Log) -> bool:
    is_parquet = log.path.suffix.lower() in SUFFIXES
    return is_parquet and is_compacted(ParquetReader(log.path, limits=log.limits).columns)


def _filter_rows(log: Log, rows: Rows) -> pa.RecordBatch:
    """Return the rows of a batch that count: good ones, of new events and arms in use."""
    reward = pc.divide(as_numbers(rows.reward), log.reward_scale)
    schema = REWARDS
    for name, column in zip(log.features, rows.features, strict=True):
        schema = schema.append(pa.field(feature_column(name), column.type))
    sign = pa.repeat(pa.scalar(1, pa.int8()), len(reward)) if rows.sign is None else rows.sign
    columns = [rows.context, rows.arm, reward, sign, *rows.features]
    for name, column in (("arm_features", rows.arm_features), ("time", rows.time)):
        if column is not None:
            schema = schema.append(pa.field(name, column.type))
            columns.append(column)
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    counted = _good(log, rows, reward)
    if log.excluded:
        dropped = pc.is_in(rows.arm, pa.array(sorted(log.excluded), pa.string()))
        counted = pc.and_(counted, pc.invert(dropped))
    if rows.event is not None:
        counted = _new(log, rows.event, counted)
    return batch if pc.all(counted).as_py() else batch.filter(counted)


def _new(log: Log, events: pa.Array, counted: pa.Array) -> pa.Array:
    """Note the events of the rows that count, and leave out those that were there before."""
    pairs = zip(events.to_pylist(), counted.to_pylist(), strict=True)
    return pa.array([good and is_new(log.events, event) for event, good in pairs], pa.bool_())


def _good(log: Log, rows: Rows, reward: pa.Array) -> pa.Array:
    """Find the good rows of a batch; count the bad ones, or raise for the first."""
    columns = {
        "arm": _is_id(rows.arm, or_missing=False),
        "context": _is_id(rows.context, or_missing=True),
        "reward": _within(reward, *log.reward_range),
    }
    if rows.time is not None:
        columns["time"] = pc.is_finite(rows.time)
    if rows.event is not None:
        columns["event"] = pc.fill_null(pc.greater(pc.binary_length(rows.event), 0), False)
    good = functools.reduce(pc.and_, columns.values())
    first = pc.index(good, False).as_py()
    if first < 0:
        return good
    name = next(name for name, fine in columns.items() if not fine[first].as_py())
    found = getattr(rows, name)[first].as_py() if name != "time" else None
    shown = f"{name} is {'missing' if found is None else repr(found)[:80]}"
    log.bad(f"{shown}, expected {_expected(log, name)}", lambda: rows.place(first))
    log.skipped += pc.sum(pc.invert(good)).as_py() - 1  # the first is counted
    return good


def _expected(log: Log, name: str) -> str:
    low, high = (each * log.reward_scale for each in log.reward_range)
    return _EXPECTED[name] if name != "reward" else f"a number in [{low:g}, {high:g}]"


def feature_column(name: str) -> str:
    """Return the name of a feature's column in a batch of rewards."""
    return f"feature {name}"


_EXPECTED = {
    "arm": f"1 to {ID_BYTES} bytes of UTF-8",
    "context": f"at most {ID_BYTES} bytes of UTF-8",
    "event": "an id",
    "time": EXPECTED,
}
_TRUTH = {"true": 1.0, "false": 0.0}


def as_numbers(column: pa.Array) -> pa.Array:
    """Convert rewards to float64: True is 1, False is 0; what is not a number becomes null."""
    if pa.types.is_dictionary(column.type):
        return as_numbers(column.dictionary).take(column.indices)
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid:
        return pa.array([_as_number(value) for value in column], pa.float64())


def _as_number(value: pa.Scalar) -> float | None:
    try:
        number: float | None = value.cast(pa.float64()).as_py()
    except pa.ArrowInvalid:
        return _TRUTH.get(str(value.as_py()).lower())
    return number


def _is_id(column: pa.Array, *, or_missing: bool) -> pa.Array:
    return _within(pc.binary_length(column), 1, ID_BYTES, or_missing=or_missing)


def _within(
    column: pa.Array, lowest: float, highest: float, *, or_missing: bool = False
) -> pa.Array:
    inside = pc.and_(pc.greater_equal(column, lowest), pc.less_equal(column, highest))
    return pc.fill_null(inside, or_missing)
