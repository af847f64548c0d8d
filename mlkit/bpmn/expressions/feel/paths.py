"""What follows a dot: entries of contexts, properties of dates, times and ranges."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from mlkit.bpmn.expressions.feel.budget import Run
from mlkit.bpmn.expressions.feel.calendar import weekday
from mlkit.bpmn.expressions.feel.values import SECOND, Date, DateTime, Days, Months, Range, Time


def _cut(value: int, unit: int, of: int = 0) -> Decimal:
    """Return the whole units of a signed value, those of a larger unit left out."""
    size = abs(value) // unit % of if of else abs(value) // unit
    return Decimal(-size if value < 0 else size)


_DATE: dict[str, Callable[[Any], Any]] = {
    "year": lambda date: Decimal(date.year),
    "month": lambda date: Decimal(date.month),
    "day": lambda date: Decimal(date.day),
    "weekday": lambda date: Decimal(weekday(date)),
}
_TIME: dict[str, Callable[[Any], Any]] = {
    "hour": lambda time: _cut(time.nanos, 3600 * SECOND),
    "minute": lambda time: _cut(time.nanos, 60 * SECOND, 60),
    "second": lambda time: _cut(time.nanos, SECOND, 60),
    "time offset": lambda time: None if time.offset is None else Days(time.offset * SECOND),
    "timezone": lambda time: time.zone or None,
}
_PROPERTIES: dict[type, dict[str, Callable[[Any], Any]]] = {
    Date: _DATE,
    Time: _TIME,
    DateTime: {
        **_TIME,
        "year": lambda moment: Decimal(moment.date.year),
        "month": lambda moment: Decimal(moment.date.month),
        "day": lambda moment: Decimal(moment.date.day),
        "weekday": lambda moment: Decimal(weekday(moment.date)),
    },
    Days: {
        "days": lambda length: _cut(length.nanos, 86_400 * SECOND),
        "hours": lambda length: _cut(length.nanos, 3600 * SECOND, 24),
        "minutes": lambda length: _cut(length.nanos, 60 * SECOND, 60),
        "seconds": lambda length: _cut(length.nanos, SECOND, 60),
    },
    Months: {
        "years": lambda length: _cut(length.months, 12),
        "months": lambda length: _cut(length.months, 1, 12),
    },
    Range: {
        "start": lambda range_: range_.start,
        "end": lambda range_: range_.end,
        "start included": lambda range_: range_.start_included,
        "end included": lambda range_: range_.end_included,
    },
}


def member(run: Run, value: Any, name: str) -> Any:
    """Return what a value has by a name; of a list, what each of its items has."""
    kind = type(value)
    if kind is dict:
        return value.get(name)
    if kind is list:
        run.charge(len(value))
        return [member(run, each, name) for each in value]
    found = _PROPERTIES.get(kind, {}).get(name)
    return None if found is None else found(value)
