"""Numbers as files write them: decimal commas, thousands separators, currency signs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlkit.errors import BadData
from mlkit.pairs.prices.reading import NO_TEXT, Sheet, as_text
from mlkit.pairs.settings import Decimal

NULLS = (
    "", "NA", "N/A", "n/a", "#N/A", "#N/A N/A", "#N/A Invalid Security", "#NV", "NaN", "nan",
    "NAN", "null", "NULL", "Null", "None", "none", "<NA>", "NaT", "-", "--", ".", "#VALUE!",
    "#REF!", "#DIV/0!", "The record could not be found",
)  # fmt: skip
"""Cells that stand for a missing number; among tickers they are names."""

# An expression rather than a set: an Arrow array of the names would import pandas.
_BLANK = "^(" + "|".join(map(re.escape, NULLS)) + ")$"
DECIMAL_HINT = "specify the decimal mark: --decimal . or --decimal ,"
_GROUPS = re.compile(r"[\s'\u2019_\u00a0\u202f\u2009]")
_SIGNS = re.compile(r"^([+-]?)\s*(?:[$€£¥]|USD|EUR|GBP)?\s*|\s*(?:[$€£¥%]|USD|EUR|GBP)$")
SIGN = r"[$€£¥]|USD|EUR|GBP"
"""What names a currency beside a number."""
_DIGITS = re.compile(r"[-+\d.,eE]+")
_SCALES = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_SCALED = re.compile(r"^(.*\d)\s?([KMBTkmbt])$")


def numbers(sheet: Sheet, columns: Sequence[int], decimal: Decimal | None) -> list[Any]:
    """Read columns as numbers, with one decimal mark for all of them.

    Args:
        sheet: Where the columns are.
        columns: Their positions.
        decimal: The decimal mark; None reads it off the cells.

    Returns:
        Float arrays of shape (lines,), NaN where a cell is blank.

    Raises:
        BadData: A cell is not a number, or the decimal mark is ambiguous.
    """
    cells = [_without_nulls(sheet.columns[each]) for each in columns]
    plain = [_plain(each) for each in cells]
    texts = [each for each in cells if pa.types.is_string(each.type)]
    doubtful = sheet.delimiter in (";", "\t") or any(each is None for each in plain)
    mark = decimal or (_decimal_mark(sheet, texts) if doubtful else ".")
    if mark == "," and decimal is None:
        sheet.notes.append("decimal commas")
    return [
        done if done is not None and mark == "." else _parse_marked(sheet, column, each, mark)
        for column, each, done in zip(columns, cells, plain, strict=True)
    ]


def _without_nulls(column: Any) -> Any:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return column
    column = as_text(column)
    blank = pc.match_substring_regex(column, _BLANK)
    return pc.if_else(blank, NO_TEXT, column)


def _plain(column: Any) -> NDArray[np.float64] | None:
    try:
        return to_floats(column.cast(pa.float64()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def to_floats(cells: Any) -> NDArray[np.float64]:
    """Return an Arrow column of float64 as NumPy has it, NaN for null."""
    flat = to_numpy(cells)
    if cells.null_count == 0:
        return flat
    return np.where(to_numpy(pc.is_valid(cells).cast(pa.int8())), flat, np.nan)


def to_numpy(column: Any) -> NDArray[Any]:
    """Return 64-bit or 8-bit numbers as NumPy has them; what a null holds is undefined.

    pyarrow's own conversions import pandas, which takes longer than reading most files.
    """
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    size = flat.type.bit_width // 8
    kind = flat.type.to_pandas_dtype()
    return np.frombuffer(flat.buffers()[1], kind, len(flat), flat.offset * size)


def _parse_marked(sheet: Sheet, column: int, cells: Any, mark: str) -> NDArray[np.float64]:
    if not pa.types.is_string(cells.type):
        if (done := _plain(cells)) is None:
            kind = f"column '{_name(sheet, column)}' of type {cells.type}"
            raise BadData(f"{sheet.source}: {kind} holds no numbers")
        return done
    coded = cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells
    coded = coded.dictionary_encode()
    values = np.empty(len(coded.dictionary) + 1)
    values[-1] = np.nan
    for position, text in enumerate(coded.dictionary.to_pylist()):
        value = _number(text, mark)
        if value is None:
            line = pc.index(cells, text).as_py()
            place = f"{sheet.place(line)}, column '{_name(sheet, column)}'"
            raise BadData(f"{place}: '{text}' is not a number", hint="write 1234.5")
        values[position] = value
    codes = pc.fill_null(coded.indices.cast(pa.int64()), len(values) - 1)
    return np.asarray(values[to_numpy(codes)])


def _name(sheet: Sheet, column: int) -> str:
    return " ".join(each for each in sheet.header[column] if each) if sheet.header else str(column)


def _number(text: str, mark: str) -> float | None:
    """Read one cell; None if it is not a number."""
    bare, scale = _bare(text)
    other = "." if mark == "," else ","
    whole, _, fraction = bare.partition(mark)
    if other in fraction or not _is_grouped(whole, other):
        return None
    try:
        return float(f"{whole.replace(other, '')}.{fraction}" if mark in bare
                     else whole.replace(other, "")) * scale  # fmt: skip
    except ValueError:
        return None


def signs(text: str) -> list[str]:
    """List the different currency signs of a cell."""
    return list(dict.fromkeys(re.findall(SIGN, text)))


def _is_grouped(whole: str, separator: str) -> bool:
    """Return whether a separator, if it occurs, leaves groups of three digits."""
    first, *rest = whole.lstrip("+-").split(separator)
    if not rest:
        return True
    return 1 <= len(first) <= 3 and all(len(each) == 3 and each.isdigit() for each in rest)


def _bare(text: str) -> tuple[str, float]:
    """Remove what surrounds the digits: currency signs, blanks between groups, `K`, `M`, `B`."""
    text = _GROUPS.sub("", _SIGNS.sub(r"\1", text.strip().replace("\u2212", "-")))
    if text.startswith("(") and text.endswith(")"):
        text = "-" + text[1:-1]
    scaled = _SCALED.match(text)
    if scaled:
        return scaled[1], _SCALES[scaled[2].upper()]
    return text, 1.0


def _decimal_mark(sheet: Sheet, columns: Iterable[Any]) -> str:
    """Read the decimal mark off the cells, and refuse one that could be either."""
    seen: dict[str, str] = {}
    doubtful: dict[str, str] = {}
    for column in columns:
        for text in pc.unique(column).to_pylist():
            if text is not None:
                _vote(text, seen, doubtful)
    if len(seen) == 2:
        pair = f"'{seen['.']}' and '{seen[',']}'"
        raise BadData(f"{sheet.source}: {pair} have different decimal marks", hint=DECIMAL_HINT)
    if seen:
        return next(iter(seen))
    if "," in doubtful or (doubtful and sheet.delimiter == ";"):
        text = next(iter(doubtful.values()))
        mark = next(iter(doubtful))
        raise BadData(
            f"{sheet.source}: '{text}' is ambiguous: '{mark}' may be a decimal mark or separate "
            "thousands",
            hint=DECIMAL_HINT,
        )
    return "."


def _vote(text: str, seen: dict[str, str], doubtful: dict[str, str]) -> None:
    """Note which decimal mark a cell has, or that it could be either."""
    bare, _ = _bare(text)
    if not _DIGITS.fullmatch(bare):
        return  # not a number, and refused as that
    commas, dots = bare.count(","), bare.count(".")
    if commas and dots:
        seen.setdefault("." if bare.rindex(".") > bare.rindex(",") else ",", text)
    elif commas > 1 or dots > 1:
        seen.setdefault("." if commas else ",", text)
    elif commas or dots:
        mark = "," if commas else "."
        whole, _, fraction = bare.lstrip("+-").partition(mark)
        thousands = len(fraction) == 3 and 1 <= len(whole) <= 3 and not whole.startswith("0")
        (doubtful if thousands else seen).setdefault(mark, text)
