"""Apply functions to values: built-in ones, and those that an expression defines."""

from __future__ import annotations

from typing import Any

from mlkit.bpmn.expressions.feel.budget import Run
from mlkit.bpmn.expressions.feel.types import Type
from mlkit.bpmn.expressions.feel.values import Date, DateTime, Function, Refused

# What a function raises for arguments that it does not take.
REFUSALS = (
    Refused, ArithmeticError, TypeError, ValueError, KeyError, IndexError, AttributeError,
)  # fmt: skip


def invoke(run: Run, function: Any, values: list[Any]) -> Any:
    """Call a built-in function: it is charged with the size of what it is given."""
    units = 1
    for each in values:
        kind = type(each)
        if kind is list or kind is dict:
            units += len(each)
        elif kind is str:
            units += len(each) >> 4
    run.charge(units)
    try:
        return function(run, *values)
    except REFUSALS:
        return None


def apply(run: Run, function: Any, values: list[Any], keys: tuple[str, ...] | None = None) -> Any:
    """Call a value; what is not a function, or does not take the arguments, has no value."""
    if type(function) is not Function:
        return None
    if function.name:
        return function.call(run, values, keys)
    if keys is not None:
        if sorted(keys) != sorted(function.parameters):
            return None
        by_name = dict(zip(keys, values, strict=True))
        values = [by_name[each] for each in function.parameters]
    if len(values) != len(function.parameters):
        return None
    return _apply_typed(run, function, values)


def _apply_typed(run: Run, function: Function, values: list[Any]) -> Any:
    """Call a function of the expression's own, its arguments conformed to declared types."""
    for at, wanted in enumerate(function.types):
        if wanted is not None:
            values[at] = coerce(run, wanted, values[at])
            if values[at] is UNFIT:
                return None
    return function.call(*values)


UNFIT = object()


def coerce(run: Run, wanted: Type, value: Any) -> Any:
    """Return a value as a type has it.

    A list of one is its item, an item a list of one, a date a date and time at midnight UTC.
    """
    if value is None or wanted.name == "Any" or wanted.holds(value, run):
        return value
    if wanted.name == "list" and wanted.holds([value], run):
        return [value]
    if type(value) is list and len(value) == 1 and wanted.holds(value[0], run):
        return value[0]
    if type(value) is Date and wanted.name == "date and time":
        moment = DateTime(value, 0, 0)
        return moment if wanted.holds(moment, run) else UNFIT
    return UNFIT
