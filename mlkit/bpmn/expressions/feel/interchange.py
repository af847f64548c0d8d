"""Values on their way in and out: variables of Python become values of FEEL, and back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from mlkit.bpmn.expressions.feel.budget import LimitReached, Run
from mlkit.bpmn.expressions.feel.calendar import zoned
from mlkit.bpmn.expressions.feel.numbers import CONTEXT, number
from mlkit.bpmn.expressions.feel.temporal import write_months
from mlkit.bpmn.expressions.feel.types import type_name
from mlkit.bpmn.expressions.feel.values import (
    SECOND,
    Date,
    DateTime,
    Days,
    Function,
    Months,
    Range,
    Time,
)

MAX_LEVELS = 200
_FEEL = frozenset((Date, Time, DateTime, Days, Months, Range, Function))
_MICRO = 1000


class Unfit(Exception):
    """A value that no variable can hold."""


def enter(run: Run, value: Any, level: int = 0) -> Any:
    """Return a variable's value as one of FEEL; a number that is none, or unknown, is null.

    Raises:
        LimitReached: It is too large, or nests too deeply.
    """
    kind = type(value)
    if value is None or kind is str or kind is bool or kind in _FEEL:
        return value
    if kind is int or kind is Decimal:
        return number(value)
    if kind is float:
        return number(repr(value))
    if kind in (list, tuple, dict):
        return _enter_container(run, value, level)
    return _enter_other(value)


def _enter_container(run: Run, value: Any, level: int) -> Any:
    if level > MAX_LEVELS:
        raise LimitReached("values nest too deeply")
    run.charge(len(value))
    if type(value) is dict:
        return {str(name): enter(run, each, level + 1) for name, each in value.items()}
    return [enter(run, each, level + 1) for each in value]


def _enter_other(value: Any) -> Any:
    if isinstance(value, datetime):
        return from_datetime(value)
    if isinstance(value, date):
        return Date(value.year, value.month, value.day)
    if isinstance(value, time):
        return _from_time(value)
    if isinstance(value, timedelta):
        return Days(
            ((value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds) * _MICRO
        )
    if isinstance(value, int | float):
        return number(repr(float(value)) if isinstance(value, float) else int(value))
    return str(value) if isinstance(value, str) else None


def from_datetime(value: datetime) -> DateTime:
    """Return a datetime of Python as a date and time."""
    day = Date(value.year, value.month, value.day)
    nanos = (value.hour * 3600 + value.minute * 60 + value.second) * SECOND
    nanos += value.microsecond * _MICRO
    if isinstance(value.tzinfo, ZoneInfo) and value.tzinfo.key:
        return zoned(day, nanos, value.tzinfo.key)
    return DateTime(day, nanos, _offset(value.utcoffset()))


def _from_time(value: time) -> Time:
    nanos = (value.hour * 3600 + value.minute * 60 + value.second) * SECOND
    return Time(nanos + value.microsecond * _MICRO, _offset(value.utcoffset()))


def _offset(length: timedelta | None) -> int | None:
    return None if length is None else int(length.total_seconds())


# -- back --------------------------------------------------------------------------------------


def leave(run: Run, value: Any, level: int = 0) -> Any:
    """Return a value as a variable can hold it.

    Raises:
        Unfit: It is a range or function, of a year outside of 1 to 9999, or finer than a
            microsecond: a variable has no room for it.
        LimitReached: It is too large, or nests too deeply.
    """
    kind = type(value)
    if value is None or kind is str or kind is bool:
        return value
    if kind is Decimal:
        return _number(value)
    if kind is list or kind is dict:
        if level > MAX_LEVELS:
            raise LimitReached("values nest too deeply")
        run.charge(len(value) + 1)
        if kind is list:
            return [leave(run, each, level + 1) for each in value]
        return {name: leave(run, each, level + 1) for name, each in value.items()}
    try:
        return _WRITERS[kind](value)
    except (ValueError, OverflowError):
        raise Unfit(f"a {type_name(value)} of this size does not fit into a variable") from None


def _number(value: Decimal) -> int | float | Decimal:
    """Return a whole number as an integer, another as a float if it is exactly that one."""
    if value.adjusted() <= CONTEXT.prec and value == value.to_integral_value():
        return int(value)
    nearest = float(value)
    return nearest if Decimal(repr(nearest)) == value else value


def _to_micros(nanos: int) -> int:
    micros, rest = divmod(nanos, _MICRO)
    if rest:
        raise ValueError
    return micros


def _zone(offset: int | None) -> timezone | None:
    return None if offset is None else timezone(timedelta(seconds=offset))


def _clock(nanos: int) -> time:
    return (datetime.min + timedelta(microseconds=_to_micros(nanos))).time()


def _to_datetime(value: DateTime) -> datetime:
    if not 1 <= value.date.year <= 9999:
        raise ValueError
    return datetime.combine(date(*value.date), _clock(value.nanos), _zone(value.offset))


def _refuse(value: Any) -> Any:
    raise Unfit(f"a {type_name(value)} cannot be the value of a variable")


_WRITERS: dict[type, Callable[[Any], Any]] = {
    Date: lambda value: date(*value),
    Time: lambda value: _clock(value.nanos).replace(tzinfo=_zone(value.offset)),
    DateTime: _to_datetime,
    Days: lambda value: timedelta(microseconds=_to_micros(value.nanos)),
    # Timers read it, and Python has no such type.
    Months: write_months,
    Range: _refuse,
    Function: _refuse,
}
