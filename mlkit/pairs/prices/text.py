"""Delimited text as a sheet: delimiters, header rows, titles and footers."""

from __future__ import annotations

import csv
from typing import NamedTuple

import pyarrow as pa

from mlkit.errors import BadData
from mlkit.pairs.prices.dates import looks_like_date
from mlkit.pairs.prices.encodings import to_utf8
from mlkit.pairs.prices.reading import Sheet
from mlkit.pairs.prices.vendors import DATE_NAMES, TICKER_NAMES, field, plain

DELIMITERS = "\t;|,"
HEAD, TAIL = 60, 15
"""Lines in which a header, and a footer, are looked for."""

Rows = list[list[str]]


class Head(NamedTuple):
    """What the first lines show: the delimiter, and the position of the first line of data."""

    delimiter: str
    rows: Rows
    data: int | None


def sheet(content: bytes, source: str, stem: str, encoding: str | None = None) -> Sheet:
    """Read delimited text; every cell stays text, so that a bad one can be shown unchanged.

    Raises:
        BadData: It is not text, empty, of another kind, or its lines have different lengths.
        UsageError: There is no such encoding.
    """
    content, note = to_utf8(content, source, encoding)
    content = content.strip(b" \r\n")
    _require_table(content, source)
    head = _head(content)
    title, header = _header(head)
    first = len(head.rows) if head.data is None else head.data
    if header and head.data is None:
        first = len(title) + len(header)
    width = max((len(row) for row in head.rows[len(title) : first + 1]), default=1)
    body, footer = _without_footer(content, head.delimiter, first, width)
    columns = _columns(body, head.delimiter, first, width, source)
    names = [tuple(row[each].strip() if each < len(row) else "" for row in header)
             for each in range(width)]  # fmt: skip
    found = Sheet(source, stem, names if header else [], columns, first + 1, title, head.delimiter)
    if note:
        found.notes.append(note)
    if title:
        found.notes.append(f"{_lines(len(title))} above the header passed over")
    if footer:
        found.notes.append(f"{_lines(footer)} below the data passed over")
    return found


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"


def _require_table(content: bytes, source: str) -> None:
    if not content:
        raise BadData(f"{source}: the file is empty")
    start = content[:200].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise BadData(f"{source}: a web page or XML, not a table", hint="download it as CSV")
    if start.startswith((b"{", b'[{"', b"[[")):
        raise BadData(f"{source}: JSON, not a table", hint="download it as CSV")


def _head(content: bytes) -> Head:
    """Find the delimiter: the one that leaves a line with a date and other cells."""
    lines = content.split(b"\n", HEAD)[:HEAD] if b"\n" in content else content.split(b"\r", HEAD)
    text = [line.decode().rstrip("\r") for line in lines[:HEAD]]
    heads = [Head(mark, rows, _first_data(rows)) for mark in DELIMITERS
             for rows in (_split(text, mark),)]  # fmt: skip
    found = [head for head in heads if head.data is not None]
    if found:
        return found[0]
    return max(reversed(heads), key=lambda head: len(head.rows[0]))


def _split(lines: list[str], delimiter: str) -> Rows:
    try:
        return [next(csv.reader([line], delimiter=delimiter), []) for line in lines]
    except csv.Error:
        return [line.split(delimiter) for line in lines]


def _first_data(rows: Rows) -> int | None:
    """Return the first row with a date among its first cells, and something beside it."""
    for position, row in enumerate(rows):
        cells = [each for each in row if each.strip()]
        named = any(plain(each) in DATE_NAMES for each in row)
        reach = max(map(_reach, rows[max(position - 2, 0) : position]), default=1)
        if len(cells) > 1 and not named and any(map(looks_like_date, row[:reach])):
            return position
    return None


def _reach(header: list[str]) -> int:
    """Return how many cells may hold the date: up to the named one, else the first.

    Of an index without names the second level may, below tickers.
    """
    named = [i for i, each in enumerate(header) if plain(each) in DATE_NAMES]
    if named:
        return named[0] + 1
    return 2 if len(header) > 2 and not any(map(str.strip, header[:2])) else 1


def _header(head: Head) -> tuple[Rows, Rows]:
    """Part the rows above the data into a title and one or two header rows."""
    rows, data = head.rows, head.data
    if data is None:
        return [], rows[:1]
    if data == 0:
        return [], []
    last = data - 1
    index_name = _is_index_name(rows[last], len(rows[data])) and last >= 2
    if index_name:
        last -= 1
    first = last - 1 if last >= 1 and _is_level(rows[last - 1], rows[last], index_name) else last
    header = [list(row) or [""] for row in rows[first : last + 1]]
    if len(header) == 2:
        header[0] = _fill(header[0], header[1])
    if index_name:
        name = rows[data - 1][0]
        header[-1][0], header[0][0] = name, ""
    return rows[:first], header


def _is_index_name(row: list[str], width: int) -> bool:
    """Return whether a row holds nothing but the name of an index, as pandas writes it."""
    return len(row) == width and bool(row[0].strip()) and not any(map(str.strip, row[1:]))


def _is_level(above: list[str], row: list[str], index_name: bool) -> bool:
    """Return whether a row is a second header row rather than a title."""
    if index_name:
        return True
    named = [each for each in above[1:] if each.strip() and plain(each) not in DATE_NAMES]
    fields = ["open", "high", "low"]
    below = [each for each in row[1:] if each.strip()]
    if not named or not below or len(above) > len(row):
        return False
    dates = [each for each in row if plain(each) in DATE_NAMES]
    upper = sum(field(each, fields) is not None for each in named)
    lower = sum(field(each, fields) is not None for each in below)
    if len(dates) > 1:
        return True
    return upper == len(named) or (lower == len(below) and len(named) > 1) or _codes(row)


def _codes(row: list[str]) -> bool:
    return plain(row[0]) in TICKER_NAMES


def _fill(above: list[str], row: list[str]) -> list[str]:
    """Repeat a header cell over the blank ones on its right, which spreadsheets merge."""
    if any(plain(each) in DATE_NAMES for each in row[1:]):
        return above
    last, filled = "", list(above[:1])
    for cell in above[1:]:
        last = cell.strip() or last
        filled.append(last)
    return filled


def _without_footer(content: bytes, delimiter: str, first: int, width: int) -> tuple[bytes, int]:
    """Drop lines at the end whose only cell is not a date, such as a source or a count."""
    data = _offset(content, first)
    end, dropped = len(content), 0
    for _ in range(TAIL if width > 1 else 0):
        start = content.rfind(b"\n", 0, end) + 1
        cells = _cells(content[start:end], delimiter)
        filled = [each for each in cells if each]
        remark = len(filled) == 1 and bool(cells[0]) and not looks_like_date(cells[0])
        if start <= data or (filled and not remark):
            break
        dropped += bool(filled)
        end = start - 1
    return content[:end], dropped


def _offset(content: bytes, line: int) -> int:
    """Return where a line begins."""
    start = 0
    for _ in range(line):
        start = content.find(b"\n", start) + 1
        if not start:
            return len(content)
    return start


def _cells(line: bytes, delimiter: str) -> list[str]:
    text = line.decode(errors="replace").strip("\r")
    return [each.strip().strip('"') for each in text.split(delimiter)]


def _columns(
    body: bytes, delimiter: str, first: int, width: int, source: str
) -> list[pa.ChunkedArray]:
    from pyarrow import csv as arrow

    names = [str(each) for each in range(width)]
    try:
        table = arrow.read_csv(
            pa.BufferReader(body + b"\n"),  # no file of Python for a thread of Arrow to drop
            arrow.ReadOptions(use_threads=False, column_names=names, skip_rows=first),
            arrow.ParseOptions(delimiter=delimiter, ignore_empty_lines=False),
            arrow.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=True, null_values=[""], quoted_strings_can_be_null=True,
            ),
        )  # fmt: skip
    except pa.ArrowException as error:
        raise BadData(f"{source}: {error}") from error
    return list(table.columns)
