"""Equality, order and membership (DMN 1.5, tables 51 to 55): null where there is none."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from operator import ge, gt, le, lt
from typing import Any

from mlkit.bpmn.expressions.feel.budget import Run
from mlkit.bpmn.expressions.feel.calendar import instant
from mlkit.bpmn.expressions.feel.values import SECOND, Date, DateTime, Days, Months, Range, Time

_PLAIN = frozenset((Decimal, str, bool, Date, Days, Months))
_ORDERED = frozenset((Decimal, str, Date, Days, Months))
ORDER: dict[str, Callable[[Any, Any], bool]] = {"lt": lt, "le": le, "gt": gt, "ge": ge}


def equal(run: Run, one: Any, other: Any) -> bool | None:
    """Return whether two values are equal; None if they are of two types."""
    if one is None or other is None:
        return one is other
    kind = type(one)
    if kind is not type(other):
        return None
    if kind in _PLAIN:
        return bool(one == other)
    if kind is list:
        return _equal_lists(run, one, other)
    if kind is dict:
        return _equal_contexts(run, one, other)
    if kind is Range:
        same = (one[0], one[3]) == (other[0], other[3])
        return same and all(equal(run, one[at], other[at]) is True for at in (1, 2))
    if kind is Time or kind is DateTime:
        left, right = clock(one), clock(other)
        return left[1] == right[1] if left[0] == right[0] else None
    return one is other


def _equal_lists(run: Run, one: list[Any], other: list[Any]) -> bool:
    if len(one) != len(other):
        return False
    for left, right in zip(one, other, strict=True):
        run.charge(1)
        if equal(run, left, right) is not True:
            return False
    return True


def _equal_contexts(run: Run, one: dict[str, Any], other: dict[str, Any]) -> bool:
    run.charge(len(one))
    if one.keys() != other.keys():
        return False
    return all(equal(run, value, other[name]) is True for name, value in one.items())


def clock(value: Time | DateTime) -> tuple[bool, int]:
    """Return whether a value is local, and its place on the time line of its kind."""
    if type(value) is DateTime:
        return value.offset is None, instant(value)
    return value.offset is None, value.nanos - (value.offset or 0) * SECOND


def compare(op: str, one: Any, other: Any) -> bool | None:
    """Compare two values; None if they have no order."""
    kind = type(one)
    if kind is not type(other):
        return None
    if kind in _ORDERED:
        return ORDER[op](one, other)
    if kind is Time or kind is DateTime:
        left, right = clock(one), clock(other)
        return ORDER[op](left[1], right[1]) if left[0] == right[0] else None
    return None


def both(one: bool | None, other: bool | None) -> bool | None:
    """Return the conjunction of two conditions that may be unknown."""
    if one is False or other is False:
        return False
    return True if one and other else None


def contains(run: Run, interval: Range, value: Any) -> bool | None:
    """Return whether a range holds a value; None if they cannot be compared."""
    run.charge(1)
    low = high = True if value is not None else None
    if interval.start is not None:
        low = compare("ge" if interval.start_included else "gt", value, interval.start)
    if interval.end is not None:
        high = compare("le" if interval.end_included else "lt", value, interval.end)
    return both(low, high)


def within(run: Run, value: Any, whole: Any) -> bool | None:
    """Return whether a value is in a list or range, or equal to a single value."""
    if type(whole) is Range and type(value) is not Range:
        return contains(run, whole, value)
    if type(whole) is list:
        return _in_list(run, value, whole)
    if whole is None:
        return None
    return equal(run, value, whole)


def _in_list(run: Run, value: Any, items: list[Any]) -> bool:
    for each in items:
        run.charge(1)
        if equal(run, value, each) is True:
            return True
        if type(each) is Range and contains(run, each, value) is True:
            return True
    return False


def test(run: Run, value: Any, wanted: Any) -> bool | None:
    """Return whether a value passes a unary test that is a value: equal to it, or in it."""
    if type(value) is list and type(wanted) is list:
        return equal(run, value, wanted) is True or _in_list(run, value, wanted)
    if wanted is None:
        return value is None
    return within(run, value, wanted)


def key(run: Run, value: Any) -> Any:
    """Return what two equal values have in common, for sets and dictionaries."""
    run.charge(1)
    kind = type(value)
    if kind is list:
        return (list, *(key(run, each) for each in value))
    if kind is dict:
        return (dict, frozenset((name, key(run, each)) for name, each in value.items()))
    if kind is Time or kind is DateTime:
        return (kind, clock(value))
    if kind is Range:
        return (kind, value[0], key(run, value[1]), key(run, value[2]), value[3])
    return (kind, value)
