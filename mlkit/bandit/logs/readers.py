"""The three formats of logs, read as batches of rows that are still to be checked."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from mlkit.bandit.logs import csv_input
from mlkit.bandit.logs.csv_input import HashingReader, opened
from mlkit.bandit.logs.times import seconds_of
from mlkit.bandit.posteriors.file import content_hash, missing_column
from mlkit.errors import BadData
from mlkit.parquet import ParquetReader

if TYPE_CHECKING:
    from mlkit.bandit.logs.rewards import Log

_PARQUET_ROWS = 1 << 18
_LINES = 1 << 15


@dataclass(frozen=True)
class Columns:
    """The columns of a CSV or Parquet log.

    Attributes:
        arm: Ids of the arms: text or integers.
        reward: Numbers in [0, 1].
        context: Ids of users or segments: text or integers. None: there are none.
        event_id: Ids of events, each of which counts once: text or integers. None: there are
            none, and every row counts.
        time: When rewards were earned: ISO 8601, timestamps, or seconds since 1970. None: not
            known.
        separator: The character between the fields of a CSV; None: that of its first line.
    """

    arm: str
    reward: str
    context: str | None = None
    event_id: str | None = None
    separator: str | None = None
    time: str | None = None

    def names(self) -> list[str]:
        """Return the names of the columns."""
        names = (self.context, self.arm, self.reward, self.event_id, self.time)
        return [name for name in names if name is not None]


class Rows(NamedTuple):
    """Rows of a log as they were found.

    Attributes:
        context: Text; null where there is none.
        arm: Text.
        reward: Anything.
        place: Names the place of a row, for an error.
        event: Text; None: every row counts.
        features: A column for each feature that the log is to have: text, numbers or truth.
        time: Seconds since 1970, NaN where there is none; None: the log has no times.
    """

    context: pa.Array
    arm: pa.Array
    reward: pa.Array
    place: Callable[[int], str]
    event: pa.Array | None = None
    features: Sequence[pa.Array] = ()
    time: pa.Array | None = None


def read_csv(log: Log, columns: Columns) -> Iterator[Rows]:
    """Read a CSV, plain or gzip."""
    place, row = csv_input.place_in(log.path), 0
    # Few rewards differ, so they are looked at as a dictionary of texts.
    types = {columns.reward: pa.dictionary(pa.int32(), pa.string())}
    with _text(log) as (text, stream):
        separator = columns.separator or csv_input.separator_of(text)
        _check_columns(log, csv_input.column_names(text, log.path, separator), columns)
        for batch in csv_input.read_batches(
            text,
            log.path,
            _wanted(log, columns),
            types=types,
            separator=separator,
            on_bad_row=log.bad,
        ):
            log.bytes_read = stream.bytes_read
            yield _rows(log, batch, columns, partial(_at, place, row))
            row += len(batch)


def _wanted(log: Log, columns: Columns) -> list[str]:
    return list(dict.fromkeys([*columns.names(), *log.features]))


def _at(place: Callable[[int], str], begin: int, row: int) -> str:
    return place(begin + row)


def read_parquet(log: Log, columns: Columns) -> Iterator[Rows]:
    """Read a Parquet file, a part of a row group at a time."""
    log.sha256 = content_hash(log.path)
    file, row = ParquetReader(log.path, limits=log.limits), 0
    _check_columns(log, file.columns, columns)
    for batch in file.batches(_wanted(log, columns), _PARQUET_ROWS):
        yield _rows(log, batch, columns, partial(_parquet_place, log, row))
        row += len(batch)
        log.bytes_read = file.size * row // max(row, file.rows)


def _parquet_place(log: Log, begin: int, row: int) -> str:
    return f"{log.path}: row {begin + row + 1}"


class Decision(msgspec.Struct, tag="decision", tag_field="type"):
    """A line of a JSON Lines log that tells a decision; it has no reward."""


class Feedback(msgspec.Struct, tag="feedback", tag_field="type"):
    """A line of a JSON Lines log that tells a reward."""

    event_id: str
    arm: str
    reward: float
    context: str | None = None
    time: float | None = None
    at: str | None = None
    features: dict[str, str | float | bool | None] | None = None


def read_json_lines(log: Log) -> Iterator[Rows]:
    """Read the feedback of a JSON Lines log, plain or gzip; each event counts once."""
    numbers: list[int] = []
    with _text(log) as (text, stream):
        lines = enumerate(text, 1)
        while chunk := list(itertools.islice(lines, _LINES)):
            log.bytes_read = stream.bytes_read
            found = list(_feedback(log, chunk))
            numbers = [number for number, _ in found]
            events = [event for _, event in found]
            yield Rows(
                pa.array([event.context or None for event in events], pa.string()),
                pa.array([event.arm for event in events], pa.string()),
                pa.array([event.reward for event in events], pa.float64()),
                partial(_line_place, log, numbers),
                features=[_feature(events, name) for name in log.features],
                time=_times(events) if log.timed else None,
            )


def _times(events: Sequence[Feedback]) -> pa.Array:
    """Return when events were earned, or in logs of before when they were received."""
    found = [event.at if event.time is None else event.time for event in events]
    return pa.array(seconds_of(pa.array(map(str, found), pa.string())))


def _feature(events: Sequence[Feedback], name: str) -> pa.Array:
    values = [(event.features or {}).get(name) for event in events]
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {float, int, bool}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([None if value is None else _text_of(value) for value in values], pa.string())


def _text_of(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _line_place(log: Log, numbers: Sequence[int], row: int) -> str:
    return f"{log.path}: line {numbers[row]}"


_decode = msgspec.json.Decoder(Decision | Feedback).decode


def _feedback(log: Log, lines: Sequence[tuple[int, bytes]]) -> Iterator[tuple[int, Feedback]]:
    """Decode lines, and give the feedback that is new, with its line number."""
    for number, line in lines:
        try:
            event = _decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.bad(str(error), partial(_line_place, log, [number], 0))
            continue
        if isinstance(event, Feedback) and is_new(log.events, event.event_id):
            yield number, event


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
    with opened(log.path) as file:
        stream = HashingReader(file)
        yield csv_input.text_of(stream, log.path, log.limits), stream
        log.sha256 = stream.sha256.hexdigest()


def _check_columns(log: Log, names: Sequence[str], columns: Columns) -> None:
    for name in _wanted(log, columns):
        if name not in names:
            raise missing_column(log.path, name, names)
        if list(names).count(name) > 1:
            raise BadData(f"{log.path}: two columns {name!r}")


def _rows(log: Log, batch: pa.RecordBatch, columns: Columns, place: Callable[[int], str]) -> Rows:
    arm = _ids(log, batch, columns.arm)
    reward = batch[columns.reward]
    event = None if columns.event_id is None else _ids(log, batch, columns.event_id)
    features = [_plain(batch[name]) for name in log.features]
    named = columns.time is not None and log.timed
    time = pa.array(seconds_of(batch[columns.time])) if named else None
    if columns.context is None:
        context = pa.nulls(len(batch), pa.string())
    else:
        ids = _ids(log, batch, columns.context)
        context = pc.if_else(pc.equal(pc.binary_length(ids), 0), None, ids)
    return Rows(context, arm, reward, place, event, features, time)


def _plain(column: pa.Array) -> pa.Array:
    is_dictionary = pa.types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if is_dictionary else column


def _ids(log: Log, batch: pa.RecordBatch, name: str) -> pa.Array:
    column = batch[name]
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind):
        return column.cast(pa.string())
    raise BadData(f"{log.path}: the column {name!r} is {kind}, expected text or integers")
