"""How a price file is read where the file alone leaves a choice, and what was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlkit.pairs.settings import Decimal, Format
from mlkit.unpacking import UnpackLimits

NO_TEXT = pa.nulls(1, pa.string())[0]
"""The null of Arrow's text; making one of None would import pandas."""


@dataclass(frozen=True)
class Reading:
    """Choices that override what a file looks like.

    Attributes:
        format: The layout; None recognises it.
        date_format: `dmy`, `mdy`, `ymd`, `s`, `ms`, `us`, `ns` (since 1970), `excel` (days since
            1899-12-30), or a pattern of strptime such as `%d.%m.%Y`; None recognises it.
        decimal: The decimal mark; None recognises it.
        ticker: The ticker of a file that holds the bars of one and does not name it.
        encoding: The encoding of text; None recognises UTF-8, UTF-16 and, where it is sure,
            Windows-1252.
        currency: The currency of the columns, tickers or rows to take, where a file has prices
            in several.
        daily: Take each bar's date as it is written, and drop its time and zone.
        limits: How much compressed files may unpack to.
    """

    format: Format | None = None
    date_format: str | None = None
    decimal: Decimal | None = None
    ticker: str | None = None
    daily: bool = False
    encoding: str | None = None
    currency: str | None = None
    limits: UnpackLimits = field(default_factory=UnpackLimits)


@dataclass
class Sheet:
    """A table of cells with the header rows above it, before its layout is known.

    Attributes:
        source: The name that errors give it.
        stem: The file's name without folder and suffixes; empty for standard input.
        header: The header cells of each column, from top to bottom; empty without a header.
        columns: Arrow arrays of equal length: text, or the types of a Parquet file or workbook.
        first_row: The row that errors give line 0.
        title: Rows above the header, as cells.
        delimiter: What separates the cells of a text file.
        notes: What was passed over, such as a footer.
        rows: The row of each line, shape (lines,), where some were left out.
    """

    source: str
    stem: str
    header: list[tuple[str, ...]]
    columns: list[Any]
    first_row: int
    title: list[list[str]] = field(default_factory=list)
    delimiter: str | None = None
    notes: list[str] = field(default_factory=list)
    rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Count the lines."""
        return len(self.columns[0]) if self.columns else 0

    def place(self, line: int) -> str:
        """Name a line's place."""
        row = line + self.first_row if self.rows is None else self.rows[line]
        return f"{self.source}: row {row}"

    def row_numbers(self) -> NDArray[np.int64]:
        """Return the row of each line, shape (lines,)."""
        if self.rows is not None:
            return self.rows
        return np.arange(len(self), dtype=np.int64) + self.first_row

    def keep(self, lines: NDArray[np.bool_]) -> Sheet:
        """Return the sheet without other lines."""
        kept = pa.array(np.flatnonzero(lines))
        columns = [each.take(kept) for each in self.columns]
        return replace(self, columns=columns, rows=self.row_numbers()[lines])

    def text(self, column: int) -> Any:
        """Return a column as trimmed text; blank cells are null."""
        return as_text(self.columns[column])


@dataclass(frozen=True)
class Places:
    """Where lines come from: `sources[origin[i]]`, row `row[i]`; shapes (lines,)."""

    sources: tuple[str, ...]
    origin: NDArray[np.intp]
    row: NDArray[np.int64]

    def __getitem__(self, lines: NDArray[Any] | slice) -> Places:
        """Select lines."""
        return Places(self.sources, self.origin[lines], self.row[lines])

    def name(self, line: int) -> str:
        """Name a line's place as errors do."""
        return f"{self.sources[self.origin[line]]}: row {self.row[line]}"


@dataclass(frozen=True)
class ParsedRows:
    """The cells of price files, line by line, before they are put in order.

    Attributes:
        source: The name that errors give the files together.
        timestamps: datetime64[ns], shape (lines,); instants in UTC if `timezone` is set.
        timezone: The zone's name or offset, None for timestamps without one.
        tickers: The tickers, in the order of the files.
        ticker: The position in `tickers` of each line, shape (lines,); None where a line holds
            all tickers.
        fields: `close`, `open`, ... of shape (lines,) if lines have a ticker, else (lines,
            tickers); NaN where a cell is blank.
        places: Where each line comes from.
        currencies: The currencies of a ticker, where a file names them, with the first place of
            each.
        notes: What the files were read as, where that was not plain.
    """

    source: str
    timestamps: NDArray[np.datetime64]
    timezone: str | None
    tickers: tuple[str, ...]
    ticker: NDArray[np.intp] | None
    fields: dict[str, NDArray[np.float64]]
    places: Places
    currencies: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def as_text(column: Any) -> Any:
    """Return a column as trimmed text, as people write its values; blank cells are null."""
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        column = pc.if_else(column, "True", "False")
    elif pa.types.is_floating(kind):
        column = pa.array([_whole(each) for each in column.to_pylist()], pa.string())
    trimmed = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.match_substring_regex(trimmed, "^$"), NO_TEXT, trimmed)


def _whole(value: float | None) -> str | None:
    """Write 600519.0, a number that a missing neighbour made a float, as 600519."""
    if value is None or value != value:
        return None
    return str(int(value)) if value.is_integer() else str(value)
