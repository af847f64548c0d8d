"""The cells of a price file in order: one row a timestamp, one column a ticker.

Whatever is wrong with them is an error that names file, row and ticker, or, if the caller
asked for an alignment, a repair that is counted. Nothing is mended silently.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData
from mlkit.pairs.prices.files import Lines

Align = Literal["inner", "ffill"]

MINIMUM_BARS = 20
ALIGN_HINT = "--align inner drops such bars, --align ffill carries the last price forward"


@dataclass(frozen=True)
class Repair:
    """Something in a price file that an alignment mended.

    Attributes:
        what: What was done.
        count: How many times.
        first: The first place, as errors name it.
    """

    what: str
    count: int
    first: str

    def __str__(self) -> str:
        """Say it in a line."""
        return f"{self.what}: {self.count} (first: {self.first})"


@dataclass
class Grid:
    """Prices on the way from a file to `Prices`.

    Attributes:
        fields: Arrays of shape (bars, tickers); NaN where there is no cell.
        rows: The file's row of each cell, 0 where there is none.
        align: How to mend what is wrong; None makes it an error.
        repairs: What has been mended so far.
    """

    source: str
    timestamps: NDArray[np.datetime64]
    tickers: tuple[str, ...]
    fields: dict[str, NDArray[np.float64]]
    rows: NDArray[np.int64]
    align: Align | None
    repairs: list[Repair] = field(default_factory=list)

    @property
    def close(self) -> NDArray[np.float64]:
        """The closes."""
        return self.fields["close"]

    def place(self, bar: int, ticker: int) -> str:
        """Name a cell's place in the file."""
        row = self.rows[bar, ticker]
        at = f"row {row}" if row else f"no row for {_iso(self.timestamps[bar])}"
        return f"{self.source}: {at}, {self.tickers[ticker]}"

    def mend(self, bad: NDArray[np.bool_], what: str, say: Callable[[int, int], str]) -> bool:
        """Count cells that an alignment mends; without one, raise for the first.

        Args:
            bad: The cells, of shape (bars, tickers).
            what: The repair.
            say: The error's words for a cell's bar and ticker.

        Returns:
            Whether there is anything to mend.
        """
        if not bad.any():
            return False
        bar, ticker = (int(each) for each in np.argwhere(bad)[0])
        place = self.place(bar, ticker)
        if self.align is None:
            raise BadData(f"{place}: {say(bar, ticker)}", hint=ALIGN_HINT)
        self.repairs.append(Repair(what, int(bad.sum()), place))
        return True

    def keep(self, bars: NDArray[Any] | slice, tickers: NDArray[Any]) -> None:
        """Drop all other bars and tickers; both are masks or positions."""
        self.timestamps = self.timestamps[bars]
        self.tickers = tuple(np.array(self.tickers, dtype=object)[tickers])
        self.fields = {name: each[bars][:, tickers] for name, each in self.fields.items()}
        self.rows = self.rows[bars][:, tickers]


def arrange(lines: Lines, align: Align | None) -> Grid:
    """Put a file's lines in the order of time, one column a ticker.

    Raises:
        BadData: A timestamp is out of order or stands twice, and `align` is None.
    """
    if lines.ticker is None:
        order, repairs = _ordered(lines, np.zeros(len(lines.timestamps), np.intp), align)
        fields = {name: each[order] for name, each in lines.fields.items()}
        rows = (order + lines.first_row)[:, None]
        rows = np.broadcast_to(rows, (len(order), len(lines.tickers)))
        times = lines.timestamps[order]
    else:
        order, repairs = _ordered(lines, lines.ticker, align)
        times, bars = np.unique(lines.timestamps[order], return_inverse=True)
        cells, shape = (bars, lines.ticker[order]), (len(times), len(lines.tickers))
        fields = {name: _scatter(each[order], cells, shape) for name, each in lines.fields.items()}
        rows = np.zeros(shape, np.int64)
        rows[cells] = order + lines.first_row
    return Grid(lines.source, times, lines.tickers, fields, rows, align, repairs)


def _scatter(
    values: NDArray[np.float64],
    cells: tuple[NDArray[np.intp], NDArray[np.intp]],
    shape: tuple[int, int],
) -> NDArray[np.float64]:
    grid = np.full(shape, np.nan)
    grid[cells] = values
    return grid


def _ordered(
    lines: Lines, ticker: NDArray[np.intp], align: Align | None
) -> tuple[NDArray[np.intp], list[Repair]]:
    """List the lines by ticker and time, the last one where several share both."""
    by_ticker = np.argsort(ticker, kind="stable")
    step = _steps(lines.timestamps[by_ticker], ticker[by_ticker])
    repairs = []
    if (step < 0).any():
        line = by_ticker[1:][step < 0]
        repairs.append(_disorder(lines, line, "timestamp sorted", "is earlier than before", align))
    order = np.lexsort((lines.timestamps, ticker))
    same = _steps(lines.timestamps[order], ticker[order]) == 0
    if same.any():
        line = order[1:][same]
        what = "duplicate timestamp dropped, the last one kept"
        repairs.append(_disorder(lines, line, what, "stands there twice", align))
    return order[np.append(~same, True)], repairs


def _steps(times: NDArray[np.datetime64], ticker: NDArray[np.intp]) -> NDArray[np.int64]:
    """Give the sign of each step in time, 1 where the next ticker begins."""
    step = np.sign(np.diff(times).astype(np.int64))
    return np.where(np.diff(ticker) != 0, 1, step)


def _disorder(
    lines: Lines, bad: NDArray[np.intp], what: str, wrong: str, align: Align | None
) -> Repair:
    line = int(bad.min())
    name = "" if lines.ticker is None else f", {lines.tickers[lines.ticker[line]]}"
    place = f"{lines.source}: row {line + lines.first_row}{name}"
    if align is None:
        hint = f"sort the file, one row a timestamp{' and ticker' if name else ''}, or --align"
        raise BadData(f"{place}: {_iso(lines.timestamps[line])} {wrong}", hint=hint)
    return Repair(what, len(bad), place)


def check(grid: Grid) -> None:
    """Check every cell of a grid, and mend what its alignment allows.

    A ticker may begin late and end early: closes that are blank before its first price or
    after its last one stay NaN, unless `inner` drops their bars.

    Raises:
        BadData: Something is wrong that the alignment does not mend.
    """
    _check_signs(grid)
    _check_lengths(grid)
    _check_gaps(grid)
    _check_lengths(grid)
    _check_constants(grid)


def _check_signs(grid: Grid) -> None:
    for name, cells in grid.fields.items():
        # A subnormal price has no logarithm of full precision.
        least = 0.0 if name in ("volume", "dividends") else np.finfo(float).tiny
        bad = (cells < least) | np.isinf(cells)
        wrong = "negative" if least == 0.0 else "not positive"

        def say(
            bar: int, ticker: int, name: str = name, wrong: str = wrong, least: float = least
        ) -> str:
            value = grid.fields[name][bar, ticker]
            if 0.0 < value < least:
                return f"{name} {value:g} is too small for a price"
            return f"{name} {value:g} is {'not finite' if np.isinf(value) else wrong}"

        if grid.mend(bad, f"{name} that is {wrong} or not finite taken as missing", say):
            cells[bad] = np.nan


def _check_gaps(grid: Grid) -> None:
    missing = np.isnan(grid.close)
    if grid.align == "inner":
        everyone: NDArray[np.bool_] = np.logical_not(missing.any(axis=1))
        if not everyone.all():
            bar = int(np.argmin(everyone))
            place = grid.place(bar, int(np.argmax(missing[bar])))
            what = "bar dropped that not every ticker has"
            grid.repairs.append(Repair(what, int((~everyone).sum()), place))
        grid.keep(np.flatnonzero(everyone), np.ones(len(grid.tickers), bool))
        return
    inside = missing & _lives(grid.close)
    if grid.mend(inside, "missing close carried forward", lambda *_: "there is no price"):
        bars = np.where(inside, 0, np.arange(len(missing))[:, None])
        np.maximum.accumulate(bars, axis=0, out=bars)
        grid.fields["close"] = np.take_along_axis(grid.close, bars, axis=0)


def _lives(close: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark each ticker's bars from its first price to its last."""
    priced = ~np.isnan(close)
    begun = np.logical_or.accumulate(priced, axis=0)
    ends = np.logical_or.accumulate(priced[::-1], axis=0)[::-1]
    return np.asarray(begun & ends)


def _check_lengths(grid: Grid) -> None:
    bars = (~np.isnan(grid.close)).sum(axis=0)
    short = bars < MINIMUM_BARS
    _drop(grid, short, "ticker with too few prices dropped", lambda n: _too_short(bars[n]))


def _check_constants(grid: Grid) -> None:
    low, high = np.nanmin(grid.close, axis=0), np.nanmax(grid.close, axis=0)
    _drop(grid, low == high, "constant ticker dropped", lambda n: f"every price is {low[n]:g}")


def _too_short(bars: int) -> str:
    return f"{bars} prices, at least {MINIMUM_BARS} are needed"


def _drop(grid: Grid, bad: NDArray[np.bool_], what: str, say: Callable[[int], str]) -> None:
    """Drop tickers; without an alignment, or when all are bad, raise for the first."""
    if not bad.any():
        return
    first = int(np.argmax(bad))
    place = f"{grid.source}: {grid.tickers[first]}"
    if grid.align is None or bad.all():
        _refuse(f"{place}: {say(first)}")
    grid.repairs.append(Repair(what, int(bad.sum()), place))
    grid.keep(slice(None), np.flatnonzero(~bad))


def _refuse(message: str) -> NoReturn:
    raise BadData(message, hint="leave the ticker out with --tickers, or use --align")


def _iso(time: np.datetime64) -> str:
    text = str(np.datetime_as_string(time, unit="auto"))
    return text.replace("T00:00:00", "")
