"""Price files into parsed rows: each sheet by its layout, all of them joined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlkit.errors import BadData, UsageError
from mlkit.pairs.prices import cell_currencies, splits, text, vendors, workbook
from mlkit.pairs.prices.cell_currencies import list_currencies
from mlkit.pairs.prices.currencies import NotInCurrency
from mlkit.pairs.prices.dates import Times, timestamps
from mlkit.pairs.prices.join import join
from mlkit.pairs.prices.layouts import Cells, Layout, recognise
from mlkit.pairs.prices.numbers import numbers, to_numpy
from mlkit.pairs.prices.reading import ParsedRows, Places, Reading, Sheet
from mlkit.pairs.prices.sources import Document, Found
from mlkit.parquet import MAGIC, ParquetReader

Codes = tuple[tuple[str, ...], NDArray[np.intp] | None]


def parse(found: Found, reading: Reading) -> ParsedRows:
    """Read the cells of price files.

    The content decides how each is read, not its name: Parquet, a workbook, or delimited text.

    Raises:
        BadData: A cell, a line or the header cannot be understood.
        UsageError: The options do not fit the files.
    """
    sheets = [sheet for each in found.documents for sheet in _sheets(each, reading)]
    return parse_sheets(sheets, reading, found.name)


def parse_sheets(sheets: Iterable[Sheet], reading: Reading, name: str) -> ParsedRows:
    """Read sheets by their layouts, and join them."""
    others: list[NotInCurrency] = []
    parts = [part for sheet in sheets for part in _parts(sheet, reading, others)]
    if others and not parts:
        raise others[0]
    if reading.ticker is not None:
        _require_one_ticker(parts, reading.ticker, name)
    rows = join(parts, name)
    left = [f"{name}: {len(others)} tables in other currencies left out"] if others else []
    return replace(rows, notes=(*rows.notes, *left))


def _require_one_ticker(parts: list[ParsedRows], ticker: str, name: str) -> None:
    """Refuse `--ticker` for files of several tickers, or that overlap, as several tickers would."""
    hint = "it names the ticker of a file of bars, or of files that follow one another"
    if {each for part in parts for each in part.tickers} != {ticker}:
        raise UsageError(f"--ticker {ticker}: {name} names its tickers itself", hint=hint)
    spans = sorted((part.timestamps.min(), part.timestamps.max()) for part in parts)
    if any(after[0] <= before[1] for before, after in pairwise(spans)):
        wrong = f"--ticker {ticker}: {name} holds {len(parts)} tables that overlap in time"
        raise UsageError(wrong, hint=hint)


def _sheets(document: Document, reading: Reading) -> list[Sheet]:
    source, stem, content = document
    if content[:4] == MAGIC:
        return [from_table(ParquetReader(content, source, reading.limits).table(), source, stem)]
    if content[:4] == b"PK\x03\x04":
        return workbook.sheets(content, source, stem, reading.limits)
    return [text.sheet(content, source, stem, reading.encoding)]


def from_table(table: Any, source: str, stem: str) -> Sheet:
    """Return an Arrow table as a sheet; an index that pandas left nameless has no name."""
    names = [("" if each.startswith("__index_level_") else each,) for each in table.column_names]
    columns = [plain_text(each) for each in table.columns]
    order = sorted(range(len(names)), key=lambda each: names[each] != ("",))
    return Sheet(
        source, stem, [names[each] for each in order], [columns[each] for each in order], 1
    )


def plain_text(column: Any) -> Any:
    """Return a column whose text is of Arrow's plain kind."""
    kind = column.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    return column


def _parts(sheet: Sheet, reading: Reading, others: list[NotInCurrency]) -> Iterator[ParsedRows]:
    """Read a sheet's tables; those without prices in the currency asked for go to `others`."""
    names = [each for path in sheet.header for each in path[-1:]]
    vendors.refuse_ticks(sheet.source, names)
    try:
        layouts = recognise(sheet, reading)
    except NotInCurrency as error:
        others.append(error)
        return
    if len(sheet) == 0:
        raise BadData(f"{sheet.source}: there are no prices below the header")
    for layout in layouts:
        table = _crop(sheet, layout) if len(layouts) > 1 else sheet
        try:
            table, layout = cell_currencies.select(table, layout, reading)
        except NotInCurrency as error:
            others.append(error)
            continue
        yield _part(table, layout, reading)


def _crop(sheet: Sheet, layout: Layout) -> Sheet:
    """Cut a table beside longer ones to its own lines."""
    dates = sheet.text(layout.dates[0])
    blank = pc.index(pc.is_null(dates), True).as_py()
    stop = len(sheet) if blank < 0 else blank
    columns = [each.slice(0, stop) for each in sheet.columns]
    return Sheet(sheet.source, sheet.stem, sheet.header, columns, sheet.first_row,
                 sheet.title, sheet.delimiter)  # fmt: skip


def _part(sheet: Sheet, layout: Layout, reading: Reading) -> ParsedRows:
    times = timestamps(sheet, layout.dates, reading)
    rows = sheet.row_numbers()
    tickers, codes = _tickers(sheet, layout)
    currencies = list_currencies(sheet, layout, tickers, codes)
    fields = _fields(sheet, layout, reading, tickers)
    if layout.fields is not None:
        names = _flat(sheet.text(layout.fields))
        if codes is None:
            line, codes = _cross(len(sheet), len(tickers))
            times = times._replace(moments=times.moments[line])
            rows, names = rows[line], names.take(pa.array(line))
            fields = {name: each.reshape(-1) for name, each in fields.items()}
        times, rows, codes, fields = _pivot(sheet.source, names, times, rows, codes, fields)
    places = Places((sheet.source,), np.zeros(len(rows), np.intp), rows)
    return ParsedRows(
        sheet.source, times.moments, times.timezone, tickers, codes, fields, places,
        currencies, _notes(sheet, layout, times),
    )  # fmt: skip


def _notes(sheet: Sheet, layout: Layout, times: Times) -> tuple[str, ...]:
    said = [each for each in (layout.note, times.note, *dict.fromkeys(sheet.notes)) if each]
    return ("; ".join(said),) if said else ()


def _tickers(sheet: Sheet, layout: Layout) -> Codes:
    if layout.ticker is None:
        return tuple(dict.fromkeys(str(each.ticker) for each in layout.cells)), None
    column = sheet.text(layout.ticker)
    if column.null_count:
        line = pc.index(pc.is_null(column), True).as_py()
        raise BadData(f"{sheet.place(line)}: there is no ticker")
    coded = _flat(column).dictionary_encode()
    codes = to_numpy(coded.indices.cast(pa.int64())).astype(np.intp)
    return tuple(coded.dictionary.to_pylist()), codes


def _flat(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _fields(
    sheet: Sheet, layout: Layout, reading: Reading, tickers: tuple[str, ...]
) -> dict[str, NDArray[np.float64]]:
    """Read the numbers: shape (lines,) where lines have a ticker, else (lines, tickers)."""
    ratios = [each for each in layout.cells if each.field == "splits"]
    plain = [each for each in layout.cells if each.field != "splits"]
    found = numbers(sheet, [each.column for each in plain], reading.decimal)
    values = [*(_without_placeholder(sheet, *each) for each in zip(plain, found, strict=True)),
              *(splits.ratios(sheet, each.column) for each in ratios)]  # fmt: skip
    cells = [*plain, *ratios]
    if layout.ticker is not None:
        return {each.field: value for each, value in zip(cells, values, strict=True)}
    fields = {each.field: np.full((len(sheet), len(tickers)), np.nan) for each in cells}
    position = {name: i for i, name in enumerate(tickers)}
    for each, value in zip(cells, values, strict=True):
        fields[each.field][:, position[str(each.ticker)]] = value
    return fields


def _without_placeholder(
    sheet: Sheet, cells: Cells, values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Take volumes of -1, which Interactive Brokers writes where it has none, as missing."""
    unknown = values == -1.0
    if cells.field != "volume" or not unknown.any():
        return values
    sheet.notes.append("volumes of -1 taken as missing")
    return np.where(unknown, np.nan, values)


def _cross(lines: int, tickers: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return line and ticker of each cell of a table, row by row."""
    return np.repeat(np.arange(lines), tickers), np.tile(np.arange(tickers), lines)


def _pivot(
    source: str, kinds: Any, times: Times, rows: NDArray[np.int64], codes: NDArray[np.intp],
    fields: dict[str, NDArray[np.float64]],
) -> tuple[Times, NDArray[np.int64], NDArray[np.intp], dict[str, NDArray[np.float64]]]:  # fmt: skip
    """Bring lines of one field each together, a line per ticker and timestamp."""
    names = kinds.dictionary_encode()
    which = to_numpy(pc.fill_null(names.indices.cast(pa.int64()), -1))
    keys = np.stack([times.moments.astype(np.int64), codes])
    unique, first, line = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    spread: dict[str, NDArray[np.float64]] = {}
    for position, name in enumerate(names.dictionary.to_pylist()):
        if field := vendors.field(name, ["open", "high", "low"]):
            here = which == position
            spread[field] = np.full(unique.shape[1], np.nan)
            spread[field][line.reshape(-1)[here]] = fields[""][here]
            if np.bincount(line.reshape(-1)[here]).max(initial=0) > 1:
                raise BadData(f"{source}: '{name}' of a ticker and date appears twice")
    if not {"close", "adjusted"} & spread.keys():
        raise BadData(f"{source}: no field 'close'", hint="a row per date, ticker and field")
    order = np.sort(first)
    at = np.argsort(first)
    spread = {name: each[at] for name, each in spread.items()}
    return (
        times._replace(moments=times.moments[order], walls=None),
        rows[order],
        codes[order],
        spread,
    )
