"""Splits: prices before them are brought to the shares after them, and none is overlooked."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlkit.errors import BadData
from mlkit.pairs.prices.numbers import NULLS, numbers
from mlkit.pairs.prices.reading import Sheet
from mlkit.pairs.prices.table import PriceTable, iso

Matrix = NDArray[np.float64]
Kind = Literal["raw", "adjusted", "inverse"]

DECISIVE = 0.25
"""Log ratio from which a split cannot be mistaken for a day's move."""
KNOWN = (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100, Fraction(3, 2), Fraction(5, 2))
"""Ratios, new shares for each old one, that an unexplained jump is compared with."""
_RATIO = re.compile(r"^(\d+(?:\.\d+)?)\s*(?::|/|-?\s*for\s*-?)\s*(\d+(?:\.\d+)?)$", re.IGNORECASE)


class Split(NamedTuple):
    """A split of the file, and what the closes did on its date.

    Attributes:
        bar: The first bar of the new shares.
        ticker: The ticker's column.
        ratio: New shares for each old one.
        move: The logarithm of the first close over the last one before; NaN if there is none.
    """

    bar: int
    ticker: int
    ratio: float
    move: float

    def kind(self) -> Kind:
        """Return what the closes are: as paid, adjusted already, or the ratio is inverse."""
        step = math.log(self.ratio)
        far: dict[Kind, float] = {
            "raw": abs(self.move + step), "adjusted": abs(self.move),
            "inverse": abs(self.move - step),
        }  # fmt: skip
        return min(far, key=lambda kind: far[kind])


def ratios(sheet: Sheet, column: int) -> Matrix:
    """Read a column of ratios: 4, 4:1 or 4/1; NaN where there is no split (blank, 0 or 1).

    Raises:
        BadData: A cell is not a ratio.
    """
    cells = sheet.columns[column]
    if not pa.types.is_string(cells.type):
        values = numbers(sheet, [column], ".")[0]
    else:
        known = {each: _ratio(each) for each in set(sheet.text(column).to_pylist())}
        texts = sheet.text(column).to_pylist()
        bad = next((line for line, text in enumerate(texts) if known[text] is None), None)
        if bad is not None:
            raise BadData(f"{sheet.place(bad)}: '{texts[bad]}' is not a split", hint="4 or 4:1")
        values = np.array([known[text] for text in texts], float)
    if (values < 0.0).any() or np.isinf(values).any():
        line = int(np.argmax((values < 0.0) | np.isinf(values)))
        raise BadData(f"{sheet.place(line)}: {values[line]:g} is not a split", hint="4 or 4:1")
    return np.where((values == 0.0) | (values == 1.0), np.nan, values)


_BLANK = {None, *NULLS}


def _ratio(text: str | None) -> float | None:
    """Read one cell; NaN if blank, None if it is not a ratio."""
    if text in _BLANK or text is None:
        return math.nan
    if found := _RATIO.match(text):
        return float(found[1]) / float(found[2]) if float(found[2]) else None
    try:
        return float(text)
    except ValueError:
        return None


def apply(table: PriceTable) -> list[str]:
    """Take the splits out of a table's fields, and bring all prices to its last shares.

    The field `factor` that takes their place holds, for each cell, the shares at the end that one
    share of that bar has become; there is none if nothing was applied.

    Whether the closes are as they were paid, or adjusted for splits already, is read off what
    they did on the dates of the splits.

    Returns:
        Notes of what was done.

    Raises:
        BadData: Two splits contradict each other, or the ratios are old shares for new.
    """
    cells = table.fields.pop("splits", None)
    splits = [] if cells is None else list(_list_splits(table, cells))
    if not splits:
        return []
    kind = _decide_kind(table, splits)
    if kind == "adjusted":
        return [f"{table.source}: closes are adjusted for {_count(splits)} already"]
    factor = _factor(table, splits)
    for name, each in table.fields.items():
        table.fields[name] = each * factor if name == "volume" else each / factor
    table.fields["factor"] = factor
    first = splits[0]
    which = f"{_words(first.ratio)} of {table.tickers[first.ticker]}"
    said = f"first: {which} on {iso(table.timestamps[first.bar])}"
    return [f"{table.source}: {_count(splits)} applied ({said})"]


def _list_splits(table: PriceTable, cells: Matrix) -> Iterator[Split]:
    log = _logs(table.fields.get("close", table.fields.get("adjusted")))
    for bar, ticker in np.argwhere(~np.isnan(cells)):
        column = log[:, ticker]
        known = np.flatnonzero(~np.isnan(column))
        place = int(np.searchsorted(known, bar))
        inside = 0 < place < len(known)
        move = float(column[known[place]] - column[known[place - 1]]) if inside else math.nan
        yield Split(int(bar), int(ticker), float(cells[bar, ticker]), move)


def _logs(close: Matrix | None) -> Matrix:
    assert close is not None
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(close)
    return np.where(np.isfinite(log), log, np.nan)


def _decide_kind(table: PriceTable, splits: list[Split]) -> Kind:
    """Return what the closes are, by the large splits, or by all of them if none is large."""
    seen = [each for each in splits if not math.isnan(each.move)]
    decisive = [each for each in seen if abs(math.log(each.ratio)) >= DECISIVE]
    kinds: dict[Kind, Split] = {}
    for each in decisive:
        kinds.setdefault(each.kind(), each)
    if "inverse" in kinds:
        each = kinds["inverse"]
        raise BadData(
            f"{table.place(each.bar, each.ticker)}: the split is {each.ratio:g}, and the close "
            f"changes to {math.exp(each.move):.3g} times the one before",
            hint="a split is the number of new shares for each old one: 4 for 4:1",
        )
    if len(kinds) > 1:
        one, two = kinds["raw"], kinds["adjusted"]
        raise BadData(
            f"{table.place(one.bar, one.ticker)}: the close falls by the split, and at "
            f"{table.place(two.bar, two.ticker)} it does not",
            hint="the closes of all tickers are adjusted for splits, or of none",
        )
    if kinds:
        return next(iter(kinds))
    raw = sum(abs(each.move + math.log(each.ratio)) for each in seen)
    return "raw" if seen and raw < sum(abs(each.move) for each in seen) else "adjusted"


def _factor(table: PriceTable, splits: list[Split]) -> Matrix:
    step = np.ones((len(table.timestamps), len(table.tickers)))
    for each in splits:
        if each.bar > 0:
            step[each.bar - 1, each.ticker] *= each.ratio
    return np.asarray(np.cumprod(step[::-1], axis=0)[::-1])


def require_no_jumps(table: PriceTable) -> None:
    """Refuse raw prices with a move from one close to the next that an unknown split would make.

    Raises:
        BadData: There is one; the message names its row and date.
    """
    found = next(_suspects(table), None)
    if found is not None:
        bar, ticker, words = found
        raise BadData(
            f"{table.place(bar, ticker)}, {iso(table.timestamps[bar])}: the close moves like a "
            f"split {words} that is not in the file",
            hint="add a column 'split' with the ratio on that date, or use --allow-jumps",
        )


def _suspects(table: PriceTable) -> Iterator[tuple[int, int, str]]:
    for ticker in range(len(table.tickers)):
        close = table.fields["close"][:, [ticker]]
        if (close <= 0.0).any():
            continue  # a spread or a future, if prices of any sign are taken at all
        log = _logs(close)[:, 0]
        known = np.flatnonzero(~np.isnan(log))
        moves = np.diff(log[known])
        if len(moves) < 3:
            continue
        usual = 1.4826 * float(np.median(np.abs(moves - np.median(moves))))
        near = min(max(1.5 * usual, 0.01), 0.03)
        for at in np.flatnonzero(np.abs(moves) > max(0.4 - near, 10.0 * usual)):
            ratio = _match_known(float(moves[at]), near)
            if ratio is not None:
                yield int(known[at + 1]), ticker, ratio


def _match_known(move: float, near: float) -> str | None:
    for ratio in KNOWN:
        if abs(abs(move) - math.log(ratio)) < near:
            new, old = Fraction(ratio).numerator, Fraction(ratio).denominator
            return f"{new}:{old}" if move < 0 else f"{old}:{new}"
    return None


def _count(splits: list[Split]) -> str:
    return "1 split" if len(splits) == 1 else f"{len(splits)} splits"


def _words(ratio: float) -> str:
    exact = Fraction(ratio).limit_denominator(100)
    return f"{exact.numerator}:{exact.denominator}"
