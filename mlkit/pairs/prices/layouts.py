"""Which columns of a sheet are dates, tickers and prices: the layouts that people have."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from mlkit.errors import BadData, UsageError
from mlkit.pairs.prices.currencies import in_currency, of_currency
from mlkit.pairs.prices.dates import looks_like_date
from mlkit.pairs.prices.reading import Reading, Sheet
from mlkit.pairs.prices.vendors import (
    CURRENCY_NAMES,
    DATE_NAMES,
    FIELD_COLUMN_NAMES,
    KLINES,
    LONG_TICKER_NAMES,
    TICKER_NAMES,
    VALUE_NAMES,
    is_other,
    plain,
    side,
    ticker_of,
    vendor,
)
from mlkit.pairs.prices.vendors import field as field_of

NO_DATES_HINT = "name it 'date'; wide files have a column per ticker, long ones date, ticker, close"


class Cells(NamedTuple):
    """A column of numbers: its position, its field, and its ticker if the column has one."""

    column: int
    field: str
    ticker: str | None


@dataclass(frozen=True)
class Layout:
    """Where a sheet holds what.

    Attributes:
        dates: The column of dates, and one of times of day if they are apart.
        cells: The columns of numbers.
        ticker: The column of tickers, where each line has one.
        currency: The column of currencies.
        money: The currency of all its prices, where the header names it.
        fields: The column that names each line's field, where lines have one number each.
        note: What the sheet was read as; None for plain wide and long ones.
    """

    dates: tuple[int, ...]
    cells: tuple[Cells, ...]
    ticker: int | None = None
    currency: int | None = None
    money: str | None = None
    fields: int | None = None
    note: str | None = None


def recognise(sheet: Sheet, reading: Reading) -> list[Layout]:
    """Find the layout of a sheet; several for tables that stand side by side.

    Raises:
        BadData: There are no dates or no prices, or the columns can be read in two ways.
        UsageError: The format asked for does not fit.
    """
    if not sheet.header or reading.format == "klines":
        return [_klines(sheet, reading)]
    paths = [_path(each) for each in sheet.header]
    names = [path[-1] if path else "" for path in paths]
    if beside := _side_by_side(sheet, names):
        return beside
    dates = _date_columns(sheet, names)
    rest = [each for each in range(len(names)) if each not in dates]
    _require_names(sheet, paths, rest)
    if any(len(path) > 1 for path in paths) and reading.format is None:
        multi = _multi(sheet, dates, rest, paths)
        _require_one_side(sheet, multi)
        return [multi]
    names = [path[-1] if path else "" for path in paths]
    if reading.format != "wide":
        _of_side(sheet, rest, names)
    money, rest = of_currency(sheet, rest, names, reading)
    found = _by_format(sheet, dates, rest, names, reading)
    if reading.format != "wide":
        _require_one_side(sheet, found)
    return [replace(found, currency=_first(rest, names, CURRENCY_NAMES), money=money)]


def _path(header: tuple[str, ...]) -> tuple[str, ...]:
    """Return a column's names from top to bottom; pandas writes a tuple as its text."""
    path = tuple(each.strip() for each in header)
    while path and not path[-1]:
        path = path[:-1]
    if len(path) == 1 and path[0].startswith("('"):
        try:
            levels = ast.literal_eval(path[0])
        except (ValueError, SyntaxError):
            return path
        return tuple(str(each) for each in levels if each != "")
    return path


def _of_side(sheet: Sheet, rest: list[int], names: list[str]) -> None:
    """Read `close (bid)` as a close where all fields are of one side; refuse two sides."""
    sided = {each: found for each in rest if (found := side(names[each]))}
    fields = {each: found for each, found in sided.items() if field_of(found[1], [])}
    by_side = {found[0]: each for each, found in fields.items()}
    if len(by_side) > 1:
        raise _two_sides(sheet, [names[each] for each in by_side.values()])
    for column, (_, name) in fields.items():
        names[column] = name
    if fields:
        sheet.notes.append(f"{next(iter(by_side))} prices")


def _require_one_side(sheet: Sheet, layout: Layout) -> None:
    """Refuse columns that are tickers but for being the bid and the ask of one."""
    seen: dict[tuple[str, str], Cells] = {}
    for each in layout.cells:
        if each.ticker is None or (found := side(each.ticker)) is None:
            continue
        other = seen.setdefault((each.field, found[1]), each)
        if side(str(other.ticker)) != found:
            raise _two_sides(sheet, [str(other.ticker), each.ticker])


def _two_sides(sheet: Sheet, names: list[str]) -> BadData:
    both = " and ".join(f"'{each}'" for each in names[:2])
    return BadData(
        f"{sheet.source}: columns {both} may be two sides of one ticker's prices, or two tickers",
        hint="keep the columns of one side, or --format wide takes each column as a ticker",
    )


def _first(columns: list[int], names: list[str], wanted: tuple[str, ...]) -> int | None:
    for name in wanted:
        for column in columns:
            if plain(names[column]) == name:
                return column
    return None


def _date_columns(sheet: Sheet, names: list[str]) -> tuple[int, ...]:
    every = list(range(len(names)))
    temporal = [each for each in every if pa.types.is_temporal(sheet.columns[each].type)]
    named = _first(every, names, DATE_NAMES)
    nameless = _nameless_index(sheet, names)
    found = [*([] if named is None else [named]), *temporal, *nameless]
    if not found or len(names) < 2:
        seen = ", ".join(names[:6])
        hint = NO_DATES_HINT if len(names) > 1 else "separate the columns by commas"
        raise BadData(f"{sheet.source}: no column of dates among: {seen}", hint=hint)
    date = found[0]
    clock = _first([each for each in every if each != date], names, ("time", "time of day"))
    if (
        clock is None
        or plain(names[date]) == "time"
        or pa.types.is_temporal(sheet.columns[date].type)
    ):
        return (date,)
    return (date, clock)


def _nameless_index(sheet: Sheet, names: list[str]) -> list[int]:
    """Return the dates of an index that pandas left nameless: its first level, or its second."""
    levels = [each for each in (0, 1) if each < len(names) - 1 and not any(names[: each + 1])]
    dated = [
        each for each in levels if len(sheet) and looks_like_date(sheet.text(each)[0].as_py() or "")
    ]
    return (dated or levels)[:1]


def _require_names(sheet: Sheet, paths: list[tuple[str, ...]], rest: list[int]) -> None:
    """Refuse columns without a name, unless they are blank, and names that appear twice."""
    seen = set()
    for column in list(rest):
        path = paths[column]
        if column == 0 and _is_row_number(sheet, path):
            rest.remove(column)
            continue
        if not path and column <= 1 and _is_text(sheet, column):
            paths[column] = ("ticker",)  # the other level of an index that pandas wrote
        elif not path and len(sheet) and sheet.columns[column].null_count == len(sheet):
            rest.remove(column)
        elif not path:
            raise BadData(
                f"{sheet.source}: row {_header_row(sheet)}: column {column + 1} has no name"
            )
        elif path in seen and in_currency(path[-1]) and _is_repeated(sheet, paths, column):
            rest.remove(column)  # Alpha Vantage writes dollars twice where the market is in dollars
        elif path in seen:
            name = " ".join(path)
            raise BadData(
                f"{sheet.source}: row {_header_row(sheet)}: column '{name}' appears twice"
            )
        seen.add(path)


def _is_repeated(sheet: Sheet, paths: list[tuple[str, ...]], column: int) -> bool:
    first = paths.index(paths[column])
    return bool(sheet.columns[first].equals(sheet.columns[column]))


def _is_row_number(sheet: Sheet, path: tuple[str, ...]) -> bool:
    """Return whether a first column only numbers the rows, as pandas writes a plain index."""
    # Above an index, two header rows hold the names of the columns' levels.
    if len(path) == 1 and not plain(path[0]).startswith(("unnamed:", "index")):
        return False
    numbers = sheet.text(0).to_pylist()
    return len(sheet) > 0 and numbers == [str(each) for each in range(len(sheet))]


def _header_row(sheet: Sheet) -> int:
    return max(sheet.first_row - 1, 1)


def _is_text(sheet: Sheet, column: int) -> bool:
    """Return whether a column holds names, at least some that are not numbers."""
    if not pa.types.is_string(sheet.columns[column].type):
        return bool(pa.types.is_dictionary(sheet.columns[column].type))
    numeric = pc.match_substring_regex(sheet.text(column), r"^[-+\d.,' ]+([eE][-+]?\d+)?$")
    return pc.all(numeric).as_py() is False  # looking `False` up would import pandas


def _by_format(
    sheet: Sheet, dates: tuple[int, ...], rest: list[int], names: list[str], reading: Reading
) -> Layout:
    if reading.format == "wide":
        return _wide(dates, rest, names)
    fields = {each: field for each in rest if (field := field_of(names[each], names))}
    ticker = _ticker_column(rest, names, fields)
    kind = _field_column(sheet, rest, fields)
    if kind is not None and ticker in (None, kind) and reading.format != "bars":
        return _by_field(dates, rest, names, kind)
    if ticker is None and reading.format == "long":
        raise UsageError(f"{sheet.source}: no column of tickers", hint="name it 'ticker'")
    if ticker is not None and reading.format != "bars":
        return _long(sheet, dates, ticker, rest, names, fields)
    if reading.format == "bars" or _is_bars(sheet, rest, names, fields):
        return _bars(sheet, dates, rest, names, fields, reading)
    if split := _split_names(names, rest):
        cells = tuple(Cells(column, *split[column]) for column in rest)
        return Layout(dates, cells, note="columns named by ticker and field")
    return _wide(dates, rest, names)


def _wide(dates: tuple[int, ...], rest: list[int], names: list[str]) -> Layout:
    return Layout(dates, tuple(Cells(each, "close", names[each]) for each in rest))


def _ticker_column(rest: list[int], names: list[str], fields: dict[int, str]) -> int | None:
    sure = _first(rest, names, TICKER_NAMES)
    if sure is not None or not {"close", "adjusted"} & set(fields.values()):
        return sure
    return _first(rest, names, LONG_TICKER_NAMES)


def _field_column(sheet: Sheet, rest: list[int], fields: dict[int, str]) -> int | None:
    """Return the column that names each line's field, where no column is a close itself."""
    if {"close", "adjusted"} & set(fields.values()):
        return None
    for column in rest:
        if not _is_text(sheet, column):
            continue
        named = [each for each in pc.unique(sheet.text(column)).to_pylist() if each]
        found = [field_of(each, ["open", "high", "low"]) for each in named]
        known = all(one or is_other(name) for one, name in zip(found, named, strict=True))
        if known and {"close", "adjusted"} & set(found):
            return column
    return None


def _by_field(dates: tuple[int, ...], rest: list[int], names: list[str], kind: int) -> Layout:
    """Read a line per date and field with a column per ticker: yfinance's `stack(level=0)`."""
    cells = tuple(Cells(each, "", names[each]) for each in rest if each != kind)
    return Layout(dates, cells, fields=kind, note="a row per date and field, a column per ticker")


def _long(
    sheet: Sheet, dates: tuple[int, ...], ticker: int, rest: list[int], names: list[str],
    fields: dict[int, str],
) -> Layout:  # fmt: skip
    value, kind = _first(rest, names, VALUE_NAMES), _first(rest, names, FIELD_COLUMN_NAMES)
    if not {"close", "adjusted"} & set(fields.values()):
        if value is None or kind is None or kind == value:
            hint = "long files: date, ticker, close"
            raise BadData(f"{sheet.source}: no column 'close'", hint=hint)
        note = "a row per date, ticker and field"
        return Layout(dates, (Cells(value, "", None),), ticker, fields=kind, note=note)
    cells = tuple(Cells(each, field, None) for each, field in _once(sheet, fields, names))
    return Layout(dates, cells, ticker, note=vendor(names, many=True))


def _once(sheet: Sheet, fields: dict[int, str], names: list[str]) -> Iterator[tuple[int, str]]:
    """Yield each field's column; of two, the one with the standard name."""
    for field in dict.fromkeys(fields.values()):
        columns = [each for each, found in fields.items() if found == field]
        exact = [each for each in columns if plain(names[each]) == field]
        if len(columns) > 1 and len(exact) != 1:
            both = " and ".join(f"'{names[each]}'" for each in columns[:2])
            raise BadData(
                f"{sheet.source}: columns {both} both look like the field '{field}'",
                hint="remove one of them, or name one of them " + field,
            )
        yield (exact or columns)[0], field


def _is_bars(sheet: Sheet, rest: list[int], names: list[str], fields: dict[int, str]) -> bool:
    """Return whether the columns are the fields of one ticker, not tickers.

    LOW, OPEN, LAST and others are tickers too: without a close, or with nothing but a close beside
    columns that are none of a bar's, the reading is refused rather than guessed.
    """
    found = set(fields.values())
    other = [each for each in rest if each not in fields and not is_other(names[each])]
    closes = {"close", "adjusted"} & found
    beside = [each for each in other if not _is_text(sheet, each)]
    if closes and (closes < found or not beside):
        return True
    if not found or (not closes and other and len(found) < 3 and "volume" not in found):
        return False
    listed = ", ".join(names[each] for each in [*fields, *beside][:4])
    bar = "a bar's fields without a close" if not closes else "the close of one ticker"
    raise BadData(
        f"{sheet.source}: columns {listed} may be {bar}, or tickers",
        hint="choose one: --format bars or --format wide",
    )


def _bars(
    sheet: Sheet, dates: tuple[int, ...], rest: list[int], names: list[str],
    fields: dict[int, str], reading: Reading,
) -> Layout:  # fmt: skip
    if not {"close", "adjusted"} & set(fields.values()):
        raise BadData(f"{sheet.source}: no column 'close'", hint="bars: date, open, ..., close")
    name, origin = ticker_of(sheet, reading)
    left = [names[each] for each in rest if each not in fields and not is_other(names[each])]
    cells = tuple(Cells(each, field, name) for each, field in _once(sheet, fields, names))
    kind = vendor(names, many=False) or "bars"
    note = f"{kind} of one ticker, '{name}' {origin}"
    if left:
        note += f"; columns not used: {', '.join(left[:5])}{', ...' if len(left) > 5 else ''}"
    return Layout(dates, cells, note=note)


def _split_names(names: list[str], rest: list[int]) -> dict[int, tuple[str, str]] | None:
    """Split names such as AAPL.Close or close_AAPL, if all of them are such."""
    for mark in (".", "_", " ", "|", ":", "/"):
        for front in (False, True):
            split = {}
            for column in rest:
                cut = names[column].partition(mark) if front else names[column].rpartition(mark)
                field = field_of(cut[0] if front else cut[2], ["open", "high", "low"])
                ticker = cut[2] if front else cut[0]
                if field and ticker:
                    split[column] = (field, ticker)
            if len(split) == len(rest) and "close" in {field for field, _ in split.values()}:
                return split
    return None


def _multi(
    sheet: Sheet, dates: tuple[int, ...], rest: list[int], paths: list[tuple[str, ...]]
) -> Layout:
    """Read columns with two header rows, of fields and of tickers, whichever comes first."""
    rest = [each for each in rest if len(paths[each]) > 1]
    for level in (0, -1):
        fields = {each: field_of(paths[each][level], ["open", "high", "low"]) for each in rest}
        known = {each: field for each, field in fields.items() if field}
        if all(field or is_other(paths[each][level]) for each, field in fields.items()) and known:
            break
    else:
        two = " / ".join(paths[rest[0]]) if rest else ""
        raise BadData(
            f"{sheet.source}: two header rows ('{two}'), of which neither holds fields such as "
            "Close",
            hint="one header row: date and tickers, or date, ticker, close",
        )
    tickers = {
        each: " ".join(paths[each][1:] if level == 0 else paths[each][:-1]) for each in known
    }
    cells = tuple(Cells(each, field, tickers[each]) for each, field in known.items())
    if len({(each.field, each.ticker) for each in cells}) < len(cells):
        raise BadData(f"{sheet.source}: a field of a ticker appears in two columns")
    order = "fields above tickers" if level == 0 else "tickers above fields"
    return Layout(dates, cells, note=f"two header rows, {order} (as yfinance and pandas write)")


def _side_by_side(sheet: Sheet, names: list[str]) -> list[Layout]:
    """Find tables beside one another, each with its dates and its ticker above (Bloomberg)."""
    starts = [each for each, name in enumerate(names) if plain(name) in ("date", "dates")]
    if len(starts) < 2:
        return []
    layouts = []
    for start, stop in zip(starts, [*starts[1:], len(names)], strict=True):
        above = [cell for path in sheet.header[start:stop] for cell in path[:-1] if cell]
        columns = range(start + 1, stop)
        fields = {each: field for each in columns if (field := field_of(names[each], names))}
        if not above or "close" not in fields.values():
            raise BadData(
                f"{sheet.source}: row {_header_row(sheet)}: column '{names[start]}' appears "
                "twice, and no ticker and close with each",
                hint="tables side by side: the ticker above, then Date, PX_LAST",
            )
        cells = tuple(Cells(each, field, above[0]) for each, field in fields.items())
        layouts.append(Layout((start,), cells, note="tables side by side, as Bloomberg exports"))
    return layouts


def _klines(sheet: Sheet, reading: Reading) -> Layout:
    if reading.format not in (None, "klines") or len(sheet.columns) != len(KLINES):
        raise BadData(
            f"{sheet.source}: row 1: there is no header, and {len(sheet.columns)} columns are "
            f"not Binance's klines, which have {len(KLINES)}",
            hint="begin with a header: date and tickers, or date, ticker, close",
        )
    name, origin = ticker_of(sheet, reading)
    cells = tuple(
        Cells(column, field, name)
        for column, each in enumerate(KLINES)
        if (field := field_of(each, list(KLINES)))
    )
    return Layout((0,), cells, note=f"Binance klines of '{name}' {origin}")
