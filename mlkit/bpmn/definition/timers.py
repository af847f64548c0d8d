"""When timers fire: ISO 8601 dates, durations and repeating intervals, and cron lines."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mlkit.errors import BadData

_DURATION = re.compile(
    r"(?P<sign>-?)P(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)
_REPEAT = re.compile(r"R(?P<times>\d*)(?:/(?P<rest>.+))?")
FOREVER = -1


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a timer fires first, and how it goes on.

    Attributes:
        due: The first time, in seconds since 1970.
        again: Times that are left after the first; `FOREVER` without an end.
        interval: The ISO duration or cron line between two times.
    """

    due: float
    again: int = 0
    interval: str = ""


def duration(text: str) -> timedelta:
    """Read an ISO 8601 duration whose length is known (no years, no months).

    Raises:
        BadData: The text is no such duration.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match[name] for name in _UNITS):
        raise BadData(f"{text!r} is no ISO 8601 duration", hint="ninety minutes are PT1H30M")
    if match["years"] or match["months"]:
        raise BadData(f"{text!r}: years and months differ in length", hint="say days: P30D")
    length = timedelta(**{unit: float(match[unit] or 0) for unit in _UNITS[2:]})
    return -length if match["sign"] else length


_UNITS = ("years", "months", "weeks", "days", "hours", "minutes", "seconds")


def later(text: str, moment: float) -> float:
    """Give the moment that lies an ISO 8601 duration after another.

    Years and months are those of the calendar, in UTC: a month after 31 January is 28 February.

    Raises:
        BadData: The text is no duration.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or not (match["years"] or match["months"]):
        return moment + duration(text).total_seconds()
    sign = -1 if match["sign"] else 1
    months = sign * (12 * int(match["years"] or 0) + int(match["months"] or 0))
    rest = timedelta(**{unit: float(match[unit] or 0) for unit in _UNITS[2:]})
    try:
        start = datetime.fromtimestamp(moment, UTC)
        year, month = divmod(12 * start.year + start.month - 1 + months, 12)
        day = min(start.day, monthrange(year, month + 1)[1])
        return (start.replace(year=year, month=month + 1, day=day) + sign * rest).timestamp()
    except (ValueError, OverflowError) as error:
        raise BadData(f"{text!r} leads out of the calendar") from error


def schedule(kind: str, text: str, now: float) -> Schedule:
    """Find out when a timer fires.

    Args:
        kind: `date`, `duration` or `cycle`.
        text: The timer's evaluated expression.
        now: Seconds since 1970; relative times count from here.

    Raises:
        BadData: The text does not fit its kind.
    """
    text = text.strip()
    if kind == "date":
        return Schedule(_moment(text))
    if kind == "duration":
        return Schedule(later(text, now))
    repeat = _REPEAT.fullmatch(text)
    return _cron(text, now) if repeat is None else _repeating(repeat, text, now)


def following(interval: str, due: float) -> float:
    """Give the time after `due` of a repeating timer."""
    if interval.startswith("P"):
        return later(interval, due)
    return _next_cron(interval, due)


def _repeating(repeat: re.Match[str], text: str, now: float) -> Schedule:
    parts = (repeat["rest"] or "").split("/")
    interval = next((each for each in parts if each.startswith("P")), None)
    if interval is not None and parts[-1] != interval:
        hint = "say how often: R3/PT10S"
        raise BadData(f"{text!r}: the end of a cycle is not looked at", hint=hint)
    if interval is None or later(interval, now) <= now:
        raise BadData(f"{text!r}: a cycle needs a positive interval", hint="such as R3/PT10S")
    again = int(repeat["times"]) - 1 if repeat["times"] else FOREVER
    if repeat["times"] == "0":
        raise BadData(f"{text!r} never fires")
    start = _moment(parts[0]) if parts[0] != interval else None
    first = later(interval, now) if start is None else start
    return Schedule(first, again, interval)


def _cron(text: str, now: float) -> Schedule:
    return Schedule(_next_cron(text, now), FOREVER, text)


def _next_cron(text: str, after: float) -> float:
    from croniter import CroniterError, croniter

    fields = text.split()
    # Five fields are Unix cron; six or seven are Quartz, seconds first, years (if any) last.
    line = " ".join(fields[:6]) if fields[6:] in ([], ["*"]) else text
    try:
        start = datetime.fromtimestamp(after, UTC)
        found = croniter(line.replace("?", "*"), start, second_at_beginning=len(fields) > 5)
        return float(found.get_next(float))
    except (CroniterError, ValueError, KeyError) as error:
        hint = "write R3/PT10S, or a cron line such as '0 6 * * 1-5'"
        raise BadData(f"{text!r} is no cycle: {error}", hint=hint) from error


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadData(f"{text!r} is no ISO 8601 date", hint="2030-01-31T12:00:00Z") from error
    # A date without an offset is UTC, so that a diagram means the same on every machine.
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def instant(at: float) -> str:
    """Write a moment, in seconds since 1970, as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
