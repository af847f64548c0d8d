"""Timestamps as files write them: ISO 8601, vendors' forms, compact dates, seconds since 1970."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlkit.errors import BadData, UsageError
from mlkit.pairs.prices.numbers import to_numpy
from mlkit.pairs.prices.reading import Reading, Sheet, as_text

ISO_HINT = "dates are ISO 8601, such as 2022-12-28 or 2022-12-28T15:30:00-05:00"
FORMAT_HINT = (
    "specify how dates are written: --date-format dmy, mdy, ymd, ms, or a strptime pattern"
)
EPOCHS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
"""Nanoseconds of the units in which time since 1970 is counted."""
_EXCEL_ORIGIN = np.datetime64("1899-12-30", "ns")

Moments = NDArray[np.datetime64]


class Times(NamedTuple):
    """Timestamps of a sheet.

    Attributes:
        moments: datetime64[ns], shape (lines,); instants in UTC if `timezone` is set.
        timezone: Name or offset of the zone; None for timestamps without one.
        note: What was recognised, where that was not plain.
        walls: What the clocks showed where several offsets became instants.
    """

    moments: Moments
    timezone: str | None
    note: str | None = None
    walls: Moments | None = None


class Parts(NamedTuple):
    """One text taken apart: three numbers of a date in their order, and the time of day."""

    date: tuple[int, int, int]
    order: str
    clock: str
    zone: str


def timestamps(sheet: Sheet, columns: tuple[int, ...], reading: Reading) -> Times:
    """Read the timestamps of a sheet, from a column, or from one of dates and one of times.

    Raises:
        BadData: A cell is not a date, or the dates can be read in two ways.
    """
    column = sheet.columns[columns[0]]
    if len(columns) == 2:
        column = _join(sheet.text(columns[0]), _clock_times(sheet.text(columns[1])))
    elif pa.types.is_string(column.type) or pa.types.is_dictionary(column.type):
        column = as_text(column)
    if column.null_count:
        line = pc.index(pc.is_null(column), True).as_py()
        raise BadData(f"{sheet.place(line)}: there is no date", hint=ISO_HINT)
    if pa.types.is_temporal(column.type) and not pa.types.is_time(column.type):
        times = _read_typed(sheet, column)
    elif not pa.types.is_string(column.type):
        times = _read_numbers(sheet, column, as_text(column), reading.date_format)
    else:
        times = _from_text(sheet, column, reading)
    return _dates_alone(times) if reading.daily else times


def _join(dates: Any, times: Any) -> Any:
    return pc.binary_join_element_wise(dates, pc.fill_null(times, "00:00"), " ")


def _clock_times(times: Any) -> Any:
    """Write 93000, which has lost its zero, as 093000."""
    digits = pc.match_substring_regex(times, r"^\d{1,6}$")
    width = 4 if pc.max(pc.utf8_length(times)).as_py() in (3, 4) else 6
    return pc.if_else(digits, pc.utf8_lpad(times, width, "0"), times)


def _read_typed(sheet: Sheet, column: Any) -> Times:
    zone = getattr(column.type, "tz", None)
    try:
        column = column.cast(pa.timestamp("ns", tz=zone))
    except pa.ArrowException as error:
        raise BadData(f"{sheet.source}: dates of type {column.type}: {error}") from error
    return Times(_moments(column), zone)


def _moments(times: Any) -> Moments:
    return to_numpy(times.cast(pa.int64())).astype("datetime64[ns]")


def _from_text(sheet: Sheet, column: Any, reading: Reading) -> Times:
    form = reading.date_format
    if form is not None and "%" in form:
        return _by_pattern(sheet, column, form)
    if pc.all(pc.match_substring_regex(column, r"^\d+(\.\d+)?$")).as_py():
        return _read_numbers(sheet, column, column, form)
    if form is None and (times := _iso(column)) is not None:
        return times
    return _by_parts(sheet, column, form)


def _by_pattern(sheet: Sheet, column: Any, pattern: str) -> Times:
    def read(text: str) -> datetime | None:
        try:
            return datetime.strptime(text, pattern)
        except ValueError:
            return None

    return _by_text(sheet, column, read, f"not a date of the pattern '{pattern}'")


_YEARS = range(1678, 2262)
"""The years that nanoseconds in 64 bits can count."""


def _by_text(
    sheet: Sheet, column: Any, read: Callable[[str], datetime | None], wrong: str
) -> Times:
    """Read each distinct text once."""
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    coded = flat.dictionary_encode()
    moments = [_in_range(read(text)) for text in coded.dictionary.to_pylist()]
    if None in moments:
        text = coded.dictionary[moments.index(None)].as_py()
        line = pc.index(flat, text).as_py()
        raise BadData(f"{sheet.place(line)}: '{text}': {wrong}", hint=FORMAT_HINT)
    which = to_numpy(coded.indices.cast(pa.int64()))
    return _of_datetimes(sheet, [each for each in moments if each], which)


def _in_range(moment: datetime | None) -> datetime | None:
    return moment if moment is not None and moment.year in _YEARS else None


def _of_datetimes(sheet: Sheet, moments: list[datetime], which: NDArray[Any]) -> Times:
    zones = {str(each.tzinfo) if isinstance(each.tzinfo, ZoneInfo) else each.utcoffset()
             for each in moments}  # fmt: skip
    if None in zones and len(zones) > 1:
        raise BadData(f"{sheet.source}: timestamps with and without a zone", hint=ISO_HINT)
    walls = np.array([each.replace(tzinfo=None) for each in moments], "datetime64[ns]")
    if zones == {None}:
        return Times(walls[which], None)
    shifts = np.array([each.utcoffset() for each in moments], "timedelta64[ns]")
    only = zones.pop() if len(zones) == 1 else "UTC"
    name = only if isinstance(only, str) else _offset_name(int(only.total_seconds() // 60))  # type: ignore[union-attr]
    return _apply_zone((walls - shifts)[which], walls[which], name)


def _offset_name(minutes: int) -> str:
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _apply_zone(moments: Moments, walls: Moments, zone: str) -> Times:
    """Keep instants, or take midnights at several offsets as the dates that they mean."""
    shifts = np.unique(walls - moments)
    if len(shifts) > 1 and is_midnight(walls):
        return Times(walls, None, "midnights at several offsets taken as dates")
    return Times(moments, zone, None, walls)


def is_midnight(walls: Moments) -> bool:
    """Return whether all times of day are midnight."""
    return bool((walls == walls.astype("datetime64[D]")).all())


_OFFSET = r"(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})$"
_ZONED = r"([0-9]Z|[0-9][+-][0-9]{2}:?[0-9]{2})$"


def _iso(column: Any) -> Times | None:
    for kind in (pa.timestamp("ns"), pa.timestamp("ns", tz="UTC")):
        try:
            times = _moments(column.cast(kind))
        except pa.ArrowInvalid:
            continue
        if kind.tz is None:
            return Times(times, None)
        bare = pc.replace_substring_regex(column, _OFFSET, "")
        return _apply_zone(times, _moments(bare.cast(pa.timestamp("ns"))), _zone(column))
    return None


def _zone(column: Any) -> str:
    """Name the zone of timestamps with offsets; several offsets are kept as UTC instants."""
    found = pc.extract_regex(column, _OFFSET)
    zones = set(pc.unique(pc.struct_field(found, "zone")).to_pylist())
    if zones == {"Z"} or len(zones) > 1:
        return "UTC"
    zone = str(zones.pop())
    return zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"


def _read_numbers(sheet: Sheet, column: Any, text: Any, form: str | None) -> Times:
    """Read numbers: time since 1970, days of a spreadsheet, or dates without separators."""
    if form in EPOCHS:
        return _since_1970(sheet, column, form)
    if form == "excel":
        days = np.asarray([float(each) for each in text.to_pylist()])
        return Times(_EXCEL_ORIGIN + (days * 86_400e9).round().astype("timedelta64[ns]"), None)
    values = [float(each) for each in pc.unique(text).to_pylist()]
    low, high = min(values), max(values)
    compact = pc.match_substring_regex(text, r"^(19|20)\d{6}(\d{4}|\d{6})?$")
    if form is None and pc.all(compact).as_py():
        return _by_parts(sheet, text, "ymd")
    if form in (None, "ymd") and high < 1e8:
        if form is None and low >= 20_000 and high < 80_000:
            raise BadData(
                f"{sheet.place(0)}: '{text[0]}' may be a day number of a spreadsheet",
                hint="read it so with --date-format excel",
            )
        return _by_parts(sheet, text, "ymd")
    for unit, first in (("s", 1e8), ("ms", 1e11), ("us", 1e14), ("ns", 1e17)):
        if form is None and first <= low and high < 100 * first:
            return _since_1970(sheet, column, unit)
    return _by_parts(sheet, text, form)


def _since_1970(sheet: Sheet, column: Any, unit: str) -> Times:
    try:
        if _has_fractions(column):
            counts = np.rint(to_numpy(column.cast(pa.float64())) * EPOCHS[unit])
            if not (np.abs(counts) < 2.0**63).all():
                raise OverflowError
            moments = counts.astype(np.int64).astype("datetime64[ns]")
        else:
            exact = to_numpy(column.cast(pa.int64())).astype(object) * EPOCHS[unit]
            moments = exact.astype(np.int64).astype("datetime64[ns]")
    except (pa.ArrowInvalid, OverflowError) as error:
        raise BadData(f"{sheet.source}: not {_UNITS[unit]} since 1970", hint=FORMAT_HINT) from error
    zone = None if is_midnight(moments) else "UTC"
    return Times(moments, zone, f"dates in {_UNITS[unit]} since 1970")


_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


def _has_fractions(column: Any) -> bool:
    if pa.types.is_string(column.type):
        return bool(pc.any(pc.match_substring(column, ".")).as_py())
    return bool(pa.types.is_floating(column.type))


_WEEKDAY = re.compile(r"^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+", re.IGNORECASE)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATES = (
    (re.compile(r"^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)"), "ymd"),
    (re.compile(r"^(\d{4})(\d{2})(\d{2})(?=$|\D|\d{4}$|\d{6}$)"), "ymd"),
    (re.compile(r"^(\d{1,2})\.(\d{1,2})\.(\d{4}|\d{2})(?!\d)"), "dmy"),
    (re.compile(r"^(\d{1,2})[-/](\d{1,2})[-/](\d{4}|\d{2})(?!\d)"), "?"),
    (re.compile(r"^(\d{1,2})[-/. ]*([a-z]{3,9})\.?[-/., ]*(\d{4}|\d{2})(?!\d)", re.I), "dmy"),
    (re.compile(r"^([a-z]{3,9})\.?[-/ ]*(\d{1,2})[-/, ]+(\d{4}|\d{2})(?!\d)", re.I), "mdy"),
    (re.compile(r"^(\d{4})[-/ ]([a-z]{3,9})[-/ ](\d{1,2})(?!\d)", re.I), "ymd"),
)
_CLOCK = re.compile(
    r"^[T\s,;]*(?:(\d{1,2}):?(\d{2})(?::?(\d{2})(?:[.,](\d{1,9}))?)?\s*(?:([ap])\.?(?:m\.?)?(?![a-z]))?)?\s*"
    r"(Z|UTC|GMT|[+-]\d{2}:?\d{2}|[A-Za-z]+/[A-Za-z0-9_/+-]+)?$",
    re.IGNORECASE,
)


def looks_like_date(text: str) -> bool:
    """Return whether a cell has the form of a date or of a time since 1970."""
    text = _WEEKDAY.sub("", text.strip())
    if re.fullmatch(r"\d{9,19}(\.\d+)?", text):
        return True
    if re.fullmatch(r"\d+", text):
        return re.fullmatch(r"(19|20)\d{6}", text) is not None
    return _apart(text) is not None


def _apart(text: str) -> Parts | None:
    text = _WEEKDAY.sub("", text)
    for pattern, order in _DATES:
        found = pattern.match(text)
        if found is None:
            continue
        numbers = [_value(each) for each in found.groups()]
        clock = _CLOCK.match(text[found.end() :])
        if None in numbers or clock is None:
            continue
        first, second, third = (each for each in numbers if each is not None)
        return Parts((first, second, third), order, text[found.end() :], clock[6] or "")
    return None


def _value(text: str) -> int | None:
    if text.isdigit():
        return int(text)
    name = text[:3].lower()
    return _MONTHS.index(name) + 1 if name in _MONTHS else None


def _by_parts(sheet: Sheet, column: Any, form: str | None) -> Times:
    """Take texts apart by their numbers; which of them is the day is read off all of them."""
    if form is not None and form not in ("dmy", "mdy", "ymd"):
        raise UsageError(f"--date-format {form} does not fit these dates", hint=FORMAT_HINT)
    order = form or _day_or_month(sheet, pc.unique(column).to_pylist())

    def read(text: str) -> datetime | None:
        parts = _apart(text)
        if parts is None:
            return None
        own = order if parts.order == "?" or (form is not None and form != "ymd") else parts.order
        return _datetime(parts, own)

    times = _by_text(sheet, column, read, "not a date")
    words = {"dmy": "day/month/year", "mdy": "month/day/year"}
    return times._replace(note=f"dates as {words[order]}") if order in words else times


def _day_or_month(sheet: Sheet, texts: list[str]) -> str:
    """Return `dmy` or `mdy` for dates such as 13/01/2024; `ymd` if there are none of these."""
    doubtful = [(text, parts) for text in texts if (parts := _apart(text)) and parts.order == "?"]
    if not doubtful:
        return "ymd"
    day_first = [text for text, parts in doubtful if parts.date[0] > 12]
    month_first = [text for text, parts in doubtful if parts.date[1] > 12]
    if day_first and month_first:
        both = f"'{day_first[0]}' and '{month_first[0]}'"
        raise BadData(f"{sheet.source}: {both}: day and month change places", hint=FORMAT_HINT)
    if not day_first and not month_first:
        raise BadData(
            f"{sheet.place(0)}: '{doubtful[0][0]}' is ambiguous: day/month or month/day",
            hint="choose one: --date-format dmy or --date-format mdy",
        )
    return "dmy" if day_first else "mdy"


def _datetime(parts: Parts, order: str) -> datetime | None:
    named = dict(zip(order, parts.date, strict=True))
    year = named["y"] if named["y"] > 99 else named["y"] + (2000 if named["y"] < 70 else 1900)
    clock = _CLOCK.match(parts.clock)
    assert clock is not None
    hour, minute, second = (int(each or 0) for each in clock.groups()[:3])
    if clock[5]:
        hour = hour % 12 + (12 if clock[5].lower() == "p" else 0)
    micro = int((clock[4] or "0").ljust(6, "0")[:6])
    try:
        moment = datetime(year, named["m"], named["d"], hour, minute, second, micro)
        return moment.replace(tzinfo=_tzinfo(parts.zone))
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return None


def _tzinfo(zone: str) -> Any:
    if not zone:
        return None
    if "/" in zone:
        return ZoneInfo(zone)
    text = "+00:00" if zone.upper() in ("Z", "UTC", "GMT") else zone
    return datetime.fromisoformat(f"2000-01-01T00:00{text}").tzinfo


def _dates_alone(times: Times) -> Times:
    from mlkit.pairs.prices.clock import wall_clock

    walls = times.walls
    if walls is None:
        zone = times.timezone
        walls = times.moments if zone is None else wall_clock(times.moments, zone)
    return Times(walls.astype("datetime64[D]").astype("datetime64[ns]"), None, times.note)
