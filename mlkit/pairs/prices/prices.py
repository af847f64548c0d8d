"""Prices of several tickers on one time axis, as every part of `mlkit pairs` takes them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData, UsageError
from mlkit.pairs.prices import files, table
from mlkit.pairs.prices.table import Align, Grid, Repair

Matrix = NDArray[np.float64]

FIELDS = ("open", "high", "low", "volume", "dividends")


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
        source: The file, as errors name it.
        content_hash: SHA-256 of the file's bytes.
        repairs: What the alignment mended.
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
    source: str = ""
    content_hash: str = ""
    repairs: tuple[Repair, ...] = ()

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
        wall = _wall_clock(self.timestamps, self.timezone)
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
            UsageError: A text is no moment.
        """
        bars = slice(self._bar(start), self._bar(stop))
        return self._cut(bars, slice(None), self.tickers)

    def count_until(self, moment: str) -> int:
        """Count the bars up to a moment in ISO 8601, one at that moment included.

        Raises:
            UsageError: The text is no moment.
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
    path: str | Path,
    *,
    align: Align | None = None,
    tickers: Iterable[str] | None = None,
    raw: bool = False,
) -> Prices:
    """Read a price file and check every cell of it.

    Args:
        path: CSV (plain or gzipped) or Parquet, wide or long; `-` is standard input.
        align: How to mend missing, doubled, unsorted or non-positive cells: `inner` keeps the
            bars that every ticker has, `ffill` carries the last price forward inside a
            ticker's life. Both are counted in `repairs`. None makes them errors.
        tickers: The tickers to keep, in this order; the others are not even checked.
        raw: Take closes as they were paid, and the file's dividends apart. By default closes
            are taken as adjusted: from a column `adj_close` if there is one (opens, highs
            and lows are scaled alike), and a column of dividends is left out.

    Raises:
        InputMissing: The file cannot be read.
        BadData: Something in it is wrong; the message names file, row and ticker.
        UsageError: One of `tickers` is not in it.
    """
    lines = files.load(path)
    grid = table.arrange(lines, align)
    if tickers is not None:
        _keep_tickers(grid, tuple(tickers))
    grid.fields = _raw(grid) if raw else _adjusted(grid.fields)
    table.check(grid)
    fields = {name: grid.fields[name] for name in FIELDS if name in grid.fields}
    if raw:
        fields["dividends"] = np.nan_to_num(fields["dividends"], nan=0.0)
    return Prices(
        tickers=grid.tickers,
        timestamps=grid.timestamps,
        timezone=lines.timezone,
        close=grid.close,
        source=lines.source,
        content_hash=lines.content_hash,
        repairs=tuple(grid.repairs),
        **fields,
    )


def _keep_tickers(grid: Grid, names: tuple[str, ...]) -> None:
    columns = [_position(name, grid.tickers, grid.source) for name in names]
    grid.fields = {name: each[:, columns] for name, each in grid.fields.items()}
    grid.rows, grid.tickers = grid.rows[:, columns], names
    dead = np.isnan(next(iter(grid.fields.values()))).all(axis=1)
    grid.keep(np.logical_not(dead), np.ones(len(names), bool))


def _wall_clock(moments: NDArray[np.datetime64], timezone: str) -> NDArray[np.datetime64]:
    """Give what a clock of the zone, or of the fixed offset, shows at moments in UTC."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if timezone[0] in "+-":
        hours, minutes = (int(part) for part in timezone[1:].split(":"))
        shift = np.timedelta64(60 * hours + minutes, "m")
        return moments - shift if timezone[0] == "-" else moments + shift
    utc = pa.array(moments).cast(pa.timestamp("ns", tz="UTC"))
    local = pc.local_timestamp(utc.cast(pa.timestamp("ns", tz=timezone)))
    return np.asarray(local.to_numpy(zero_copy_only=False))


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


def _raw(grid: Grid) -> dict[str, Matrix]:
    fields = {name: each for name, each in grid.fields.items() if name != "adjusted"}
    for needed in ("close", "dividends"):
        if needed not in fields:
            raise BadData(
                f"{grid.source}: raw prices need a column '{needed.removesuffix('s')}'",
                hint="a long file: date, ticker, close, dividend; without --raw the closes "
                "are taken as adjusted",
            )
    return fields


def _adjusted(fields: dict[str, Matrix]) -> dict[str, Matrix]:
    """Leave dividends out, since adjusted closes hold them, and scale a bar to its close."""
    rest = {name: each for name, each in fields.items() if name not in ("adjusted", "dividends")}
    if "adjusted" not in fields:
        return rest
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
        raise UsageError(f"'{text}' is not a date", hint=files.ISO_HINT) from error
    if timezone is not None and moment.tzinfo is None:
        moment = moment.replace(tzinfo=pa.lib.string_to_tzinfo(timezone))
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(moment, "ns")
