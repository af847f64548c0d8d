"""The calendar: days, offsets of time zones, and instants, for any year."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

from mlkit.bpmn.expressions.feel.values import (
    DAY,
    MAX_YEAR,
    SECOND,
    Date,
    DateTime,
    Refused,
    Time,
)

_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9._+-]*(?:/[A-Za-z0-9._+-]+)*")
_EPOCH = datetime(1970, 1, 1)


def is_leap(year: int) -> bool:
    """Return whether a year has 366 days."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def month_length(year: int, month: int) -> int:
    """Return the number of days of a month."""
    return 29 if month == 2 and is_leap(year) else _LENGTHS[month - 1]


def make_date(year: int, month: int, day: int) -> Date:
    """Return a date.

    Raises:
        Refused: There is no such day.
    """
    valid = -MAX_YEAR <= year <= MAX_YEAR and 1 <= month <= 12
    if not valid or not 1 <= day <= month_length(year, month):
        raise Refused
    return Date(year, month, day)


def to_days(date: Date) -> int:
    """Return the days since 1970-01-01 (H. Hinnant's days_from_civil)."""
    year = date.year - (date.month <= 2)
    era, of_era = divmod(year, 400)
    of_year = (153 * ((date.month + 9) % 12) + 2) // 5 + date.day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def from_days(days: int) -> Date:
    """Return the date that lies days after 1970-01-01 (civil_from_days).

    Raises:
        Refused: Its year has more than nine digits.
    """
    era, of_era = divmod(days + 719_468, 146_097)
    years = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * years + years // 4 - years // 100)
    shifted = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    return make_date(years + era * 400 + (month <= 2), month, day)


def add_months(date: Date, months: int) -> Date:
    """Return a date months later; 31 January and a month is the last day of February.

    Raises:
        Refused: Its year has more than nine digits.
    """
    year, month = divmod(date.year * 12 + date.month - 1 + months, 12)
    if not -MAX_YEAR <= year <= MAX_YEAR:
        raise Refused
    return Date(year, month + 1, min(date.day, month_length(year, month + 1)))


def weekday(date: Date) -> int:
    """Return the day of the week, Monday 1 to Sunday 7."""
    return (to_days(date) + 3) % 7 + 1


def week_of_year(date: Date) -> int:
    """Return the number of the ISO 8601 week."""
    thursday = from_days(to_days(date) - weekday(date) + 4)
    return (to_days(thursday) - to_days(Date(thursday.year, 1, 1))) // 7 + 1


# -- zones -------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo | timezone:
    try:
        return UTC if name in ("Z", "UTC", "GMT") else ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise Refused from None


def check_zone(name: str) -> str:
    """Return the id of a zone that exists.

    Raises:
        Refused: There is none.
    """
    if len(name) > 64 or not _ZONE.fullmatch(name):
        raise Refused
    _zone(name)
    return name


def _python(date: Date, nanos: int) -> datetime:
    """Return a local moment as Python can hold it: years repeat every 400, weekdays and all."""
    year = date.year if 2 <= date.year <= 9998 else (2 if date.year < 2 else 9200 + date.year % 400)
    return datetime(year, date.month, date.day) + timedelta(seconds=nanos // SECOND)


def _offset_of(moment: datetime) -> int:
    offset = moment.utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def zoned(date: Date, nanos: int, zone: str) -> DateTime:
    """Return a date and time in a zone, from what its clocks show.

    A time that clocks skip is moved on by the gap; one that comes twice is the first.

    Raises:
        Refused: There is no such zone.
    """
    local = _python(date, nanos)
    before = _offset_of(local.replace(tzinfo=_zone(zone)))
    moment = at_instant(instant(DateTime(date, nanos, before)), before, zone)
    return DateTime(date, nanos, before, zone) if moment.offset == before else moment


def at_instant(nanos: int, offset: int | None, zone: str) -> DateTime:
    """Return the date and time of an instant in a zone, or at an offset.

    Args:
        nanos: Since 1970 in UTC (or local, for an offset of None).
        offset: Seconds east of UTC, where there is no zone.
        zone: A zone id, or an empty text.

    Raises:
        Refused: Its year has more than nine digits.
    """
    if zone:
        days, rest = divmod(nanos, DAY)
        utc = _python(from_days(days), rest).replace(tzinfo=UTC)
        offset = _offset_of(utc.astimezone(_zone(zone)))
    days, rest = divmod(nanos + (offset or 0) * SECOND, DAY)
    return DateTime(from_days(days), rest, offset, zone)


def instant(moment: DateTime) -> int:
    """Return nanoseconds since 1970 in UTC; local for a local date and time."""
    return to_days(moment.date) * DAY + moment.nanos - (moment.offset or 0) * SECOND


def time_in_zone(nanos: int, zone: str) -> Time:
    """Return a time of day in a zone; its offset is the one of standard time, of 2 January 1970.

    Raises:
        Refused: There is no such zone.
    """
    return Time(nanos, _offset_of(_EPOCH.replace(tzinfo=_zone(zone))), zone)
