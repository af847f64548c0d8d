"""Parsed rows of several files as one: their lines, time zones and currencies together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData
from mlkit.pairs.prices.clock import wall_clock
from mlkit.pairs.prices.dates import is_midnight
from mlkit.pairs.prices.reading import ParsedRows, Places


def join(parts: Sequence[ParsedRows], name: str) -> ParsedRows:
    """Join parsed rows; files whose newest line comes first are turned round.

    Raises:
        BadData: Some have time zones and others not, or a line of one is in another too.
    """
    parts = _on_one_clock([_oldest_first(each) for each in parts])
    if len(parts) == 1:
        return replace(parts[0], source=name, notes=_notes(parts))
    tall = [_a_line_per_ticker(each) for each in parts]
    tickers = tuple(dict.fromkeys(ticker for part in tall for ticker in part.tickers))
    position = {ticker: i for i, ticker in enumerate(tickers)}
    codes = [
        np.array([position[each] for each in part.tickers], np.intp)[part.ticker] for part in tall
    ]
    names = tuple(dict.fromkeys(field for part in tall for field in part.fields))
    return ParsedRows(
        name,
        np.concatenate([part.timestamps for part in tall]),
        tall[0].timezone,
        tickers,
        np.concatenate(codes),
        {field: np.concatenate([_field(part, field) for part in tall]) for field in names},
        _places(tall),
        _currencies(tall),
        _notes(parts),
    )


def _field(part: ParsedRows, name: str) -> NDArray[np.float64]:
    """Return a field; where a file has only adjusted closes or only closes, they are both."""
    if name in part.fields:
        return part.fields[name]
    other = {"adjusted": "close", "close": "adjusted"}.get(name, "")
    return part.fields.get(other, np.full(len(part.timestamps), np.nan))


def _places(parts: Sequence[ParsedRows]) -> Places:
    sources = [part.places.sources for part in parts]
    starts = np.cumsum([0, *map(len, sources[:-1])])
    origin = [part.places.origin + start for part, start in zip(parts, starts, strict=True)]
    rows = np.concatenate([part.places.row for part in parts])
    return Places(tuple(each for some in sources for each in some), np.concatenate(origin), rows)


def _currencies(parts: Sequence[ParsedRows]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for part in parts:
        for ticker, places in part.currencies.items():
            found[ticker] = {**places, **found.get(ticker, {})}
    return found


def _a_line_per_ticker(part: ParsedRows) -> ParsedRows:
    """Make a line of each cell of wide rows."""
    if part.ticker is not None:
        return part
    lines, width = len(part.timestamps), len(part.tickers)
    line = np.tile(np.arange(lines), width)
    return replace(
        part,
        timestamps=part.timestamps[line],
        ticker=np.repeat(np.arange(width), lines),
        fields={name: each.T.reshape(-1) for name, each in part.fields.items()},
        places=part.places[line],
    )


def _oldest_first(part: ParsedRows) -> ParsedRows:
    """Turn rows round that run from the newest to the oldest for every ticker."""
    order = np.arange(len(part.timestamps))
    if part.ticker is not None:
        order = np.argsort(part.ticker, kind="stable")
    step = np.diff(part.timestamps[order]).astype(np.int64)
    if part.ticker is not None:
        step = step[np.diff(part.ticker[order]) == 0]
    if len(step) == 0 or not (step < 0).all():
        return part
    note = "newest first"
    return replace(
        part,
        timestamps=part.timestamps[::-1],
        ticker=None if part.ticker is None else part.ticker[::-1],
        fields={name: each[::-1] for name, each in part.fields.items()},
        places=part.places[::-1],
        notes=(f"{part.notes[0]}; {note}" if part.notes else note,),
    )


def _on_one_clock(parts: list[ParsedRows]) -> list[ParsedRows]:
    """Bring files of several time zones together: midnights by date, other times as instants."""
    zones = {part.timezone for part in parts}
    if len(zones) == 1:
        return parts
    walls = [_walls(part) for part in parts]
    if all(is_midnight(each) for each in walls):
        return [replace(part, timestamps=wall, timezone=None)
                for part, wall in zip(parts, walls, strict=True)]  # fmt: skip
    if None in zones:
        bare, zoned = (next(part for part in parts if (part.timezone is None) == none)
                       for none in (True, False))  # fmt: skip
        raise BadData(
            f"{bare.source}: timestamps without a time zone, and {zoned.source} has one",
            hint="--daily joins bars by the dates that are written",
        )
    return [replace(part, timezone="UTC") for part in parts]


def _walls(part: ParsedRows) -> NDArray[np.datetime64]:
    if part.timezone is None:
        return part.timestamps
    return wall_clock(part.timestamps, part.timezone)


def _notes(parts: Sequence[ParsedRows]) -> tuple[str, ...]:
    """Describe what the files were read as; alike ones in one line."""
    counts = Counter(_alike(part) for part in parts if part.notes)
    said = []
    first: dict[str, ParsedRows] = {}
    for part in parts:
        if part.notes:
            first.setdefault(_alike(part), part)
    for kind, count in counts.items():
        part = first[kind]
        more = "" if count == 1 else f" (and {count - 1} more files alike)"
        said.append(f"{part.source}: read as {part.notes[0]}{more}")
    return tuple(said)


def _alike(part: ParsedRows) -> str:
    """Return a note without the ticker, which differs from file to file."""
    note = part.notes[0]
    return note.replace(f"'{part.tickers[0]}'", "") if len(part.tickers) == 1 else note
