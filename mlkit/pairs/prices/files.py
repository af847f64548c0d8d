"""Price files as they stand: CSV or Parquet, wide or long, brought into one grid of cells."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlkit.errors import BadData, InputMissing

DATE_NAMES = ("date", "datetime", "timestamp", "time")
TICKER_NAMES = ("ticker", "symbol")
FIELD_NAMES = {
    "adj close": "adjusted",
    "adj_close": "adjusted",
    "adjusted": "adjusted",
    "adjusted_close": "adjusted",
    "close": "close",
    "dividend": "dividends",
    "dividends": "dividends",
    "high": "high",
    "low": "low",
    "open": "open",
    "volume": "volume",
}
NULLS = ["", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "None"]
ISO_HINT = "dates are ISO 8601, such as 2022-12-28 or 2022-12-28T15:30:00-05:00"


@dataclass(frozen=True)
class Lines:
    """A file's cells, line by line, before they are put in order.

    Attributes:
        source: The name that errors give the file.
        content_hash: SHA-256 of the file's bytes.
        timestamps: datetime64[ns], shape (lines,); instants in UTC if `timezone` is set.
        timezone: The zone's name or offset, None for timestamps without one.
        tickers: The tickers, in the order of the file.
        ticker: Long files: the position in `tickers` of each line, shape (lines,).
            Wide files: None.
        fields: `close`, `open`, ... of shape (lines,) in long files, (lines, tickers) in wide
            ones; NaN where a cell is blank.
        first_row: The row that errors give line 0: a CSV file has its header in row 1.
    """

    source: str
    content_hash: str
    timestamps: NDArray[np.datetime64]
    timezone: str | None
    tickers: tuple[str, ...]
    ticker: NDArray[np.intp] | None
    fields: dict[str, NDArray[np.float64]]
    first_row: int


def load(path: str | Path) -> Lines:
    """Read the cells of a price file; `-` is standard input.

    The content decides how it is read, not the name: Parquet, or CSV, plain or gzipped. A
    file with a column `ticker` (or `symbol`) is long, any other is wide.

    Raises:
        InputMissing: The file cannot be read.
        BadData: A cell, a line or the header cannot be understood.
    """
    source = "standard input" if str(path) == "-" else str(path)
    content = _content(path)
    digest = hashlib.sha256(content).hexdigest()
    if content[:4] == b"PAR1":
        table, first_row = _parquet(content, source), 1
    else:
        table, first_row = _csv(_unzipped(content, source), source), 2
    return _lines(table, source, digest, first_row)


def _content(path: str | Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else Path(path).read_bytes()
    except OSError as error:
        raise InputMissing(f"{path}: cannot be read: {error.strerror}") from error


def _unzipped(content: bytes, source: str) -> bytes:
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise BadData(f"{source}: broken gzip file: {error}") from error


def _parquet(content: bytes, source: str) -> Any:
    import pyarrow.parquet as pq

    try:
        return pq.read_table(io.BytesIO(content))
    except pa.ArrowException as error:
        raise BadData(f"{source}: broken Parquet file: {error}") from error


def _csv(content: bytes, source: str) -> Any:
    """Read CSV with every cell as text, so that a bad one can be shown as it stands."""
    from pyarrow import csv

    content = content.strip(b" \r\n")
    if not content:
        raise BadData(f"{source}: the file is empty")
    names = _header(content, source)
    types = dict.fromkeys(names, pa.string())
    try:
        return csv.read_csv(
            io.BytesIO(content + b"\n"),
            csv.ReadOptions(use_threads=False, column_names=names, skip_rows=1),
            csv.ParseOptions(ignore_empty_lines=False),
            csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=NULLS),
        )
    except pa.ArrowException as error:
        raise BadData(f"{source}: {error}") from error


def _header(content: bytes, source: str) -> list[str]:
    import csv

    line = content.split(b"\n", 1)[0]
    try:
        names = [name.strip() for name in next(csv.reader([line.decode("utf-8-sig")]))]
    except UnicodeDecodeError as error:
        raise BadData(f"{source}: row 1: not UTF-8 text: {error}") from error
    for position, name in enumerate(names):
        if name in names[:position]:
            raise BadData(f"{source}: row 1: column '{name}' stands there twice")
        if not name and position:
            raise BadData(f"{source}: row 1: column {position + 1} has no name")
    return names


def _lines(table: Any, source: str, digest: str, first_row: int) -> Lines:
    date = _date_column(table, source)
    if len(table) == 0:
        raise BadData(f"{source}: there are no prices below the header")
    timestamps, timezone = _timestamps(table.column(date), source, first_row)
    others = [name for name in table.column_names if name != date]
    reader = _long if any(name.lower() in TICKER_NAMES for name in others) else _wide
    tickers, ticker, fields = reader(table.select(others), source, first_row)
    return Lines(source, digest, timestamps, timezone, tickers, ticker, fields, first_row)


def _date_column(table: Any, source: str) -> str:
    names: list[str] = table.column_names
    named = [name for name in names if name.lower() in DATE_NAMES]
    temporal = [field.name for field in table.schema if pa.types.is_temporal(field.type)]
    unnamed = [name for name in names[:1] if not name]  # pandas writes a nameless index so
    found = named + temporal + unnamed
    if not found or len(names) < 2:
        seen = ", ".join(names[:6])
        hint = "name it 'date'; wide files have a column a ticker, long ones date, ticker, close"
        if len(names) == 1 and any(mark in seen for mark in ";\t|"):
            hint = "separate the columns by commas"
        raise BadData(f"{source}: no column of dates among: {seen}", hint=hint)
    return str(found[0])


def _timestamps(
    column: Any, source: str, first_row: int
) -> tuple[NDArray[np.datetime64], str | None]:
    if column.null_count:
        line = pc.index(pc.is_null(column), True).as_py()
        raise BadData(f"{source}: row {line + first_row}: there is no date", hint=ISO_HINT)
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if text:
        return _parsed_times(column, source, first_row)
    if not pa.types.is_temporal(column.type):
        raise BadData(f"{source}: dates of type {column.type} are ambiguous", hint=ISO_HINT)
    zone = getattr(column.type, "tz", None)
    try:
        column = column.cast(pa.timestamp("ns", tz=zone))
    except pa.ArrowException as error:
        raise BadData(f"{source}: dates of type {column.type}: {error}") from error
    return _moments(column), zone


def _parsed_times(
    column: Any, source: str, first_row: int
) -> tuple[NDArray[np.datetime64], str | None]:
    column = pc.utf8_trim_whitespace(column)
    for kind in (pa.timestamp("ns"), pa.timestamp("ns", tz="UTC")):
        try:
            times = _moments(column.cast(kind))
        except pa.ArrowInvalid:
            continue
        return times, None if kind.tz is None else _zone(column)
    zoned = pc.match_substring_regex(column, _OFFSET)
    mixed = pc.any(zoned).as_py() and not pc.all(zoned).as_py()
    for line, text in enumerate(column.to_pylist()):
        if not _is_time(text, zoned=bool(zoned[0].as_py()) if mixed else None):
            what = "with and without a zone" if mixed and _is_time(text) else "not a date"
            raise BadData(f"{source}: row {line + first_row}: '{text}': {what}", hint=ISO_HINT)
    raise BadData(f"{source}: the dates cannot be read", hint=ISO_HINT)


_OFFSET = r"(Z|[0-9][+-][0-9]{2}:?[0-9]{2})$"


def _is_time(text: str, *, zoned: bool | None = None) -> bool:
    kinds = {None: (None, "UTC"), False: (None,), True: ("UTC",)}[zoned]
    for zone in kinds:
        try:
            pa.scalar(text).cast(pa.timestamp("ns", tz=zone))
        except pa.ArrowInvalid:
            continue
        return True
    return False


def _zone(column: Any) -> str:
    """Name the zone of timestamps with offsets; several offsets are kept as UTC instants."""
    found = pc.extract_regex(column, r"(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})$")
    zones = set(pc.unique(pc.struct_field(found, "zone")).to_pylist())
    if zones == {"Z"} or len(zones) > 1:
        return "UTC"
    zone = str(zones.pop())
    return zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"


def _wide(
    table: Any, source: str, first_row: int
) -> tuple[tuple[str, ...], None, dict[str, NDArray[np.float64]]]:
    names = tuple(table.column_names)
    close = np.empty((len(table), len(names)))
    for position, name in enumerate(names):
        close[:, position] = _numbers(table.column(position), source, first_row, name)
    return names, None, {"close": close}


def _long(
    table: Any, source: str, first_row: int
) -> tuple[tuple[str, ...], NDArray[np.intp], dict[str, NDArray[np.float64]]]:
    name = next(each for each in table.column_names if each.lower() in TICKER_NAMES)
    column = table.column(name).cast(pa.string())
    if column.null_count:
        line = pc.index(pc.is_null(column), True).as_py()
        raise BadData(f"{source}: row {line + first_row}: there is no ticker")
    coded = pc.utf8_trim_whitespace(column).combine_chunks().dictionary_encode()
    fields = {
        FIELD_NAMES[each.lower()]: _numbers(table.column(each), source, first_row, each)
        for each in table.column_names
        if each.lower() in FIELD_NAMES
    }
    if not fields.keys() & {"close", "adjusted"}:
        raise BadData(f"{source}: no column 'close'", hint="long files: date, ticker, close")
    codes = _array(coded.indices.cast(pa.int64())).astype(np.intp)
    return tuple(coded.dictionary.to_pylist()), codes, fields


def _numbers(column: Any, source: str, first_row: int, name: str) -> NDArray[np.float64]:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.utf8_trim_whitespace(column)
    try:
        cells = column.cast(pa.float64())
    except pa.ArrowException as error:
        raise _bad_number(column, source, first_row, name) from error
    if cells.null_count == 0:
        return _array(cells)
    return np.where(_array(pc.is_valid(cells).cast(pa.int8())), _array(cells), np.nan)


def _moments(times: Any) -> NDArray[np.datetime64]:
    return _array(times.cast(pa.int64())).astype("datetime64[ns]")


def _array(column: Any) -> NDArray[Any]:
    """Give 64-bit or 8-bit numbers as NumPy has them; what a null holds is undefined.

    pyarrow's own conversions import pandas, which takes longer than reading most files.
    """
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    size = flat.type.bit_width // 8
    kind = flat.type.to_pandas_dtype()
    return np.frombuffer(flat.buffers()[1], kind, len(flat), flat.offset * size)


def _bad_number(column: Any, source: str, first_row: int, name: str) -> BadData:
    for line, cell in enumerate(column.to_pylist()):
        try:
            pa.scalar(cell).cast(pa.float64())
        except pa.ArrowException:
            place = f"{source}: row {line + first_row}, column '{name}'"
            return BadData(f"{place}: '{cell}' is not a number", hint="write 1234.5")
    return BadData(f"{source}: column '{name}' of type {column.type} holds no numbers")
