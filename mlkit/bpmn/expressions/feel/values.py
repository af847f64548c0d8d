"""The values of FEEL (DMN 1.5, 10.3.2), each a type of its own.

Numbers are `Decimal`, texts `str`, lists `list`, contexts `dict`, null is None; the rest is here.
Dates reach from year -999999999 to 999999999 and times count nanoseconds, which Python's own
types cannot hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

MAX_YEAR = 999_999_999
SECOND = 1_000_000_000
DAY = 86_400 * SECOND
MAX_OFFSET = 18 * 3600


class Refused(Exception):
    """An operation that has no value: FEEL answers null."""


class Date(NamedTuple):
    """A day of the proleptic Gregorian calendar, with a year zero."""

    year: int
    month: int
    day: int


class Time(NamedTuple):
    """A time of day.

    Attributes:
        nanos: Nanoseconds since midnight.
        offset: Seconds east of UTC; None for a local time.
        zone: The zone id that the offset comes from, or an empty text.
    """

    nanos: int
    offset: int | None = None
    zone: str = ""


class DateTime(NamedTuple):
    """A date and time.

    Attributes:
        date: The local date.
        nanos: Nanoseconds since local midnight.
        offset: Seconds east of UTC; None for a local date and time.
        zone: The zone id that the offset comes from, or an empty text.
    """

    date: Date
    nanos: int
    offset: int | None = None
    zone: str = ""


class Days(NamedTuple):
    """A days and time duration, in nanoseconds."""

    nanos: int


class Months(NamedTuple):
    """A years and months duration, in months."""

    months: int


class Range(NamedTuple):
    """An interval; an end of None is unbounded."""

    start_included: bool
    start: Any
    end: Any
    end_included: bool


class Function:
    """A function as a value.

    Args:
        parameters: The names of its parameters.
        call: Takes one argument for each of them.
        name: What it is called, if it is a built-in function.
        types: The declared types of the parameters; None where there is none.
    """

    __slots__ = ("call", "name", "parameters", "types")

    def __init__(
        self,
        parameters: tuple[str, ...],
        call: Callable[..., Any],
        name: str = "",
        types: tuple[Any, ...] = (),
    ) -> None:
        self.parameters = parameters
        self.call = call
        self.name = name
        self.types = types
