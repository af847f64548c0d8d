"""Arithmetic of numbers, texts, dates, times and durations (DMN 1.5, table 58)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from mlkit.bpmn.expressions.feel.budget import Run
from mlkit.bpmn.expressions.feel.calendar import (
    add_months,
    at_instant,
    from_days,
    instant,
    to_days,
    zoned,
)
from mlkit.bpmn.expressions.feel.comparison import clock
from mlkit.bpmn.expressions.feel.numbers import CONTEXT, power
from mlkit.bpmn.expressions.feel.temporal import check_days, check_months
from mlkit.bpmn.expressions.feel.values import DAY, Date, DateTime, Days, Months, Refused, Time

Operation = Callable[[Any, Any], Any]


def later(start: Any, length: Any) -> Any:
    """Return the date, time, or date and time that lies a duration after another.

    Raises:
        Refused: It lies outside of the calendar.
    """
    if type(length) is Months:
        return _months_later(start, length.months)
    if type(start) is Date:
        return from_days((to_days(start) * DAY + length.nanos) // DAY)
    if type(start) is Time:
        return start._replace(nanos=(start.nanos + length.nanos) % DAY)
    return at_instant(instant(start) + length.nanos, start.offset, start.zone)


def _months_later(start: Date | DateTime, months: int) -> Date | DateTime:
    if isinstance(start, Date):
        return add_months(start, months)
    date = add_months(start.date, months)
    return zoned(date, start.nanos, start.zone) if start.zone else start._replace(date=date)


def _earlier(start: Any, length: Any) -> Any:
    return later(start, type(length)(-length[0]))


def _between(end: Any, start: Any) -> Days:
    """Return the time between two moments; a date is its midnight in UTC.

    Raises:
        Refused: One is local, the other not.
    """
    ends, starts = (
        (False, to_days(each) * DAY) if type(each) is Date else clock(each) for each in (end, start)
    )
    if ends[0] != starts[0]:
        raise Refused
    return check_days(ends[1] - starts[1])


def _times(length: Any, factor: Decimal) -> Any:
    top, bottom = factor.as_integer_ratio()
    return _scale(length, top, bottom)


def _divide(length: Any, divisor: Decimal) -> Any:
    top, bottom = divisor.as_integer_ratio()
    return _scale(length, bottom, top)


def _scale(length: Any, top: int, bottom: int) -> Any:
    """Return a fraction of a duration, cut to whole nanoseconds or months."""
    if not bottom:
        raise Refused
    size = abs(length[0] * top) // abs(bottom)
    size = size if (length[0] < 0) == ((top < 0) != (bottom < 0)) else -size
    return check_months(size) if type(length) is Months else check_days(size)


def _ratio(one: Any, other: Any) -> Decimal:
    return CONTEXT.divide(Decimal(one[0]), Decimal(other[0]))


def _make_adder(make: Callable[[int], Any]) -> Operation:
    return lambda one, other: make(one[0] + other[0])


def _less(make: Callable[[int], Any]) -> Operation:
    return lambda one, other: make(one[0] - other[0])


_MOVED = [(Date, Months), (Date, Days), (DateTime, Months), (DateTime, Days), (Time, Days)]
_OPERATIONS: dict[str, dict[tuple[type, type], Operation]] = {
    "add": {
        (Decimal, Decimal): CONTEXT.add,
        (Days, Days): _make_adder(check_days),
        (Months, Months): _make_adder(check_months),
        **dict.fromkeys(_MOVED, later),
        **{(length, start): lambda a, b: later(b, a) for start, length in _MOVED},
    },
    "sub": {
        (Decimal, Decimal): CONTEXT.subtract,
        (Days, Days): _less(check_days),
        (Months, Months): _less(check_months),
        **dict.fromkeys(_MOVED, _earlier),
        (Date, Date): _between, (DateTime, DateTime): _between, (Time, Time): _between,
        (Date, DateTime): _between, (DateTime, Date): _between,
    },
    "mul": {
        (Decimal, Decimal): CONTEXT.multiply,
        (Days, Decimal): _times, (Months, Decimal): _times,
        (Decimal, Days): lambda a, b: _times(b, a), (Decimal, Months): lambda a, b: _times(b, a),
    },
    "div": {
        (Decimal, Decimal): CONTEXT.divide,
        (Days, Decimal): _divide, (Months, Decimal): _divide,
        (Days, Days): _ratio, (Months, Months): _ratio,
    },
    "pow": {(Decimal, Decimal): power},
}  # fmt: skip

# Some take as long as dozens of others.
_EXPENSIVE: dict[Operation, int] = {power: 100, later: 20, _earlier: 20}


def operation(op: str) -> Callable[[Run, Any, Any], Any]:
    """Return the function of an operator: null for operands that it does not fit."""
    table = _OPERATIONS[op]

    def compute(run: Run, left: Any, right: Any) -> Any:
        found = table.get((type(left), type(right)))
        if found is None:
            return _concatenate(run, left, right) if op == "add" else None
        if found in _EXPENSIVE:
            run.charge(_EXPENSIVE[found])
        try:
            return found(left, right)
        except (ArithmeticError, Refused):
            return None

    return compute


def _concatenate(run: Run, left: Any, right: Any) -> str | None:
    if type(left) is not str or type(right) is not str:
        return None
    run.charge_text(len(left) + len(right))
    return left + right


def negative(value: Any) -> Any:
    """Return the negative of a number or duration, or None."""
    if type(value) is Decimal:
        return value.copy_negate() if value else value
    if type(value) is Days or type(value) is Months:
        return type(value)(-value[0])
    return None
