"""Prices of several tickers on one time axis, as every part of `mlkit pairs` takes them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData, UsageError
from mlkit.pairs.prices import currencies, dates, files, sources, splits, table
from mlkit.pairs.prices.clock import wall_clock
from mlkit.pairs.prices.reading import ParsedRows, Reading
from mlkit.pairs.prices.table import AlignmentChange, PriceTable
from mlkit.pairs.settings import Align

Matrix = NDArray[np.float64]

FIELDS = ("open", "high", "low", "volume", "dividends", "factor")


@dataclass(frozen=True, eq=False)
class Prices:
    """Bars of N tickers at T timestamps.

    Attributes:
        tickers: The N tickers, in the order of the columns.
        timestamps: datetime64[ns], shape (T,), rising; instants in UTC if `timezone` is set.
        timezone: Name or offset of the zone that the file gave, None if it gave none.
        close: Closes, shape (T, N); NaN only before a ticker's first and after its last bar.
        open: Opens, shape (T, N) or None; NaN where the file has none, also at bars that an
            alignment filled. `high`, `low` and `volume` likewise.
        dividends: Money a share paid to holders at the bar, shape (T, N), 0 where none;
            None if the closes are adjusted for dividends.
        factor: Where splits of the file were applied: the shares at the end that one share of
            a bar has become, shape (T, N), else None. Prices, shares and dividends count
            shares at the end; divide shares by it, and multiply prices, for those of a bar.
        currency: The currency of all prices, where the file names it.
        source: The file, as errors name it.
        content_hash: SHA-256 of the file's bytes.
        repairs: What the alignment changed.
        notes: What the files were read as, and what else was noticed.
    """

    tickers: tuple[str, ...]
    timestamps: NDArray[np.datetime64]
    timezone: str | None
    close: Matrix
    open: Matrix | None = None
    high: Matrix | None = None
    low: Matrix | None = None
    volume: Matrix | None = None
    dividends: Matrix | None = None
    factor: Matrix | None = None
    currency: str | None = None
    source: str = ""
    content_hash: str = ""
    repairs: tuple[AlignmentChange, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Count the bars."""
        return len(self.timestamps)

    @cached_property
    def zoned(self) -> NDArray[np.str_]:
        """The timestamps as ISO 8601 text in their own zone; dates alone for daily bars."""
        if self.timezone is None:
            midnight = self.timestamps.astype("datetime64[D]")
            daily = bool((midnight == self.timestamps).all())
            return np.datetime_as_string(self.timestamps, unit="D" if daily else "s")
        wall = wall_clock(self.timestamps, self.timezone)
        offsets = (wall - self.timestamps).astype("timedelta64[m]").astype(np.int64)
        values, which = np.unique(offsets, return_inverse=True)
        suffixes = np.array([_offset(int(minutes)) for minutes in values], dtype=np.str_)
        return np.strings.add(np.datetime_as_string(wall, unit="s"), suffixes[which])

    def select(self, tickers: Iterable[str]) -> Prices:
        """Keep some tickers, in the order given.

        Raises:
            UsageError: A ticker is not there.
        """
        names = tuple(tickers)
        columns = [_position(name, self.tickers, self.source) for name in names]
        return self._cut(slice(None), columns, names)

    def window(
        self, start: int | str | np.datetime64 | None, stop: int | str | np.datetime64 | None
    ) -> Prices:
        """Keep the bars from `start` up to, without, `stop`.

        Args:
            start: A bar's position, or a moment: text in ISO 8601, in the prices' own zone
                unless it names one, or a datetime64. None begins at the first bar.
            stop: Likewise; None ends after the last bar.

        Raises:
            UsageError: A text is not a moment.
        """
        bars = slice(self._bar(start), self._bar(stop))
        return self._cut(bars, slice(None), self.tickers)

    def count_until(self, moment: str) -> int:
        """Count the bars up to a moment in ISO 8601, one at that moment included.

        Raises:
            UsageError: The text is not a moment.
        """
        instant = _instant(moment, self.timezone)
        return int(np.searchsorted(self.timestamps, instant, side="right"))

    def _bar(self, moment: int | str | np.datetime64 | None) -> int | None:
        if moment is None or isinstance(moment, int):
            return moment
        if isinstance(moment, str):
            moment = _instant(moment, self.timezone)
        return int(np.searchsorted(self.timestamps, moment))

    def _cut(self, bars: slice, columns: list[int] | slice, names: tuple[str, ...]) -> Prices:
        fields = {name: getattr(self, name) for name in ("close", *FIELDS)}
        cut = {name: each[bars][:, columns] for name, each in fields.items() if each is not None}
        return replace(self, tickers=names, timestamps=self.timestamps[bars], **cut)


def read(
    paths: sources.Paths,
    *,
    align: Align | None = None,
    tickers: Iterable[str] | None = None,
    raw: bool = False,
    signed: bool = False,
    allow_jumps: bool = False,
    reading: Reading | None = None,
) -> Prices:
    """Read price files and check every cell of them.

    Args:
        paths: Delimited text (plain or gzipped), Parquet or a workbook, in the layouts that
            `docs/pairs.md` lists; several files, or a folder of them, are joined. `-` is
            standard input.
        align: How to repair missing, doubled, unsorted or non-positive cells: `inner` keeps the
            bars that every ticker has, `ffill` carries the last price forward inside a
            ticker's life. Both are counted in `repairs`. None makes them errors.
        tickers: The tickers to keep, in this order; the others are not even checked.
        raw: Take closes as they were paid, and the file's dividends apart. By default closes
            are taken as adjusted: from a column `adj_close` if there is one (opens, highs
            and lows are scaled alike), and a column of dividends is left out.
        signed: Prices may be zero or negative, as spreads and some futures are.
        allow_jumps: Raw closes may move like a split that is not in the file.
        reading: What the files alone leave open.

    Raises:
        InputMissing: A file cannot be read.
        BadData: Something in it is wrong or ambiguous; the message names file, row and ticker.
        UsageError: One of `tickers` is not in it, or an option does not fit.
    """
    reading = reading or Reading()
    found = sources.find(paths, reading.limits)
    rows = files.parse(found, reading)
    prices = of_rows(rows, align, tickers, raw=raw, signed=signed, allow_jumps=allow_jumps)
    notes = (*found.notes, *prices.notes)
    return replace(prices, content_hash=found.content_hash, notes=notes)


def of_rows(
    rows: ParsedRows,
    align: Align | None = None,
    tickers: Iterable[str] | None = None,
    *,
    raw: bool = False,
    signed: bool = False,
    allow_jumps: bool = False,
) -> Prices:
    """Bring parsed rows to one time axis, and check every cell; see `read`."""
    tickers = None if tickers is None else tuple(tickers)
    currency = _currency(rows, tickers or rows.tickers)
    prices = table.arrange(rows, align)
    if tickers is not None:
        _keep_tickers(prices, tickers)
    prices.fields = _raw(prices) if raw else _adjust(prices.fields)
    notes = splits.apply(prices)
    if raw and not allow_jumps:
        splits.require_no_jumps(prices)
    table.check(prices, signed=signed)
    fields: dict[str, Any] = {name: prices.fields[name] for name in FIELDS if name in prices.fields}
    if raw:
        fields["dividends"] = np.nan_to_num(fields["dividends"], nan=0.0)
    return Prices(
        tickers=prices.tickers,
        timestamps=prices.timestamps,
        timezone=rows.timezone,
        close=prices.close,
        currency=currency,
        source=rows.source,
        repairs=tuple(prices.repairs),
        notes=(*rows.notes, *notes),
        **fields,
    )


def _currency(rows: ParsedRows, tickers: tuple[str, ...]) -> str | None:
    """Return the currency of all tickers; several are an error, since spreads would mix them."""
    found: dict[str, tuple[str, str]] = {}
    for ticker in tickers:
        for name, place in rows.currencies.get(ticker, {}).items():
            found.setdefault(name, (ticker, place))
    if len(found) > 1:
        (one, (first, here)), (two, (second, there)) = list(found.items())[:2]
        other = "" if first == second else f"{second} "
        raise BadData(
            f"{rows.source}: {first} is priced in {one} and {other}in {two} ({here}; {there})",
            hint=f"choose one: {currencies.hint(list(found))}; or keep its tickers by --tickers",
        )
    return next(iter(found), None)


def _keep_tickers(prices: PriceTable, names: tuple[str, ...]) -> None:
    columns = [_position(name, prices.tickers, prices.source) for name in names]
    prices.fields = {name: each[:, columns] for name, each in prices.fields.items()}
    prices.lines, prices.tickers = prices.lines[:, columns], names
    dead = np.isnan(next(iter(prices.fields.values()))).all(axis=1)
    prices.keep(np.logical_not(dead), np.ones(len(names), bool))


def _offset(minutes: int) -> str:
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _position(name: str, tickers: tuple[str, ...], source: str) -> int:
    if name in tickers:
        return tickers.index(name)
    near = [each for each in tickers if each.lower() == name.lower()]
    near += difflib.get_close_matches(name, tickers, n=1)
    listed = ", ".join(tickers[:8]) + (", ..." if len(tickers) > 8 else "")
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {listed}"
    raise UsageError(f"{source}: no ticker '{name}'", hint=hint)


def _raw(prices: PriceTable) -> dict[str, Matrix]:
    fields = {name: each for name, each in prices.fields.items() if name != "adjusted"}
    for needed in ("close", "dividends"):
        if needed not in fields:
            raise BadData(
                f"{prices.source}: raw prices need a column '{needed.removesuffix('s')}'",
                hint="a long file: date, ticker, close, dividend; without --raw the closes "
                "are taken as adjusted",
            )
    return fields


def _adjust(fields: dict[str, Matrix]) -> dict[str, Matrix]:
    """Leave dividends out, since adjusted closes hold them, and scale a bar to its close."""
    rest = {name: each for name, each in fields.items() if name not in ("adjusted", "dividends")}
    if "adjusted" not in fields:
        return rest
    rest.pop("splits", None)  # adjusted closes hold them
    if "close" in fields:
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = fields["adjusted"] / fields["close"]
        rest |= {name: rest[name] * scale for name in ("open", "high", "low") if name in rest}
    return {**rest, "close": fields["adjusted"]}


def _instant(text: str, timezone: str | None) -> np.datetime64:
    """Read a moment; one without a zone is in the prices' own."""
    from datetime import UTC, datetime

    import pyarrow as pa

    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"'{text}' is not a date", hint=dates.ISO_HINT) from error
    if timezone is not None and moment.tzinfo is None:
        moment = moment.replace(tzinfo=pa.lib.string_to_tzinfo(timezone))
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(moment, "ns")
