"""Logs of rewards: CSV, Parquet, and the JSON Lines that the server writes.

A log of any size is read as a stream: no more than one batch of it is in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mlkit.bandit.logs.csv_input import STANDARD_STREAM, opened
from mlkit.bandit.logs.outcomes import Outcomes, read_outcomes
from mlkit.bandit.logs.readers import (
    Columns,
    Rows,
    is_new,
    read_csv,
    read_json_lines,
    read_parquet,
)
from mlkit.bandit.logs.times import EXPECTED
from mlkit.bandit.posteriors.posterior import ID_BYTES, SourceFile
from mlkit.errors import BadData, UsageError
from mlkit.parquet import SUFFIXES
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
`feature_column`, and the column `time`, in seconds since 1970, if it is asked for.
"""


@dataclass
class Log:
    """One log, to be read once.

    Attributes:
        path: The file; `-` is a CSV on standard input.
        columns: Its columns; not needed for JSON Lines.
        skip_bad_rows: Count and skip a bad row instead of raising.
        events: The feedback events seen so far; logs that may repeat one another's events
            share a set.
        limits: How much a compressed file may unpack to.
        reward_scale: What rewards are divided by.
        excluded: Arms whose rows do not count.
        reward_range: The rewards that are good, once divided.
        features: Names of features to read beside the rewards.
        timed: Whether to read when rewards were earned.
        outcomes: Which decisions had rewards; None: only what the log says counts.
        rows: Good rows read so far.
        skipped: Bad rows so far.
        bytes_read: How far in the file the reading is.
        sha256: The hash of the file's bytes, once all is read.
    """

    path: Path
    columns: Columns | None = None
    skip_bad_rows: bool = False
    events: set[bytes] = field(default_factory=set)
    limits: UnpackLimits = STREAMED
    reward_scale: float = 1.0
    excluded: frozenset[str] = frozenset()
    reward_range: tuple[float, float] = (0.0, 1.0)
    features: tuple[str, ...] = ()
    timed: bool = False
    outcomes: Outcomes | None = None
    rows: int = 0
    skipped: int = 0
    bytes_read: int = 0
    sha256: str = ""

    def rewards(self) -> Iterator[pa.RecordBatch]:
        """Read the log as batches of `REWARDS`.

        Raises:
            InputMissing: The file cannot be read.
            UsageError: The columns of a CSV or Parquet log are not given.
            BadData: The file lacks a column, is damaged, or has a bad row that is not to be
                skipped; the message names its line (CSV, JSON Lines) or row (Parquet).
        """
        for rows in self._found():
            batch = self._counted(rows)
            self.rows += pc.sum(batch["sign"]).as_py() or 0
            yield batch

    def size(self) -> int | None:
        """Return the file's size in bytes, or None for standard input.

        Raises:
            InputMissing: The file cannot be read.
        """
        if str(self.path) == STANDARD_STREAM:
            return None
        with opened(self.path):
            return self.path.stat().st_size

    def bad(self, reason: str, place: Callable[[], str]) -> None:
        """Count a bad row, or raise; only then is its place looked for."""
        if not self.skip_bad_rows:
            hint = "--skip-bad-rows counts such rows and goes on"
            raise BadData(f"{place()}: {reason}", hint=hint)
        self.skipped += 1

    def source(self) -> SourceFile:
        """Return what the posteriors file states about this log."""
        return SourceFile(self.path.name, self.rows, self.skipped, self.sha256)

    @property
    def is_json_lines(self) -> bool:
        """Whether it is a log of a server."""
        return self.path.name.removesuffix(".gz").endswith((".jsonl", ".ndjson"))

    def _found(self) -> Iterator[Rows]:
        if self.is_json_lines:
            return read_json_lines(self)
        if self.columns is None:
            hint = "only the JSON Lines logs of `mlkit bandit serve --log` (.jsonl) imply them"
            raise UsageError(f"{self.path}: --arm and --reward are needed", hint=hint)
        if self.timed and self.columns.time is None:
            hint = "--time COL names the column that says when rewards were earned"
            raise UsageError(f"{self.path}: no times, which forgetting needs", hint=hint)
        if self.path.suffix.lower() in SUFFIXES:
            return read_parquet(self, self.columns)
        return read_csv(self, self.columns)

    def _counted(self, rows: Rows) -> pa.RecordBatch:
        """Return the rows of a batch that count: good ones, of new events and arms in use."""
        reward = pc.divide(as_numbers(rows.reward), self.reward_scale)
        schema = REWARDS
        for name, column in zip(self.features, rows.features, strict=True):
            schema = schema.append(pa.field(feature_column(name), column.type))
        sign = pa.repeat(pa.scalar(1, pa.int8()), len(reward)) if rows.sign is None else rows.sign
        columns = [rows.context, rows.arm, reward, sign, *rows.features]
        if rows.time is not None:
            schema = schema.append(pa.field("time", pa.float64()))
            columns.append(rows.time)
        batch = pa.RecordBatch.from_arrays(columns, schema=schema)
        counted = self._good(rows, reward)
        if self.excluded:
            dropped = pc.is_in(rows.arm, pa.array(sorted(self.excluded), pa.string()))
            counted = pc.and_(counted, pc.invert(dropped))
        if rows.event is not None:
            counted = self._new(rows.event, counted)
        return batch if pc.all(counted).as_py() else batch.filter(counted)

    def _new(self, events: pa.Array, counted: pa.Array) -> pa.Array:
        """Note the events of the rows that count, and leave out those that were there before."""
        pairs = zip(events.to_pylist(), counted.to_pylist(), strict=True)
        return pa.array([good and is_new(self.events, event) for event, good in pairs], pa.bool_())

    def _good(self, rows: Rows, reward: pa.Array) -> pa.Array:
        """Find the good rows of a batch; count the bad ones, or raise for the first."""
        columns = {
            "arm": _is_id(rows.arm, or_missing=False),
            "context": _is_id(rows.context, or_missing=True),
            "reward": _within(reward, *self.reward_range),
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
        self.bad(f"{shown}, expected {self._expected(name)}", lambda: rows.place(first))
        self.skipped += pc.sum(pc.invert(good)).as_py() - 1  # the first is counted
        return good

    def _expected(self, name: str) -> str:
        low, high = (each * self.reward_scale for each in self.reward_range)
        return _EXPECTED[name] if name != "reward" else f"a number in [{low:g}, {high:g}]"


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
        for batch in log.rewards():
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
