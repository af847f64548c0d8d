"""Currencies of prices, line by line: a column of them, or signs beside the numbers.

All prices of a table must be in one, since spreads would mix them. `select` keeps those in the one
asked for; `list_currencies` lists what is left for each ticker, and where.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlkit.errors import BadData
from mlkit.pairs.prices.currencies import absent, canonical
from mlkit.pairs.prices.layouts import Cells, Layout
from mlkit.pairs.prices.numbers import SIGN, signs, to_numpy
from mlkit.pairs.prices.reading import NO_TEXT, Reading, Sheet
from mlkit.pairs.prices.vendors import field

Codes = NDArray[np.intp]
Currencies = Mapping[str, Mapping[str, str]]
"""The currencies of each ticker, with the first place of each."""

_SHARED = {
    "$": frozenset(("ARS", "AUD", "BBD", "BMD", "BND", "BSD", "BZD", "CAD", "CLP", "COP", "FJD",
                    "GYD", "HKD", "JMD", "KYD", "LRD", "MXN", "NAD", "NZD", "SBD", "SGD", "SRD",
                    "TTD", "TWD", "UYU", "XCD")),
    "£": frozenset(("EGP", "FKP", "GIP", "LBP", "SDG", "SHP", "SSP", "SYP")),
    "¥": frozenset(("CNY", "CNH")),
}  # fmt: skip
"""Other currencies that a sign may mean, beside a column or a header that names one of them."""
_NO_PRICES = ("volume", "splits")


class PriceCodes(NamedTuple):
    """The currency of each price of a sheet.

    Attributes:
        names: The currencies.
        of_cells: For each column of prices, the position in `names` of each line, -1 where
            nothing names it; None for a column without any.
    """

    names: list[str]
    of_cells: dict[Cells, Codes | None]

    def seen(self) -> list[str]:
        """List the currencies that prices have."""
        used = [np.unique(each) for each in self.of_cells.values() if each is not None]
        return [self.names[each] for each in np.unique(np.concatenate([[-1], *used])) if each >= 0]


def select(sheet: Sheet, layout: Layout, reading: Reading) -> tuple[Sheet, Layout]:
    """Keep the lines, or the columns of tickers, whose prices are in the currency asked for.

    Raises:
        NotInCurrency: There are none.
        BadData: A price names two currencies, or a line has prices in two.
    """
    if reading.currency is None:
        return sheet, layout
    prices = _codes(sheet, layout)
    wanted = canonical(reading.currency)
    if wanted not in (seen := prices.seen()):
        raise absent(sheet, reading, seen)
    code = prices.names.index(wanted)
    if layout.currency is None and layout.ticker is None and _tickers(layout) > 1:
        return sheet, _of_tickers(sheet, layout, prices, code)
    kept = _lines(sheet, prices, code)
    if not kept.all():
        sheet.notes.append(f"{np.sum(~kept)} rows that are not in {wanted} left out")
    return (sheet if kept.all() else sheet.keep(kept)), layout


def list_currencies(
    sheet: Sheet, layout: Layout, tickers: tuple[str, ...], ticker: Codes | None
) -> Currencies:
    """List the currencies of each ticker, with the first place of each.

    Args:
        sheet: The lines.
        layout: Its columns.
        tickers: The tickers.
        ticker: Each line's position in `tickers`, None where columns have tickers.
    """
    found: dict[str, dict[str, str]] = {}
    prices = _codes(sheet, layout)
    for cells, codes in prices.of_cells.items():
        if codes is None:
            continue
        own = np.zeros(len(sheet), np.intp) if ticker is None else ticker
        named = np.flatnonzero(codes >= 0)
        both = np.stack([own[named], codes[named]])
        pairs, first = np.unique(both, axis=1, return_index=True)
        for (position, code), line in zip(pairs.T, named[first], strict=True):
            name = str(cells.ticker) if ticker is None else tickers[position]
            place = _place(sheet, layout, cells, int(line))
            found.setdefault(name, {}).setdefault(prices.names[code], place)
    return found


def _place(sheet: Sheet, layout: Layout, cells: Cells, line: int) -> str:
    column = cells.column if layout.currency is None else layout.currency
    name = " ".join(each for each in sheet.header[column] if each) if sheet.header else ""
    return f"{sheet.place(line)}, column '{name or column + 1}'"


def _tickers(layout: Layout) -> int:
    return len({each.ticker for each in layout.cells})


def _codes(sheet: Sheet, layout: Layout) -> PriceCodes:
    names: dict[str, int] = {}
    line = _of_lines(sheet, layout, names)
    columns = [each for each in layout.cells if each.field not in _NO_PRICES]
    of_cells = {each: _of_column(sheet, layout, each.column, line, names) for each in columns}
    return PriceCodes(list(names), of_cells)


def _of_lines(sheet: Sheet, layout: Layout, names: dict[str, int]) -> Codes | None:
    """Return each line's currency by its header or its column of currencies."""
    if layout.money is not None:
        return np.full(len(sheet), names.setdefault(layout.money, len(names)), np.intp)
    if layout.currency is None:
        return None
    return _coded(sheet.text(layout.currency), canonical, names)


def _of_column(
    sheet: Sheet, layout: Layout, column: int, line: Codes | None, names: dict[str, int]
) -> Codes | None:
    """Return each price's currency by the sign beside it, or by its line."""
    kind = sheet.columns[column].type
    if not (pa.types.is_string(kind) or pa.types.is_dictionary(kind)):
        return line
    text = sheet.text(column)
    if layout.fields is not None:
        text = pc.if_else(_is_price(sheet.text(layout.fields)), text, NO_TEXT)
    if pc.any(pc.match_substring_regex(text, SIGN)).as_py() is not True:
        return line
    written: dict[str, int] = {}
    signed = _coded(text, lambda cell: _sign(sheet, text, cell), written)
    tokens = list(written)
    mapped = np.array([names.setdefault(canonical(each), len(names)) for each in tokens], np.intp)
    if line is None:
        return np.where(signed >= 0, mapped[signed], -1)
    _require_agreement(sheet, text, signed, tokens, line, list(names))
    return np.where((line >= 0) | (signed < 0), line, mapped[signed])


def _coded(text: Any, key: Callable[[str], str | None], names: dict[str, int]) -> Codes:
    """Return the position of each cell's name, -1 without one; new names are appended."""
    flat = text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text
    coded = flat.dictionary_encode()
    found = [key(each) for each in coded.dictionary.to_pylist()]
    codes = [-1 if each is None else names.setdefault(each, len(names)) for each in found]
    positions = to_numpy(pc.fill_null(coded.indices.cast(pa.int64()), len(codes)))
    return np.asarray(np.array([*codes, -1], np.intp)[positions])


def _sign(sheet: Sheet, text: Any, cell: str) -> str | None:
    found = signs(cell)
    if len(found) > 1:
        line = pc.index(text, cell).as_py()
        raise BadData(f"{sheet.place(line)}: '{cell}' names two currencies")
    return found[0] if found else None


def _is_price(fields: Any) -> Any:
    """Return which lines hold a price, where a column names each line's field."""
    names = [each for each in pc.unique(fields).to_pylist() if each]
    known = {each: field(each, ["open", "high", "low"]) for each in names}
    prices = [each for each, found in known.items() if found and found not in _NO_PRICES]
    return pa.array([each in prices for each in fields.to_pylist()])


def _require_agreement(
    sheet: Sheet, text: Any, signed: Codes, tokens: list[str], line: Codes, names: list[str]
) -> None:
    """Refuse a sign beside a number that its column of currencies, or its header, contradicts."""
    for position, token in enumerate(tokens):
        agree = [
            canonical(token) == each or each in _SHARED.get(token, frozenset()) for each in names
        ]
        wrong = (signed == position) & (line >= 0) & ~np.array(agree)[line]
        if wrong.any():
            first = int(np.argmax(wrong))
            named = f"and its currency is named as {names[line[first]]}"
            raise BadData(f"{sheet.place(first)}: '{text[first].as_py()}', {named}")


def _of_tickers(sheet: Sheet, layout: Layout, prices: PriceCodes, code: int) -> Layout:
    """Keep the tickers whose prices are all in one currency; a ticker in two is refused."""
    other: dict[str | None, bool] = {}
    for cells, codes in prices.of_cells.items():
        used = set() if codes is None else set(np.unique(codes[codes >= 0]).tolist())
        if len(used) > 1 and code in used:
            raise _two(sheet, prices, cells, [int(np.argmax(codes == each)) for each in used])
        other[cells.ticker] = other.get(cells.ticker, False) or used != {code}
    kept = tuple(each for each in layout.cells if not other.get(each.ticker, True))
    left = _tickers(layout) - len({each.ticker for each in kept})
    if left:
        sheet.notes.append(f"{left} tickers that are not in {prices.names[code]} left out")
    return replace(layout, cells=kept)


def _two(sheet: Sheet, prices: PriceCodes, cells: Cells, lines: list[int]) -> BadData:
    codes = prices.of_cells[cells]
    assert codes is not None
    said = [f"in {prices.names[codes[each]]} ({sheet.place(each)})" for each in lines[:2]]
    return BadData(f"{sheet.source}: {cells.ticker} is priced {' and '.join(said)}")


def _lines(sheet: Sheet, prices: PriceCodes, code: int) -> NDArray[np.bool_]:
    """Return the lines with a price in a currency; one with a price in another is refused."""
    columns = [each for each in prices.of_cells.values() if each is not None]
    here = np.logical_or.reduce([each == code for each in columns])
    for each in columns:
        mixed = here & (each >= 0) & (each != code)
        if mixed.any():
            line = int(np.argmax(mixed))
            both = f"{prices.names[code]} and in {prices.names[each[line]]}"
            raise BadData(f"{sheet.place(line)}: prices in {both}")
    return np.asarray(here)
