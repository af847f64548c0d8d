"""The three formats of logs, read as batches of rows that are still to be checked."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlkit.bandit.logs import csv_input
from mlkit.bandit.logs.csv_input import HashingReader, open_input
from mlkit.bandit.logs.decision_times import decided_at
from mlkit.bandit.logs.json_columns import FeatureReader, feature, feature_columns, is_compacted
from mlkit.bandit.logs.log import Columns, Log
from mlkit.bandit.logs.times import seconds_of
from mlkit.bandit.posteriors.file import content_hash, missing_column
from mlkit.errors import BadData
from mlkit.parquet import ParquetReader

_PARQUET_ROWS = 1 << 18
_LINES = 1 << 15


class Rows(NamedTuple):
    """Rows of a log as they were found.

    Attributes:
        context: Text; null where there is none.
        arm: Text.
        reward: Anything.
        place: Names the place of a row, for an error.
        event: Text; None: every row counts.
        features: A column for each feature that the log is to have: text, numbers or truth.
        arm_features: Those of the arm as a JSON object, null where there are none; None: they are
            not asked for, or the format has none.
        time: Seconds since 1970, NaN where there is none; None: the log has no times.
        sign: 1, or -1 for a reward that is taken back; None: 1 everywhere.
    """

    context: pa.Array
    arm: pa.Array
    reward: pa.Array
    place: Callable[[int], str]
    event: pa.Array | None = None
    features: Sequence[pa.Array] = ()
    arm_features: pa.Array | None = None
    time: pa.Array | None = None
    sign: pa.Array | None = None


def read_csv(log: Log, columns: Columns) -> Iterator[Rows]:
    """Read a CSV, plain or gzip."""
    place, row = csv_input.place_in(log.path), 0
    # Few rewards differ, so they are looked at as a dictionary of texts.
    types = {columns.reward: pa.dictionary(pa.int32(), pa.string())}
    with _text(log) as (text, stream):
        separator = columns.separator or csv_input.separator_of(text)
        names = _select_columns(log, columns, csv_input.column_names(text, log.path, separator))
        features = FeatureReader(log)
        for batch in csv_input.read_batches(
            text,
            log.path,
            names,
            types=types,
            separator=separator,
            on_bad_row=log.bad,
        ):
            log.bytes_read = stream.bytes_read
            yield _rows(log, batch, columns, features, partial(_at, place, row))
            row += len(batch)


def _select_columns(log: Log, columns: Columns, names: Sequence[str]) -> list[str]:
    """Return the columns to read of a file that has those with these names.

    Raises:
        BadData: One is missing, or there twice.
    """
    wanted = list(dict.fromkeys([*columns.names(), *feature_columns(log, names)]))
    for name in wanted:
        if name not in names:
            raise missing_column(log.path, name, names)
        if list(names).count(name) > 1:
            raise BadData(f"{log.path}: two columns {name!r}")
    return wanted


def _at(place: Callable[[int], str], begin: int, row: int) -> str:
    return place(begin + row)


def read_parquet(log: Log, columns: Columns) -> Iterator[Rows]:
    """Read a Parquet file, a part of a row group at a time."""
    log.sha256 = content_hash(log.path)
    file, row = ParquetReader(log.path, limits=log.limits), 0
    names, features = _select_columns(log, columns, file.columns), FeatureReader(log)
    # Where rewards are joined to decisions, an arm without one has none: that is no bad row.
    is_joined = is_compacted(file.columns)
    for batch in file.batches(names, _PARQUET_ROWS):
        rows = _rows(log, batch, columns, features, partial(_parquet_place, log, row))
        yield _drop_unrewarded(rows) if is_joined else rows
        row += len(batch)
        log.bytes_read = file.size * row // max(row, file.rows)


def _drop_unrewarded(rows: Rows) -> Rows:
    """Leave out the rows without a reward."""
    kept = rows.reward.is_valid()
    numbers = np.flatnonzero(kept.to_numpy(zero_copy_only=False))

    def filter_column(column: pa.Array | None) -> pa.Array | None:
        return None if column is None else column.filter(kept)

    def place(row: int) -> str:
        return rows.place(int(numbers[row]))

    return Rows(
        rows.context.filter(kept),
        rows.arm.filter(kept),
        rows.reward.filter(kept),
        place,
        filter_column(rows.event),
        [each.filter(kept) for each in rows.features],
        filter_column(rows.arm_features),
        filter_column(rows.time),
    )


def _parquet_place(log: Log, begin: int, row: int) -> str:
    return f"{log.path}: row {begin + row + 1}"


Features = dict[str, str | float | bool | None]


class Decision(msgspec.Struct, tag="decision", tag_field="type"):
    """A line of a JSON Lines log about a decision; what was shown without a reward may count."""

    decision_id: str = ""
    arms: list[str] = []
    context: str | None = None
    at: str | None = None
    features: Features | None = None
    arm_features: dict[str, Features] | None = None


class Feedback(msgspec.Struct, tag="feedback", tag_field="type"):
    """A line of a JSON Lines log about a reward."""

    event_id: str
    arm: str
    reward: float
    context: str | None = None
    time: float | None = None
    at: str | None = None
    features: Features | None = None
    arm_features: Features | None = None


class Replaced(msgspec.Struct):
    """What an event counted for before it was amended."""

    arm: str
    reward: float | None
    context: str | None = None
    time: float | None = None
    features: Features | None = None
    arm_features: Features | None = None


class Amendment(msgspec.Struct, tag="amendment", tag_field="type"):
    """A line of a JSON Lines log about an event that was amended, or withdrawn (null)."""

    event_id: str
    reward: float | None
    replaced: Replaced


class _Row(NamedTuple):
    """A reward of a line; the sign is -1 for one that is taken back."""

    line: int
    context: str | None
    arm: str
    reward: float
    time: float | str | None
    features: Features
    arm_features: Features | None
    sign: int = 1


def read_json_lines(log: Log) -> Iterator[Rows]:
    """Read the rewards of a JSON Lines log, plain or gzip; each event counts once."""
    with _text(log) as (text, stream):
        lines = enumerate(text, 1)
        while chunk := list(itertools.islice(lines, _LINES)):
            log.bytes_read = stream.bytes_read
            rows = list(_rows_of(log, chunk))
            yield Rows(
                pa.array([row.context or None for row in rows], pa.string()),
                pa.array([row.arm for row in rows], pa.string()),
                pa.array([row.reward for row in rows], pa.float64()),
                partial(_line_place, log, [row.line for row in rows]),
                features=[_feature(rows, name) for name in log.features],
                arm_features=_arm_features(rows) if log.of_arms else None,
                time=_times(rows) if log.timed else None,
                sign=pa.array([row.sign for row in rows], pa.int8()),
            )


def _times(rows: Sequence[_Row]) -> pa.Array:
    """Return when rewards were earned, or in logs of before when they were received."""
    return pa.array(seconds_of(pa.array([str(row.time) for row in rows], pa.string())))


def _feature(rows: Sequence[_Row], name: str) -> pa.Array:
    return feature([row.features.get(name) for row in rows])


def _arm_features(rows: Sequence[_Row]) -> pa.Array:
    objects = (row.arm_features for row in rows)
    return pa.array([_encode(each).decode() if each else None for each in objects], pa.string())


def _line_place(log: Log, numbers: Sequence[int], row: int) -> str:
    return f"{log.path}: line {numbers[row]}"


_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(Decision | Feedback | Amendment).decode


def _rows_of(log: Log, lines: Sequence[tuple[int, bytes]]) -> Iterator[_Row]:
    """Decode lines, and yield the rewards of those that are new."""
    for number, line in lines:
        try:
            found = _decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.bad(str(error), partial(_line_place, log, [number], 0))
            continue
        if isinstance(found, Decision):
            yield from _zeros(log, number, found)
        elif is_new(log.events, found.event_id):
            yield from (_reward if isinstance(found, Feedback) else _amend)(number, found)


def _reward(number: int, event: Feedback) -> Iterator[_Row]:
    time = event.at if event.time is None else event.time
    features = event.features or {}, event.arm_features
    yield _Row(number, event.context, event.arm, event.reward, time, *features)


def _amend(number: int, event: Amendment) -> Iterator[_Row]:
    """Take back what was counted, and count what is right."""
    old = event.replaced
    features = old.features or {}, old.arm_features
    for reward, sign in ((old.reward, -1), (event.reward, 1)):
        if reward is not None:
            yield _Row(number, old.context, old.arm, reward, old.time, *features, sign)


def _zeros(log: Log, number: int, decision: Decision) -> Iterator[_Row]:
    """Count what was shown as 0, where no reward came in time."""
    if log.outcomes is None or not is_new(log.events, f"decision {decision.decision_id}"):
        return
    at = decided_at(decision.decision_id) or 0.0
    for arm in decision.arms:
        if log.outcomes.counts_as_zero(decision.decision_id, arm, at):
            features = decision.features or {}, (decision.arm_features or {}).get(arm)
            yield _Row(number, decision.context, arm, 0.0, at, *features)


def is_new(events: set[bytes], event_id: str) -> bool:
    """Note an event; keep a hash, since ids are long and there may be many."""
    key = hashlib.blake2b(event_id.encode(), digest_size=16).digest()
    if key in events:
        return False
    events.add(key)
    return True


@contextmanager
def _text(log: Log) -> Iterator[tuple[io.BufferedReader[Any], HashingReader]]:
    """Open a log as unpacked bytes, and hash its bytes."""
    with open_input(log.path) as file:
        stream = HashingReader(file)
        yield csv_input.text_of(stream, log.path, log.limits), stream
        log.sha256 = stream.sha256.hexdigest()


def _rows(
    log: Log,
    batch: pa.RecordBatch,
    columns: Columns,
    reader: FeatureReader,
    place: Callable[[int], str],
) -> Rows:
    arm = _ids(log, batch, columns.arm)
    reward = batch[columns.reward]
    event = None if columns.event_id is None else _ids(log, batch, columns.event_id)
    features, arm_features = reader.context(batch, place), reader.arms(batch, arm, place)
    named = columns.time is not None and log.timed
    time = pa.array(seconds_of(batch[columns.time])) if named else None
    if columns.context is None:
        context = pa.nulls(len(batch), pa.string())
    else:
        ids = _ids(log, batch, columns.context)
        context = pc.if_else(pc.equal(pc.binary_length(ids), 0), None, ids)
    return Rows(context, arm, reward, place, event, features, arm_features, time)


def _ids(log: Log, batch: pa.RecordBatch, name: str) -> pa.Array:
    column = batch[name]
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind):
        return column.cast(pa.string())
    raise BadData(f"{log.path}: the column {name!r} is {kind}, expected text or integers")
