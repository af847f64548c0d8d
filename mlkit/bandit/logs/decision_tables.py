"""Tables of decisions in CSV, Parquet and JSON Lines, as columns that are still to be checked."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa

from mlkit.bandit.logs import csv_input
from mlkit.bandit.logs.csv_input import HashingReader, open_input
from mlkit.bandit.posteriors.file import missing_column
from mlkit.errors import BadData
from mlkit.parquet import SUFFIXES, ParquetReader
from mlkit.unpacking import UnpackLimits

_PARQUET_ROWS = 1 << 18
_COPIED = 1 << 20
_LINES = (".jsonl", ".ndjson")
_DEFAULTS = {
    "arm": ("arm", "action", "item_id"),
    "reward": ("reward", "click"),
    "propensity": ("propensity", "propensity_score", "pscore"),
    "context": ("context",),
    "position": ("position",),
    "candidates": ("candidates",),
    "slate": ("slate", "slate_id", "decision_id"),
    "time": ("time", "timestamp", "at"),
    "features": ("features",),
    "candidate_features": ("candidate_features",),
}
_REQUIRED = ("propensity", "arm", "reward")
_NO_PROPENSITIES = (
    "an estimate divides by the probability with which each arm was shown: log it with every "
    "decision, or name its column with --propensity"
)


@dataclass(frozen=True)
class DecisionColumns:
    """The columns of a log of decisions; None: by the usual names, "": none.

    Attributes:
        arm: Ids of the arms shown: text or integers.
        reward: Numbers; missing where none is known.
        propensity: Probabilities with which the arms were shown, in (0, 1].
        context: Ids of users or segments: text or integers.
        position: Positions of the arms: text or integers.
        candidates: The arms that could be shown: lists, JSON arrays, or ids separated by `|`.
        slate: Ids of the decisions, where one shows several arms: text or integers.
        time: When the arms were shown: ISO 8601, timestamps, or seconds since 1970.
        features: Features of the contexts: JSON objects. Only read if `named` has some.
        candidate_features: Features of arms by the ids of arms: JSON objects of JSON objects, in
            a row of each slate. Only read if `of_arms`.
        named: Names of features of contexts that policies read; columns of their names where the
            log has no column of objects.
        of_arms: Whether policies read features of arms.
    """

    arm: str | None = None
    reward: str | None = None
    propensity: str | None = None
    context: str | None = None
    position: str | None = None
    candidates: str | None = None
    slate: str | None = None
    time: str | None = None
    features: str | None = None
    candidate_features: str | None = None
    named: tuple[str, ...] = ()
    of_arms: bool = False

    def find(self, path: Path, names: Sequence[str]) -> dict[str, str]:
        """Return the column of each field that a log has.

        Raises:
            BadData: A column that is named or needed is not there, or is there twice.
        """
        pairs = {field: self._column(field, path, names) for field in _DEFAULTS}
        if not self.named:
            pairs["features"] = None
        if not self.of_arms:
            pairs["candidate_features"] = None
        for field in _REQUIRED:
            if pairs[field] is None:
                raise _lacks(path, field, names)
        return {field: name for field, name in pairs.items() if name is not None}

    def _column(self, field: str, path: Path, names: Sequence[str]) -> str | None:
        name = getattr(self, field)
        if name is None:
            return next((each for each in _DEFAULTS[field] if each in names), None)
        if name and name not in names:
            raise missing_column(path, name, names)
        return name or None


def _lacks(path: Path, field: str, names: Sequence[str]) -> BadData:
    if field == "propensity":
        return BadData(f"{path}: no propensities", hint=_NO_PROPENSITIES)
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return BadData(f"{path}: no column of {field}s", hint=f"--{field} COL names one of {shown}")


class DecisionTable(NamedTuple):
    """Columns of a log as they were found.

    Attributes:
        columns: By name; of any type.
        fields: The name of the column of each field that the log has.
        place: Names the place of a row, for an error.
    """

    columns: dict[str, pa.ChunkedArray]
    fields: dict[str, str]
    place: Callable[[int], str]


def read_table(
    path: Path, columns: DecisionColumns, more: Sequence[str], limits: UnpackLimits
) -> DecisionTable:
    """Read the columns of a log of decisions into memory.

    Args:
        path: A .parquet, .jsonl or .ndjson (also gzip), otherwise a CSV (also gzip); `-` is a CSV
            on standard input.
        columns: The columns of the log.
        more: Names of further columns to read.
        limits: How much the file may unpack to.

    Raises:
        InputMissing: The file cannot be read.
        BadData: It lacks a column or is damaged; the message names the line or row.
    """
    if path.name.removesuffix(".gz").endswith(_LINES):
        return _read_lines(path, columns, more, limits)
    read = _read_parquet if path.suffix.lower() in SUFFIXES else _read_csv
    return read(path, columns, more, limits)


def _select_columns(
    path: Path, columns: DecisionColumns, more: Sequence[str], names: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    found = columns.find(path, names)
    columns_of_features = () if "features" in found else columns.named
    wanted = list(dict.fromkeys([*found.values(), *columns_of_features, *more]))
    for name in wanted:
        if name not in names:
            raise missing_column(path, name, names)
        if list(names).count(name) > 1:
            raise BadData(f"{path}: two columns {name!r}")
    return found, wanted


def _read_csv(
    path: Path, columns: DecisionColumns, more: Sequence[str], limits: UnpackLimits
) -> DecisionTable:
    found: dict[str, str] = {}

    def choose(names: Sequence[str]) -> list[str]:
        fields, wanted = _select_columns(path, columns, more, names)
        found.update(fields)
        return wanted

    table = read_csv(path, choose, limits)
    return DecisionTable(
        dict(zip(table.column_names, table, strict=True)), found, csv_input.place_in(path)
    )


def read_csv(
    path: Path, choose: Callable[[Sequence[str]], Sequence[str]], limits: UnpackLimits
) -> pa.Table:
    """Read columns of a CSV, plain or gzip, as text.

    Args:
        path: The file; `-` is standard input.
        choose: Returns the names of the columns to read of those that the file has.
        limits: How much it may unpack to.

    Raises:
        InputMissing: The file cannot be read.
        BadData: It is damaged, or a row has too few or too many fields.
    """
    with _text(path, limits) as text:
        separator = csv_input.separator_of(text)
        wanted = list(choose(csv_input.column_names(text, path, separator)))
        content = _content(text, path)
    return csv_input.read_table(
        content, path, wanted, separator=separator, on_bad_row=csv_input.refuse
    )


def _content(text: io.BufferedReader[Any], path: Path) -> pa.Buffer:
    """Read the rest of a text into memory, and refuse what is not UTF-8."""
    content, decode = pa.BufferOutputStream(), codecs.getincrementaldecoder("utf-8")().decode
    line = 1
    while True:
        chunk = text.read(_COPIED)
        try:
            decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            line += error.object[: error.start].count(b"\n")
            raise BadData(f"{path}: line {line}: not UTF-8 text") from error
        if not chunk:
            return content.getvalue()
        line += chunk.count(b"\n")
        content.write(chunk)


def _read_parquet(
    path: Path, columns: DecisionColumns, more: Sequence[str], limits: UnpackLimits
) -> DecisionTable:
    file = ParquetReader(path, limits=limits)
    found, wanted = _select_columns(path, columns, more, file.columns)
    batches = list(file.batches(wanted, _PARQUET_ROWS))
    table = pa.Table.from_batches(batches) if batches else None
    empty = pa.chunked_array([], pa.string())
    return DecisionTable(
        {name: empty if table is None else table[name] for name in wanted},
        found,
        partial(_row_place, path),
    )


def _row_place(path: Path, row: int) -> str:
    return f"{path}: row {row + 1}"


def _read_lines(
    path: Path, columns: DecisionColumns, more: Sequence[str], limits: UnpackLimits
) -> DecisionTable:
    with _text(path, limits) as text:
        numbered = list(_objects(path, text))
    numbers = [number for number, _ in numbered]
    names = list(dict.fromkeys(name for _, line in numbered for name in line))
    found, wanted = _select_columns(path, columns, more, names)
    place = partial(_line_place, path, numbers)
    objects = [found[each] for each in ("features", "candidate_features") if each in found]
    lines = [_with_text(line, objects) for _, line in numbered]
    return DecisionTable({name: _line_column(lines, name, place) for name in wanted}, found, place)


def _line_place(path: Path, numbers: Sequence[int], row: int) -> str:
    return f"{path}: line {numbers[row]}"


def _with_text(line: dict[str, Any], objects: Sequence[str]) -> dict[str, Any]:
    """Return a line whose objects of features are JSON text, as in a column of a table."""
    values = {name: line[name] for name in objects if isinstance(line.get(name), dict)}
    return line | {name: _encode(value).decode() for name, value in values.items()}


_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def _objects(path: Path, text: io.BufferedReader[Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text, 1):
        if not line.strip():
            continue
        try:
            yield number, _decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadData(f"{path}: line {number}: {error}") from error


def _line_column(lines: Sequence[dict[str, Any]], name: str, place: Any) -> pa.ChunkedArray:
    """Make a column of text: numbers are written out, lists as JSON arrays."""
    values = (_as_text(line.get(name), name, partial(place, row)) for row, line in enumerate(lines))
    return pa.chunked_array([pa.array(values, pa.string())])


def _as_text(value: Any, name: str, place: Callable[[], str]) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return msgspec.json.encode(value).decode()
    if isinstance(value, bool | int | float):
        return repr(value)
    raise BadData(f"{place()}: {name} is an object, expected text, a number or an array")


@contextmanager
def _text(path: Path, limits: UnpackLimits) -> Iterator[io.BufferedReader[Any]]:
    with open_input(path) as file:
        yield csv_input.text_of(HashingReader(file), path, limits)
