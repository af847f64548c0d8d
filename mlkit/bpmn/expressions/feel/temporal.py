"""Dates, times and durations as texts: the forms of XML Schema, and nothing lenient."""

from __future__ import annotations

import re
from typing import Any

from mlkit.bpmn.expressions.feel.calendar import (
    check_zone,
    from_days,
    make_date,
    time_in_zone,
    to_days,
    zoned,
)
from mlkit.bpmn.expressions.feel.values import (
    MAX_OFFSET,
    SECOND,
    Date,
    DateTime,
    Days,
    Months,
    Refused,
    Time,
)

_DATE = re.compile(r"(-?(?:[1-9]\d{4,8}|\d{4}))-(\d\d)-(\d\d)", re.ASCII)
_TIME = re.compile(
    r"(\d\d):(\d\d):(\d\d)(?:\.(\d{1,18}))?(?:(Z)|([+-])(\d\d):(\d\d)(?::(\d\d))?|@(.+))?",
    re.ASCII,
)
_MONTHS = re.compile(r"(-?)P(?:(\d{1,18})Y)?(?:(\d{1,18})M)?", re.ASCII)
_DAYS = re.compile(
    r"(-?)P(?:(\d{1,18})D)?"
    r"(T(?:(\d{1,18})H)?(?:(\d{1,18})M)?(?:(\d{1,18})(?:\.(\d{0,18}))?S)?)?",
    re.ASCII,
)
_MAX_DAYS = 10**18 * SECOND
_MAX_MONTHS = 12 * 10**10


def parse_date(text: str) -> Date:
    """Return the date of a text.

    Raises:
        Refused: It is none.
    """
    found = _DATE.fullmatch(text)
    if found is None:
        raise Refused
    return make_date(*map(int, found.groups()))


def parse_time(text: str) -> Time:
    """Return the time of a text, 24:00:00 as midnight.

    Raises:
        Refused: It is none.
    """
    return _time(text)[0]


def _time(text: str) -> tuple[Time, bool]:
    """Return a time, and whether it is the end of its day."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise Refused
    hour, minute, second = map(int, found.group(1, 2, 3))
    fraction = int((found[4] or "0")[:9].ljust(9, "0"))
    ends = hour == 24 and not (minute or second or fraction)
    if minute > 59 or second > 59 or (hour > 23 and not ends):
        raise Refused
    nanos = 0 if ends else (hour * 3600 + minute * 60 + second) * SECOND + fraction
    return _with_zone(nanos, found), ends


def _with_zone(nanos: int, found: re.Match[str]) -> Time:
    if found[10]:
        return time_in_zone(nanos, check_zone(found[10]))
    if found[5]:
        return Time(nanos, 0)
    if not found[6]:
        return Time(nanos)
    hours, minutes, seconds = (int(each or 0) for each in found.group(7, 8, 9))
    offset = hours * 3600 + minutes * 60 + seconds
    if minutes > 59 or seconds > 59:
        raise Refused
    return Time(nanos, check_offset(-offset if found[6] == "-" else offset))


def check_offset(seconds: int) -> int:
    """Return an offset of a time.

    Raises:
        Refused: It is more than 18 hours.
    """
    if abs(seconds) > MAX_OFFSET:
        raise Refused
    return seconds


def parse_date_time(text: str) -> DateTime:
    """Return the date and time of a text; a date alone is its midnight.

    Raises:
        Refused: It is none.
    """
    day, divider, clock = text.partition("T")
    if not divider:
        return DateTime(parse_date(day), 0)
    time, ends = _time(clock)
    date = parse_date(day)
    return combine(from_days(to_days(date) + 1) if ends else date, time)


def combine(date: Date, time: Time) -> DateTime:
    """Return the date and time of a date and a time of day."""
    if time.zone:
        return zoned(date, time.nanos, time.zone)
    return DateTime(date, time.nanos, time.offset)


def parse_duration(text: str) -> Days | Months:
    """Return the duration of a text: of years and months, or of days and time.

    Raises:
        Refused: It is none, or mixes both.
    """
    found = _MONTHS.fullmatch(text)
    if found and (found[2] or found[3]):
        months = int(found[2] or 0) * 12 + int(found[3] or 0)
        return check_months(-months if found[1] else months)
    found = _DAYS.fullmatch(text)
    if found is None or not (found[2] or found[3]) or found[3] == "T":
        raise Refused
    days, hours, minutes, seconds = (int(each or 0) for each in found.group(2, 4, 5, 6))
    whole = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    nanos = whole * SECOND + int((found[7] or "0")[:9].ljust(9, "0"))
    return check_days(-nanos if found[1] else nanos)


def check_days(nanos: int) -> Days:
    """Return a duration of days.

    Raises:
        Refused: It is longer than all of the calendar.
    """
    if abs(nanos) > _MAX_DAYS:
        raise Refused
    return Days(nanos)


def check_months(months: int) -> Months:
    """Return a duration of months.

    Raises:
        Refused: It is longer than all of the calendar.
    """
    if abs(months) > _MAX_MONTHS:
        raise Refused
    return Months(months)


def parse_temporal(text: str) -> Any:
    """Return what a literal `@"..."` stands for.

    Raises:
        Refused: It is not a date, time, date and time or duration.
    """
    if text.lstrip("-").startswith("P"):
        return parse_duration(text)
    if "T" in text.partition("@")[0]:
        return parse_date_time(text)
    return parse_time(text) if ":" in text else parse_date(text)


# -- as texts ----------------------------------------------------------------------------------


def write_date(date: Date) -> str:
    """Return a date as text."""
    return f"{'-' if date.year < 0 else ''}{abs(date.year):04d}-{date.month:02d}-{date.day:02d}"


def write_time(time: Time | DateTime) -> str:
    """Return the time of day as text, with its zone or offset."""
    seconds, fraction = divmod(time.nanos, SECOND)
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    if fraction:
        clock += f".{fraction:09d}".rstrip("0")
    return clock + (f"@{time.zone}" if time.zone else write_offset(time.offset))


def write_offset(offset: int | None) -> str:
    """Return an offset as text: `Z`, `+01:00`, or nothing for a local time."""
    if not offset:
        return "" if offset is None else "Z"
    rest = abs(offset)
    seconds = f":{rest % 60:02d}" if rest % 60 else ""
    return f"{'-' if offset < 0 else '+'}{rest // 3600:02d}:{rest // 60 % 60:02d}{seconds}"


def write_date_time(moment: DateTime) -> str:
    """Return a date and time as text."""
    return f"{write_date(moment.date)}T{write_time(moment)}"


def write_months(length: Months) -> str:
    """Return a duration of years and months as text."""
    years, months = divmod(abs(length.months), 12)
    sign = "-" if length.months < 0 else ""
    return f"{sign}P{f'{years}Y' if years else ''}{f'{months}M' if months or not years else ''}"


def write_days(length: Days) -> str:
    """Return a duration of days and time as text."""
    rest, fraction = divmod(abs(length.nanos), SECOND)
    minutes, seconds = divmod(rest, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    exact = f"{seconds}.{fraction:09d}".rstrip("0").rstrip(".")
    parts = ((str(hours), "H"), (str(minutes), "M"), (exact, "S"))
    clock = "".join(text + unit for text, unit in parts if text != "0")
    if not days and not clock:
        return "PT0S"
    text = f"{'-' if length.nanos < 0 else ''}P{f'{days}D' if days else ''}"
    return f"{text}T{clock}" if clock else text
