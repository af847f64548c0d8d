"""What functions take: each checks a value, and refuses one of another type."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from mlkit.bpmn.expressions.feel.numbers import whole
from mlkit.bpmn.expressions.feel.values import Date, DateTime, Refused


def text(value: Any) -> str:
    """Return a text."""
    if type(value) is not str:
        raise Refused
    return value


def numeric(value: Any) -> Decimal:
    """Return a number."""
    if type(value) is not Decimal:
        raise Refused
    return value


def items(value: Any) -> list[Any]:
    """Return a list; a single value is a list of one."""
    if value is None:
        raise Refused
    return value if type(value) is list else [value]


def entries(value: Any) -> dict[str, Any]:
    """Return a context."""
    if type(value) is not dict:
        raise Refused
    return value


def day(value: Any) -> Date:
    """Return a date, or that of a date and time."""
    if type(value) is DateTime:
        return value.date
    if type(value) is not Date:
        raise Refused
    return value


def values(arguments: tuple[Any, ...]) -> list[Any]:
    """Return what an aggregate works on: one list, or the arguments."""
    if len(arguments) == 1:
        return items(arguments[0])
    return list(arguments)


def index(position: Any, length: int, extra: int = 0) -> int:
    """Turn a position that counts from 1, or from the end if negative, into an index."""
    at = whole(position)
    if at == 0 or not -length <= at <= length + extra:
        raise Refused
    return at - 1 if at > 0 else length + at
