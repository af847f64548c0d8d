"""How the dialects differ in what an operation means."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

MAX_DIGITS = 4_000
MAX_BITS = 13_300
MAX_TEXT = 1_000_000

_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt,
    "le": operator.le, "gt": operator.gt, "ge": operator.ge,
}  # fmt: skip
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv,
    "floordiv": operator.floordiv, "mod": operator.mod, "pow": operator.pow,
}  # fmt: skip
Number = (int, float, Decimal)
Temporal = (date, time, timedelta)


class OperationError(Exception):
    """An operation that its operands do not allow, or that would take too much."""


class Refusal(OperationError):
    """A function that refuses its arguments."""


class Dialect:
    """Python's meaning of the operations; the others override where they differ."""

    def truth(self, value: Any) -> bool:
        """Decide a condition."""
        return bool(value)

    def contains(self, whole: Any, item: Any, wanted: bool) -> Any:
        """Return whether an item is in a whole, or that it is not."""
        return (item in whole) == wanted

    def compare(self, op: str, left: Any, right: Any) -> Any:
        """Compare two values."""
        return _COMPARISONS[op](left, right)

    def arithmetic(self, op: str, left: Any, right: Any) -> Any:
        """Add, subtract, multiply, divide or raise to a power, within limits."""
        _check_size(op, left, right)
        if isinstance(left, Decimal) and isinstance(right, float):
            right = Decimal(repr(right))
        elif isinstance(left, float) and isinstance(right, Decimal):
            left = Decimal(repr(left))
        return _ARITHMETIC[op](left, right)

    def item(self, base: Any, key: Any) -> Any:
        """Look into data: a key of a mapping, an index of a list, a part of a date."""
        if isinstance(base, dict):
            return base[key]
        if isinstance(key, str) and isinstance(base, Temporal):
            return _part(base, key)
        if isinstance(base, list | str) and isinstance(key, int):
            return base[key]
        raise OperationError(f"{kind(base)} has no {key!r}")

    def logic(self, op: str, left: Any, right: Callable[[], Any]) -> Any:
        """Combine two conditions; the right one is evaluated only where it matters."""
        decided = self.truth(left) == (op == "or")
        return left if decided else right()

    def negate(self, value: Any) -> Any:
        """Return the opposite condition."""
        return not self.truth(value)


class Juel(Dialect):
    """JUEL: null counts as zero, text that looks like a number is one."""

    def truth(self, value: Any) -> bool:
        """Coerce to boolean: null and text other than `true` are false."""
        if value is None or isinstance(value, str):
            return value is not None and value.lower() == "true"
        if isinstance(value, bool):
            return value
        raise OperationError(f"{kind(value)} is not a condition")

    def compare(self, op: str, left: Any, right: Any) -> Any:
        """Compare after coercion to a common type."""
        if left is None or right is None:
            return {"eq": left is right, "ne": left is not right}.get(op, False)
        if isinstance(left, bool) or isinstance(right, bool):
            left, right = self.truth(left), self.truth(right)
        elif isinstance(left, Number) != isinstance(right, Number):
            left, right = _juel_number(left), _juel_number(right)
        return super().compare(op, left, right)

    def item(self, base: Any, key: Any) -> Any:
        """Look into data: null is empty, and what is not in a map or list is null."""
        if base is None:
            return None
        if isinstance(base, dict):
            return base.get(key)
        if isinstance(base, list):
            at = _juel_number(key)
            return base[at] if isinstance(at, int) and 0 <= at < len(base) else None
        return super().item(base, key)

    def arithmetic(self, op: str, left: Any, right: Any) -> Any:
        """Compute after coercion to numbers."""
        if isinstance(left, Temporal) or isinstance(right, Temporal):
            return super().arithmetic(op, left, right)
        one, other = _juel_number(left), _juel_number(right)
        if op == "mod" and isinstance(one, int) and isinstance(other, int):
            # The rest has the sign of the dividend, as in Java.
            rest = abs(one) % abs(other)
            return -rest if one < 0 else rest
        return super().arithmetic(op, one, other)

    def logic(self, op: str, left: Any, right: Callable[[], Any]) -> Any:
        """Combine two conditions into true or false."""
        decided = self.truth(left) == (op == "or")
        return self.truth(left if decided else right())


DIALECTS = {"python": Dialect(), "juel": Juel()}


def kind(value: Any) -> str:
    """Name the type of a value for a message."""
    return "null" if value is None else type(value).__name__


def _check_size(op: str, left: Any, right: Any) -> None:
    """Refuse what would take too much time or memory, before it does."""
    if op in ("mul", "add") and not (isinstance(left, Number) and isinstance(right, Number)):
        _check_length(op, left, right)
    elif op == "mul" and isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > MAX_BITS:
            raise OperationError("the result is too large")
    elif op == "pow" and _digits(left) * _power(right) > MAX_DIGITS:
        raise OperationError("the result is too large")
    if op == "mod" and isinstance(left, str):
        raise OperationError("'%' does not format text here")


def _check_length(op: str, left: Any, right: Any) -> None:
    sizes = [len(each) if isinstance(each, str | list) else 0 for each in (left, right)]
    times = max((each for each in (left, right) if isinstance(each, int)), default=0)
    if (sum(sizes) if op == "add" else max(sizes) * times) > MAX_TEXT:
        raise OperationError("the result is too long")


def _digits(value: Any) -> int:
    """Return about how many decimal digits a whole number has; 1 for others, whose power is one."""
    return int(value.bit_length() * 0.302) + 1 if isinstance(value, int) else 1


def _power(value: Any) -> int:
    return abs(value) if isinstance(value, int) else 1


def _part(base: Any, key: str) -> Any:
    if isinstance(base, timedelta) and key in ("days", "seconds"):
        return getattr(base, key)
    clock = key in ("hour", "minute", "second") and isinstance(base, datetime | time)
    if clock or (key in ("year", "month", "day") and isinstance(base, date)):
        return getattr(base, key)
    raise OperationError(f"{kind(base)} has no {key!r}")


def _juel_number(value: Any) -> Any:
    if value is None or value == "":
        return 0
    if isinstance(value, bool):
        raise OperationError("bool is not a number")
    if isinstance(value, str):
        try:
            number = float(value) if any(c in value for c in ".eE") else int(value)
        except ValueError:
            raise OperationError(f"{value!r} is not a number") from None
        if number in (math.inf, -math.inf):
            raise OperationError(f"{value!r} is too large")
        return number
    return value
