"""Cron lines: five fields as on Unix, six and seven as Quartz or Spring read them.

Which days match is decided here (`L`, `W`, `#` and years included); the times of a day, and what
summer time does to them, are left to cronsim, which follows Debian's cron.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from functools import lru_cache

from cronsim import CronSim, CronSimError

Days = Callable[[date], bool]
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MACROS = {
    "@YEARLY": "0 0 0 1 1 *", "@ANNUALLY": "0 0 0 1 1 *", "@MONTHLY": "0 0 0 1 * *",
    "@WEEKLY": "0 0 0 * * 0", "@DAILY": "0 0 0 * * *", "@MIDNIGHT": "0 0 0 * * *",
    "@HOURLY": "0 0 * * * *",
}  # fmt: skip
_STEPS = (
    ("second", 59), ("minute", 59), ("hour", 23), ("day", 31), ("month", 12), ("weekday", 7),
    ("year", 229),
)  # fmt: skip
FIRST_YEAR, LAST_YEAR = 1970, 2199
MOST_DAYS = 366 * 60
"""How far the next matching day may lie ahead: the fifth Monday of February takes 40 years."""


class CronError(ValueError):
    """A line that is not a cron line, or that never matches."""


class NeverAgain(CronError):
    """A line whose last time has passed."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron line.

    Attributes:
        times: Its seconds, minutes and hours, for cronsim.
        days: Whether it matches a day.
        last_year: The last year that it matches.
        first_year: The first one.
        fixed: Whether it names hours and minutes, so that each of them comes once a day.
    """

    times: str
    days: Days
    first_year: int
    last_year: int
    fixed: bool

    def after(self, moment: float, zone: tzinfo) -> float:
        """Return the next time of the line, in seconds since 1970.

        A time that summer time skips comes at the end of the gap; one that comes twice, the first
        time. Lines with `*` as their hour or minute follow the clock through both.

        Raises:
            NeverAgain: There is none.
        """
        start = datetime.fromtimestamp(moment, zone)
        day = start.date()
        for _ in range(MOST_DAYS):
            if day.year < self.first_year:
                day = date(self.first_year, 1, 1)
            if day.year > self.last_year:
                break
            if self.days(day):
                found = self._on(day, moment, zone)
                if found is not None:
                    return found
            day += timedelta(days=1)
        raise NeverAgain("it never occurs again")

    def _on(self, day: date, moment: float, zone: tzinfo) -> float | None:
        """Return its first time on a day that lies after a moment."""
        begin = datetime.combine(day, time(), None if self.fixed else zone)
        start = begin - timedelta(seconds=1)
        if not self.fixed:
            start = max(start, datetime.fromtimestamp(moment, zone), key=datetime.timestamp)
        for found in CronSim(self.times, start):
            if found.date() != day:
                return None
            at = _localise(found, zone) if self.fixed else found.timestamp()
            if at > moment:
                return at
        return None


def _localise(wall: datetime, zone: tzinfo) -> float:
    """Return when a clock on the wall first shows a time, or the end of the gap around it."""
    aware = wall.replace(tzinfo=zone)
    shown = datetime.fromtimestamp(aware.timestamp(), zone)
    if shown.replace(tzinfo=None) == wall:
        return aware.timestamp()
    # Python reads a time within a gap with the offset before it (fold 0) or after it (fold 1);
    # both lie as far from the gap's end as the time lies from its two edges.
    low, high = aware.replace(fold=1).timestamp(), aware.timestamp()
    later = datetime.fromtimestamp(high, zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == later:
            high = middle
        else:
            low = middle
    return high


def require_sound_steps(line: str) -> None:
    """Refuse steps that a field cannot take, as Quartz does: `*/61` would come once an hour.

    Raises:
        CronError: There is one.
    """
    for field, (name, most) in zip(_fields(line), _STEPS, strict=False):
        for part in field.split(","):
            step = re.search(r"/(\d+)$", part)
            if step is not None and int(step[1]) > most:
                raise CronError(f"bad {name} {part!r}: steps are at most {most}")
            if name == "day" and (before := re.match(r"L-(\d+)", part)) and int(before[1]) > 30:
                raise CronError(f"bad day {part!r}: no month has so many days")


def _fields(line: str) -> list[str]:
    """Split a line into its fields, seconds first."""
    fields = _MACROS.get(line.strip().upper(), line.upper()).split()
    return ["0", *fields] if len(fields) == 5 else fields


@lru_cache(maxsize=1024)
def read(line: str, numbering: str = "quartz") -> Cron:
    """Read a cron line.

    Args:
        line: Five fields (minute, hour, day, month, weekday), six (seconds first), seven (years
            last), or a macro such as `@daily`.
        numbering: How six and seven fields count the days of the week: `quartz` from Sunday = 1,
            `spring` from Sunday = 0 (or 7). Five fields always do the latter.

    Raises:
        CronError: It is none.
    """
    fields = _fields(line)
    unix = len(line.split()) == 5 or line.strip().startswith("@")
    if not 6 <= len(fields) <= 7:
        raise CronError(f"{len(fields)} fields: a cron line has five, six or seven")
    second, minute, hour, day, month, weekday = fields[:6]
    years = _numbers(fields[6], FIRST_YEAR, LAST_YEAR, "year") if fields[6:] else None
    months = _numbers(month, 1, 12, "month", _MONTHS)
    first = 1 if numbering == "quartz" and not unix else 0
    both = _combine(_days(day), _weekdays(weekday, first), (day, weekday), unix, first == 1)
    times = f"{second} {minute} {hour} * * *"
    try:
        CronSim(times, datetime(2000, 1, 1))
    except (CronSimError, ValueError, AssertionError) as error:
        raise CronError(str(error).lower()) from error
    return Cron(
        times,
        lambda each: each.month in months and (not years or each.year in years) and both(each),
        min(years) if years else FIRST_YEAR,
        max(years) if years else LAST_YEAR,
        not minute.startswith("*") and not hour.startswith("*"),
    )


def _combine(day: Days, weekday: Days, written: tuple[str, str], unix: bool, quartz: bool) -> Days:
    """Return whether day and weekday both matter (Spring), either (Unix), or cannot (Quartz)."""
    restricted = [each[:1] not in "*?" for each in written]
    if all(restricted) and quartz:
        raise CronError("of the day of the month and the day of the week, one must be '?'")
    if all(restricted) and unix:
        return lambda each: day(each) or weekday(each)
    return lambda each: day(each) and weekday(each)


# -- fields --------------------------------------------------------------------------------


def _numbers(
    field: str, low: int, high: int, name: str, names: tuple[str, ...] = (), around: bool = False
) -> frozenset[int]:
    """Return the numbers that a field of numbers, ranges, steps and lists matches."""
    found: set[int] = set()
    for part in field.split(","):
        match = re.fullmatch(r"(\*|\?|(\w+)(?:-(\w+))?)(?:/(\d+))?", part)
        if match is None:
            raise CronError(f"bad {name} {part!r}")
        start, end, step = match[2], match[3], match[4]
        if start is None:
            first, last = low, high
        else:
            first = _number(start, low, high, name, names)
            last = high if step and not end else first
            last = _number(end, low, high, name, names) if end else last
        if step == "0" or (last < first and not around):
            raise CronError(f"bad {name} {part!r}")
        span = high - low + 1
        length = last - first + (span if last < first else 0)
        found |= {low + (first - low + n) % span for n in range(0, length + 1, int(step or 1))}
    return frozenset(found)


def _number(text: str, low: int, high: int, name: str, names: tuple[str, ...]) -> int:
    if text in names:
        return low + names.index(text)
    if not text.isdigit() or not low <= int(text) <= high:
        raise CronError(f"bad {name} {text!r}")
    return int(text)


def _days(field: str) -> Days:
    """Read the days of the month: also `L`, `L-3`, `LW` and `15W`."""
    parts = [_day(each) for each in field.split(",")]
    return lambda each: any(matches(each) for matches in parts)


def _day(part: str) -> Days:
    from_end = re.fullmatch(r"L(?:-(\d{1,2}))?(W?)", part)
    if from_end is not None:
        before, near = int(from_end[1] or 0), bool(from_end[2])
        return lambda each: _is_day(each, max(1, _length(each) - before), near)
    nearest = re.fullmatch(r"(\d{1,2})W", part)
    if nearest is not None:
        wanted = _number(nearest[1], 1, 31, "day", ())
        return lambda each: wanted <= _length(each) and _is_day(each, wanted, True)
    numbers = _numbers(part, 1, 31, "day")
    return lambda each: each.day in numbers


def _is_day(each: date, wanted: int, near: bool) -> bool:
    """Return whether a day is the wanted one of its month, or the weekday nearest to that."""
    if not near:
        return each.day == wanted
    weekday = each.replace(day=wanted).weekday()
    if weekday == 5:
        wanted += -1 if wanted > 1 else 2
    elif weekday == 6:
        wanted += 1 if wanted < _length(each) else -2
    return each.day == wanted


def _length(each: date) -> int:
    return monthrange(each.year, each.month)[1]


def _weekdays(field: str, first: int) -> Days:
    """Read the days of the week: also `6L` (the last one) and `6#3` (the third)."""
    parts = [_weekday(each, first) for each in field.split(",")]
    return lambda each: any(matches(each) for matches in parts)


def _weekday(part: str, first: int) -> Days:
    if part == "L" and first == 1:
        part = "7"  # Quartz: of the days of the week, the last one is Saturday.
    match = re.fullmatch(r"(\w+?)(?:(L)|#([1-5]))", part)
    if match is not None:
        wanted = _sundays(_number(match[1], first, 7, "weekday", _WEEKDAYS), first)
        if match[2]:
            return lambda each: _of_week(each) == wanted and each.day + 7 > _length(each)
        nth = int(match[3])
        return lambda each: _of_week(each) == wanted and (each.day + 6) // 7 == nth
    # Counted from 0, Sunday is 7 too: `5-7` is Friday to Sunday.
    low, high = (1, 7) if first else (0, 7 if "7" in part else 6)
    numbers = _numbers(part, low, high, "weekday", _WEEKDAYS, around="7" not in part or first == 1)
    wanted_days = {_sundays(each, first) for each in numbers}
    return lambda each: _of_week(each) in wanted_days


def _sundays(number: int, first: int) -> int:
    """Return a day of the week counted from Sunday = 0."""
    return (number - first) % 7


def _of_week(each: date) -> int:
    return each.isoweekday() % 7
