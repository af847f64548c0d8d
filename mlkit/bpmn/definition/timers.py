"""When timers fire: ISO 8601 dates, durations and repeating intervals, and cron lines."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from mlkit.bpmn.definition import cron
from mlkit.errors import BadData

_DURATION = re.compile(
    r"(?P<sign>-?)P(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)
_REPEAT = re.compile(r"R(?P<times>\d*)(?:/(?P<rest>.+))?")
_UNITS = ("years", "months", "weeks", "days", "hours", "minutes", "seconds")
_ZONE = re.compile(r"(?P<moment>[^\[@]+)(?:\[(?P<bracket>[\w/+-]+)\]|@(?P<at>[\w/+-]+))$")
_CRON_ZONE = re.compile(r"(?:CRON_)?TZ=(?P<zone>\S+)\s+(?P<line>.+)")
# The mean lengths of years and months, to guess how many of them lie between two moments.
_MEAN_MONTH = 30.436875 * 86400
FOREVER = -1
READ_AT = 1e9
"""When constants of files are tried, so that a file means the same at any time."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """How the timers of a file count.

    Attributes:
        zone: The time zone of dates without an offset and of cron lines.
        cron: How cron lines of six and seven fields number the days: `quartz` or `spring`.
    """

    zone: str = "UTC"
    cron: str = "quartz"


UTC_CALENDAR = Calendar()


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a timer fires first, and how it goes on.

    Attributes:
        due: The first time, in seconds since 1970.
        again: Times that are left after the first; `FOREVER` without an end.
        interval: What `following` finds the next time from.
    """

    due: float
    again: int = 0
    interval: str = ""


def duration(text: str) -> timedelta:
    """Read an ISO 8601 duration whose length is known (no years, no months).

    Raises:
        BadData: The text is no such duration.
    """
    match = _match(text)
    if match["years"] or match["months"]:
        raise BadData(f"{text!r}: years and months differ in length", hint="write days: P30D")
    try:
        length = timedelta(**{unit: float(match[unit] or 0) for unit in _UNITS[2:]})
    except OverflowError as error:
        raise BadData(f"{text!r} is too long") from error
    return -length if match["sign"] else length


def _match(text: str) -> re.Match[str]:
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match[name] for name in _UNITS):
        raise BadData(f"{text!r} is not an ISO 8601 duration", hint="ninety minutes are PT1H30M")
    return match


def later(text: str, moment: float, zone: tzinfo = UTC, times: int = 1) -> float:
    """Return the moment that lies an ISO 8601 duration after another, or several of it.

    Years, months, weeks and days are those of the calendar in a zone: a month after 31 January is
    28 February, and a day leads to the same time of day.

    Raises:
        BadData: The text is not a duration, or leads beyond the calendar.
    """
    match = _match(text)
    count = -times if match["sign"] else times
    months = count * (12 * int(match["years"] or 0) + int(match["months"] or 0))
    try:
        days = count * (7 * int(match["weeks"] or 0) + int(match["days"] or 0))
        rest = timedelta(**{unit: float(match[unit] or 0) for unit in _UNITS[4:]})
        start = datetime.fromtimestamp(moment, zone)
        year, month = divmod(12 * start.year + start.month - 1 + months, 12)
        day = min(start.day, monthrange(year, month + 1)[1])
        wall = start.replace(year=year, month=month + 1, day=day) + timedelta(days=days)
        at = wall.timestamp() if months or days else moment
        found = at + count * rest.total_seconds()
        datetime.fromtimestamp(found, zone)
    except (ValueError, OverflowError, OSError) as error:
        raise BadData(f"{text!r} leads beyond the calendar") from error
    return found


def schedule(kind: str, text: str, now: float, calendar: Calendar = UTC_CALENDAR) -> Schedule:
    """Find out when a timer fires.

    A cycle that began in the past joins its grid: its first time is the next one from now on. Of
    one that is over already, the last time is overdue, and so it fires once, at once.

    Args:
        kind: `date`, `duration` or `cycle`.
        text: The timer's evaluated expression.
        now: Seconds since 1970; relative times count from here.
        calendar: How it counts.

    Raises:
        BadData: The text does not fit its kind.
    """
    text = text.strip()
    if kind == "date":
        return Schedule(_moment(text, calendar.zone)[0])
    if kind == "duration":
        return Schedule(later(text, now, zone_of(calendar.zone)))
    repeat = _REPEAT.fullmatch(text)
    if repeat is None:
        return _cron(text, now, calendar)
    return _repeating(repeat, text, now, calendar.zone)


def following(interval: str, due: float, now: float) -> tuple[float, int] | None:
    """Return the next time of a repeating timer after now, and how many steps it lies after `due`.

    Times that have passed meanwhile are missed, not made up for. None: a cron line has no more.

    Args:
        interval: That of its schedule.
        due: The time that it has fired for, perhaps long ago.
        now: Seconds since 1970.
    """
    if interval.startswith("cron "):
        _, numbering, zone, line = interval.split(" ", 3)
        return _following_cron(line, max(due, now), Calendar(zone, numbering))
    origin, slash, period = interval.rpartition("/")
    if not period.startswith("P"):
        return _following_cron(interval, max(due, now), Calendar())
    begin, zone = _moment(origin, "UTC") if slash else (due, "UTC")
    grid = _Grid(begin, period, zone_of(zone))
    fired = grid.first_from(due)
    number = grid.first_from(max(due, now), after=True)
    return grid.at(number), number - fired


@dataclass(frozen=True, slots=True)
class _Grid:
    """The times of a cycle: the origin, and each an interval after the one before."""

    origin: float
    period: str
    zone: tzinfo

    def at(self, number: int) -> float:
        return later(self.period, self.origin, self.zone, number)

    def first_from(self, moment: float, after: bool = False) -> int:
        """Return the number of the first time that is not before a moment (or lies after it)."""
        number = max(0, int((moment - self.origin) / self._mean()) - 2)
        while number and self.at(number) > moment:
            number -= 1
        while self.at(number) < moment or (after and self.at(number) == moment):
            number += 1
        return number

    def _mean(self) -> float:
        match = _match(self.period)
        months = 12 * int(match["years"] or 0) + int(match["months"] or 0)
        rest = timedelta(**{unit: float(match[unit] or 0) for unit in _UNITS[2:]})
        return months * _MEAN_MONTH + rest.total_seconds()


def _repeating(repeat: re.Match[str], text: str, now: float, zone: str) -> Schedule:
    parts = (repeat["rest"] or "").split("/", 1)
    if "[" in parts[0] or "@" in parts[0]:  # The name of a zone holds a slash too.
        parts = (repeat["rest"] or "").rsplit("/", 1)
    interval = next((each for each in parts if each.startswith("P")), None)
    if interval is not None and parts[-1] != interval:
        hint = "write how often: R3/PT10S"
        raise BadData(f"{text!r}: the end of a cycle is ignored", hint=hint)
    if interval is None or later(interval, now) <= now:
        raise BadData(f"{text!r}: a cycle needs a positive interval", hint="such as R3/PT10S")
    if repeat["times"] == "0":
        raise BadData(f"{text!r} never fires")
    given = parts[0] != interval
    origin, zone = _moment(parts[0], zone) if given else (now, zone)
    # Times are computed from what is kept, so that they are the same when it is read again.
    kept = _format(origin, zone)
    grid = _Grid(_moment(kept, zone)[0], interval, zone_of(zone))
    first = 0 if given else 1
    last = first + int(repeat["times"]) - 1 if repeat["times"] else None
    number = max(first, grid.first_from(now))
    number = number if last is None else min(number, last)
    again = FOREVER if last is None else last - number
    return Schedule(grid.at(number), again, f"{kept}/{interval}")


def _format(origin: float, zone: str) -> str:
    moment = datetime.fromtimestamp(origin, UTC)
    return moment.isoformat() + ("" if zone == "UTC" else f"[{zone}]")


def _cron(text: str, now: float, calendar: Calendar) -> Schedule:
    named = _CRON_ZONE.fullmatch(text)
    zone, line = (named["zone"], named["line"]) if named is not None else (calendar.zone, text)
    due = _next_cron(line, now, Calendar(zone, calendar.cron))
    return Schedule(due, FOREVER, f"cron {calendar.cron} {zone} {line}")


def require_future(text: str, now: float, calendar: Calendar = UTC_CALENDAR) -> None:
    """Refuse a cron line that never comes after now, or whose steps are beyond their fields.

    Raises:
        BadData: It is one.
    """
    if _REPEAT.fullmatch(text.strip()) is not None:
        return
    found = _cron(text.strip(), now, calendar)
    line = found.interval.split(" ", 3)[-1]
    try:
        cron.require_sound_steps(line)
    except cron.CronError as error:
        raise BadData(f"{line!r} is not a cycle: {error}") from error


def _following_cron(line: str, after: float, calendar: Calendar) -> tuple[float, int] | None:
    try:
        return cron.read(line, calendar.cron).after(after, zone_of(calendar.zone)), 1
    except cron.NeverAgain:
        return None


def _next_cron(line: str, after: float, calendar: Calendar) -> float:
    zone = zone_of(calendar.zone)
    try:
        return cron.read(line, calendar.cron).after(after, zone)
    except (cron.CronError, ValueError, OverflowError) as error:
        hint = "write R3/PT10S, or a cron line such as '0 6 * * 1-5'"
        raise BadData(f"{line!r} is not a cycle: {error}", hint=hint) from error


@lru_cache(maxsize=256)
def zone_of(name: str) -> tzinfo:
    """Return a time zone by its name.

    Raises:
        BadData: There is none of that name.
    """
    if name in ("UTC", "Z"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise BadData(f"{name!r} is not a time zone", hint="such as Europe/Berlin") from error


def _moment(text: str, zone: str) -> tuple[float, str]:
    """Read a date, and return its seconds since 1970 and its zone.

    A date without an offset or zone is in that of the process, UTC by default, so that a diagram
    means the same on every machine.
    """
    named = _ZONE.fullmatch(text)
    if named is not None:
        text, zone = named["moment"], named["bracket"] or named["at"]
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=zone_of(zone))
        return moment.timestamp(), zone
    except (ValueError, OverflowError) as error:
        raise BadData(f"{text!r} is not an ISO 8601 date", hint="2030-01-31T12:00:00Z") from error


def instant(at: float) -> str:
    """Write a moment, in seconds since 1970, as ISO 8601 in UTC.

    Raises:
        BadData: No calendar has it.
    """
    try:
        found = datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise BadData(f"{at!r} seconds since 1970 are not a time of the years 1 to 9999") from error
    return found.isoformat(timespec="milliseconds").replace("+00:00", "Z")
