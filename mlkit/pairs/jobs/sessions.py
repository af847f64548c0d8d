"""Sessions of a market, by the clock of its place, and the bars that they are divided into.

Bars of a session begin with it and have one length by elapsed time; the last one ends with the
session. Days on which clocks change have the sessions that a clock at the wall shows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import UsageError

Times = NDArray[np.int64]
"""Nanoseconds since 1970."""
NEVER = -(2**63)
_DAY = 86_400 * 10**9
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = date(1678, 1, 1), date(2261, 12, 31)


@dataclass(frozen=True)
class Session:
    """The hours of a market.

    Attributes:
        open: When a session begins, HH:MM.
        close: When it ends, HH:MM; at or before `open`: on the next day. "24:00" is the day's end.
        zone: The time zone of both, by its IANA name.
        days: The weekdays on which sessions begin: "Mon-Fri", "Mon,Wed".
        holidays: Dates without a session, in ISO 8601.
        early: Dates on which a session ends at another time, with that time.

    Raises:
        UsageError: One of them is no time of day, zone, weekday or date.
    """

    open: str = "00:00"
    close: str = "24:00"
    zone: str = "UTC"
    days: str = "Mon-Sun"
    holidays: tuple[str, ...] = ()
    early: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for text in (self.open, self.close, *self.early.values()):
            _minutes(text)
        if self.open == "24:00":
            raise UsageError("a session opens at '24:00'", hint="00:00 of the next day")
        for text in (*self.holidays, *self.early):
            _date(text)
        _ = self._zone, self._weekdays

    @property
    def hours(self) -> str:
        """The usual hours, as text."""
        return f"{self.open}-{self.close} {self.days} {self.zone}"

    @cached_property
    def _zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError) as error:
            hint = "a name such as America/New_York"
            raise UsageError(f"no time zone '{self.zone}'", hint=hint) from error

    @cached_property
    def _weekdays(self) -> frozenset[int]:
        found: set[int] = set()
        for part in self.days.split(","):
            first, _, last = part.strip().partition("-")
            if first not in _WEEKDAYS or (last or first) not in _WEEKDAYS:
                raise UsageError(f"no weekdays '{self.days}'", hint="Mon-Fri or Mon,Wed")
            begin, end = _WEEKDAYS.index(first), _WEEKDAYS.index(last or first)
            found |= {(begin + n) % 7 for n in range((end - begin) % 7 + 1)}
        return frozenset(found)

    @cached_property
    def _skipped(self) -> frozenset[date]:
        return frozenset(map(_date, self.holidays))

    @cached_property
    def _early(self) -> dict[date, str]:
        return {_date(day): close for day, close in self.early.items()}

    def _of(self, day: date) -> tuple[int, int] | None:
        """Return when the session that begins on a day opens and closes; None without one."""
        if day.weekday() not in self._weekdays or day in self._skipped:
            return None
        opens, closes = _minutes(self.open), _minutes(self._early.get(day, self.close))
        later = closes if closes > opens else closes + 24 * 60
        return self._moment(day, opens), self._moment(day, later)

    def _moment(self, day: date, minutes: int) -> int:
        days, rest = divmod(minutes, 24 * 60)
        clock = time(rest // 60, rest % 60)
        moment = datetime.combine(day + timedelta(days), clock, self._zone).astimezone(UTC)
        elapsed = moment - _EPOCH
        return (elapsed.days * 86_400 + elapsed.seconds) * 10**9

    def around(self, times: Times) -> tuple[Times, Times]:
        """Return when the session of each time opens and closes; `NEVER` outside of all."""
        days = np.unique(times // _DAY)
        near = np.unique(np.concatenate([days - 1, days, days + 1])).tolist()
        dates = (_EPOCH.date() + timedelta(day) for day in near)
        found = [self._of(day) for day in dates if _FIRST < day < _LAST]
        known = np.array([each for each in found if each], dtype=np.int64).reshape(-1, 2)
        known = known[np.argsort(known[:, 0], kind="stable")]
        place = np.searchsorted(known[:, 0], times, side="right") - 1
        edges = np.vstack([known, [[NEVER, NEVER]]])[place]
        inside = times < edges[:, 1]
        return np.where(inside, edges[:, 0], NEVER), np.where(inside, edges[:, 1], NEVER)


def _minutes(text: str) -> int:
    found = re.fullmatch(r"(\d\d):(\d\d)", text)
    minutes = int(found[1]) * 60 + int(found[2]) if found and int(found[2]) < 60 else 1441
    if minutes > 24 * 60:
        raise UsageError(f"'{text}' is not a time of day", hint="HH:MM, 24:00 at most")
    return minutes


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except (ValueError, TypeError) as error:
        raise UsageError(f"'{text}' is not a date", hint="YYYY-MM-DD") from error


class Grid(Protocol):
    """Which bars there are."""

    def starts(self, times: Times) -> Times:
        """Return the start of the bar of each time; `NEVER` outside of all."""

    def between(self, before: int, start: int) -> Times:
        """Return the starts of bars after one and before another that have to be there."""


@dataclass(frozen=True)
class Continuous:
    """Bars from multiples of their length since 1970 on, in UTC.

    Attributes:
        length: In nanoseconds.
    """

    length: int

    def starts(self, times: Times) -> Times:
        """Return the start of the bar of each time; see `Grid`."""
        return times - times % self.length

    def between(self, before: int, start: int) -> Times:
        """Return the starts of all bars between two; see `Grid`."""
        return _range(before + self.length, start, self.length)


@dataclass(frozen=True)
class InSessions:
    """Bars from the opening of each session on.

    Attributes:
        session: The hours.
        length: In nanoseconds; longer than a session: one bar for each.
    """

    session: Session
    length: int

    def starts(self, times: Times) -> Times:
        """Return the start of the bar of each time; see `Grid`."""
        opens, _ = self.session.around(times)
        return np.where(opens == NEVER, NEVER, opens + (times - opens) // self.length * self.length)

    def between(self, before: int, start: int) -> Times:
        """Return the starts of the bars between two, of the sessions of these; see `Grid`."""
        opens, closes = self.session.around(np.array([before, start]))
        if opens[0] == opens[1]:
            return _range(before + self.length, start, self.length)
        rest = _range(before + self.length, int(closes[0]), self.length)
        return np.concatenate([rest, _range(int(opens[1]), start, self.length)])


MOST = 10_000
"""Bars that are made between two, at most."""


def _range(start: int, stop: int, step: int) -> Times:
    count = max(0, -((start - stop) // step))
    return start + step * np.arange(count if count <= MOST else 0, dtype=np.int64)
