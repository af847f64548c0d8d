"""The cells of a price file in order: one row per timestamp, one column a ticker.

Whatever is wrong with them is an error that names file, row and ticker, or, if the caller
asked for an alignment, a repair that is counted. Nothing is repaired silently.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData
from mlkit.pairs.prices.reading import ParsedRows, Places
from mlkit.pairs.settings import Align

MINIMUM_BARS = 20
DAILY_HINT = "daily bars of several exchanges: --daily joins them by date"
ALIGN_HINT = "--align inner drops such bars, --align ffill carries the last price forward"
SIGN_HINT = (
    "spreads and futures: --levels takes prices of any sign (not for distances, correlations "
    "and live runs); otherwise --align inner drops such bars"
)


@dataclass(frozen=True)
class AlignmentChange:
    """Something that an alignment changed in a price file.

    Attributes:
        what: What was done.
        count: How many times.
        first: The first place, as errors name it.
    """

    what: str
    count: int
    first: str

    def __str__(self) -> str:
        """Write it in a line."""
        return f"{self.what}: {self.count} (first: {self.first})"


@dataclass
class PriceTable:
    """Prices on the way from a file to `Prices`.

    Attributes:
        fields: Arrays of shape (bars, tickers); NaN where there is no cell.
        lines: The parsed line of each cell, -1 where there is none.
        places: Where the lines come from.
        align: How to repair what is wrong; None makes it an error.
        repairs: What has been repaired so far.
    """

    source: str
    timestamps: NDArray[np.datetime64]
    tickers: tuple[str, ...]
    fields: dict[str, NDArray[np.float64]]
    lines: NDArray[np.int64]
    places: Places
    align: Align | None
    repairs: list[AlignmentChange] = field(default_factory=list)

    @property
    def close(self) -> NDArray[np.float64]:
        """The closes."""
        return self.fields["close"]

    @property
    def is_daily_at_several_times(self) -> bool:
        """Whether each ticker has its bars a day apart, and not all at the same time of day."""
        days = self.timestamps.astype("datetime64[D]")
        times = np.unique(self.timestamps - days)
        priced = ~np.isnan(next(iter(self.fields.values())))
        steps = [np.diff(self.timestamps[own]) for own in priced.T if own.sum() > 1]
        day = np.timedelta64(1, "D")
        return len(times) > 1 and all(np.median(each / day) >= 0.8 for each in steps)

    def place(self, bar: int, ticker: int) -> str:
        """Name a cell's place in the file."""
        line = self.lines[bar, ticker]
        name = self.tickers[ticker]
        if line < 0:
            return f"{self.source}: no row for {iso(self.timestamps[bar])}, {name}"
        return f"{self.places.name(line)}, {name}"

    def repair(
        self,
        bad: NDArray[np.bool_],
        what: str,
        say: Callable[[int, int], str],
        hint: str = ALIGN_HINT,
    ) -> bool:
        """Count cells that an alignment repairs; without one, raise for the first.

        Args:
            bad: The cells, of shape (bars, tickers).
            what: The repair.
            say: The error's words for a cell's bar and ticker.
            hint: The error's hint.

        Returns:
            Whether there is anything to repair.
        """
        if not bad.any():
            return False
        bar, ticker = (int(each) for each in np.argwhere(bad)[0])
        place = self.place(bar, ticker)
        if self.align is None:
            raise BadData(
                f"{place}: {say(bar, ticker)}",
                hint=DAILY_HINT if self.is_daily_at_several_times else hint,
            )
        self.repairs.append(AlignmentChange(what, int(bad.sum()), place))
        return True

    def keep(self, bars: NDArray[Any] | slice, tickers: NDArray[Any]) -> None:
        """Drop all other bars and tickers; both are masks or positions."""
        self.timestamps = self.timestamps[bars]
        self.tickers = tuple(np.array(self.tickers, dtype=object)[tickers])
        self.fields = {name: each[bars][:, tickers] for name, each in self.fields.items()}
        self.lines = self.lines[bars][:, tickers]


def arrange(lines: ParsedRows, align: Align | None) -> PriceTable:
    """Put a file's lines in the order of time, one column a ticker.

    Raises:
        BadData: A timestamp is out of order or appears twice, and `align` is None.
    """
    if lines.ticker is None:
        order, repairs = _order(lines, np.zeros(len(lines.timestamps), np.intp), align)
        fields = {name: each[order] for name, each in lines.fields.items()}
        cell_lines = np.broadcast_to(order[:, None], (len(order), len(lines.tickers)))
        times = lines.timestamps[order]
    else:
        order, repairs = _order(lines, lines.ticker, align)
        times, bars = np.unique(lines.timestamps[order], return_inverse=True)
        cells, shape = (bars, lines.ticker[order]), (len(times), len(lines.tickers))
        fields = {name: _scatter(each[order], cells, shape) for name, each in lines.fields.items()}
        cell_lines = np.full(shape, -1, np.int64)
        cell_lines[cells] = order
    return PriceTable(
        lines.source, times, lines.tickers, fields, cell_lines, lines.places, align, repairs
    )  # fmt: skip


def _scatter(
    values: NDArray[np.float64],
    cells: tuple[NDArray[np.intp], NDArray[np.intp]],
    shape: tuple[int, int],
) -> NDArray[np.float64]:
    table = np.full(shape, np.nan)
    table[cells] = values
    return table


def _order(
    lines: ParsedRows, ticker: NDArray[np.intp], align: Align | None
) -> tuple[NDArray[np.intp], list[AlignmentChange]]:
    """List the lines by ticker and time, the last one where several share both."""
    by_ticker = np.argsort(ticker, kind="stable")
    step = _steps(lines.timestamps[by_ticker], ticker[by_ticker])
    origin = lines.places.origin[by_ticker]
    earlier = (step < 0) & (np.diff(origin) == 0)  # files may be named in any order
    repairs = []
    if earlier.any():
        line = by_ticker[1:][earlier]
        repairs.append(_disorder(lines, line, "timestamp sorted", "is earlier than before", align))
    order = np.lexsort((lines.timestamps, ticker))
    same = _steps(lines.timestamps[order], ticker[order]) == 0
    if same.any():
        line = order[1:][same]
        what = "duplicate timestamp dropped, the last one kept"
        repairs.append(_disorder(lines, line, what, "appears twice", align))
    return order[np.append(~same, True)], repairs


def _steps(times: NDArray[np.datetime64], ticker: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return the sign of each step in time, 1 where the next ticker begins."""
    step = np.sign(np.diff(times).astype(np.int64))
    return np.where(np.diff(ticker) != 0, 1, step)


def _disorder(
    lines: ParsedRows, bad: NDArray[np.intp], what: str, wrong: str, align: Align | None
) -> AlignmentChange:
    line = int(bad.min())
    name = "" if lines.ticker is None else f", {lines.tickers[lines.ticker[line]]}"
    place = f"{lines.places.name(line)}{name}"
    if align is None:
        hint = f"sort the file, one row per timestamp{' and ticker' if name else ''}, or --align"
        raise BadData(f"{place}: {iso(lines.timestamps[line])} {wrong}", hint=hint)
    return AlignmentChange(what, len(bad), place)


def check(table: PriceTable, *, signed: bool = False) -> None:
    """Check every cell of a table, and repair what its alignment allows.

    Args:
        table: The cells.
        signed: Prices may be zero or negative, as spreads and futures may.

    A ticker may begin late and end early: closes that are blank before its first price or
    after its last one stay NaN, unless `inner` drops their bars.

    Raises:
        BadData: Something is wrong that the alignment does not repair.
    """
    _check_signs(table, signed)
    _check_lengths(table)
    _check_gaps(table)
    _check_lengths(table)
    _check_constants(table)


def _check_signs(table: PriceTable, signed: bool) -> None:
    for name, cells in table.fields.items():
        # A subnormal price has no logarithm of full precision.
        least = 0.0 if name in ("volume", "dividends") else np.finfo(float).tiny
        if signed and least:
            least = -np.inf
        bad = (cells < least) | np.isinf(cells)
        wrong = "negative" if least == 0.0 else "not positive"

        def say(
            bar: int, ticker: int, name: str = name, wrong: str = wrong, least: float = least
        ) -> str:
            value = table.fields[name][bar, ticker]
            if 0.0 < value < least:
                return f"{name} {value:g} is too small for a price"
            return f"{name} {value:g} is {'not finite' if np.isinf(value) else wrong}"

        what = f"{name} that is {wrong} or not finite taken as missing"
        hint = SIGN_HINT if least > 0.0 and (cells[bad] <= 0.0).any() else ALIGN_HINT
        if table.repair(bad, what, say, hint):
            cells[bad] = np.nan


def _check_gaps(table: PriceTable) -> None:
    missing = np.isnan(table.close)
    if table.align == "inner":
        everyone: NDArray[np.bool_] = np.logical_not(missing.any(axis=1))
        if not everyone.all():
            bar = int(np.argmin(everyone))
            place = table.place(bar, int(np.argmax(missing[bar])))
            what = "bar dropped that not every ticker has"
            table.repairs.append(AlignmentChange(what, int((~everyone).sum()), place))
        table.keep(np.flatnonzero(everyone), np.ones(len(table.tickers), bool))
        return
    inside = missing & _lives(table.close)
    if table.repair(inside, "missing close carried forward", lambda *_: "there is no price"):
        bars = np.where(inside, 0, np.arange(len(missing))[:, None])
        np.maximum.accumulate(bars, axis=0, out=bars)
        table.fields["close"] = np.take_along_axis(table.close, bars, axis=0)


def _lives(close: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark each ticker's bars from its first price to its last."""
    priced = ~np.isnan(close)
    begun = np.logical_or.accumulate(priced, axis=0)
    ends = np.logical_or.accumulate(priced[::-1], axis=0)[::-1]
    return np.asarray(begun & ends)


def _check_lengths(table: PriceTable) -> None:
    bars = (~np.isnan(table.close)).sum(axis=0)
    short = bars < MINIMUM_BARS
    _drop(table, short, "ticker with too few prices dropped", lambda n: _too_short(bars[n]))


def _check_constants(table: PriceTable) -> None:
    low, high = np.nanmin(table.close, axis=0), np.nanmax(table.close, axis=0)
    _drop(table, low == high, "constant ticker dropped", lambda n: f"every price is {low[n]:g}")


def _too_short(bars: int) -> str:
    return f"{bars} prices, at least {MINIMUM_BARS} are needed"


def _drop(table: PriceTable, bad: NDArray[np.bool_], what: str, say: Callable[[int], str]) -> None:
    """Drop tickers; without an alignment, or when all are bad, raise for the first."""
    if not bad.any():
        return
    first = int(np.argmax(bad))
    place = f"{table.source}: {table.tickers[first]}"
    if table.align is None or bad.all():
        _refuse(f"{place}: {say(first)}")
    table.repairs.append(AlignmentChange(what, int(bad.sum()), place))
    table.keep(slice(None), np.flatnonzero(~bad))


def _refuse(message: str) -> NoReturn:
    raise BadData(message, hint="leave the ticker out (--tickers), or drop it with --align inner")


def iso(time: np.datetime64) -> str:
    """Write a timestamp in ISO 8601, a midnight as its date."""
    text = str(np.datetime_as_string(time, unit="auto"))
    return text.replace("T00:00:00", "")
