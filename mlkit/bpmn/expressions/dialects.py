"""How the dialects differ in what an operation means."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, ClassVar

MAX_DIGITS = 4_000
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

    missing_is_null: ClassVar[bool] = False

    def enter(self, value: Any) -> Any:
        """Take the value of a variable."""
        return value

    def truth(self, value: Any) -> bool:
        """Decide a condition."""
        return bool(value)

    def contains(self, whole: Any, item: Any, wanted: bool) -> Any:
        """Say whether an item is in a whole, or that it is not."""
        return (item in whole) == wanted

    def compare(self, op: str, left: Any, right: Any) -> Any:
        """Compare two values."""
        return _COMPARISONS[op](left, right)

    def arithmetic(self, op: str, left: Any, right: Any) -> Any:
        """Add, subtract, multiply, divide or raise to a power, within limits."""
        _check_size(op, left, right)
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
        """Give the opposite condition."""
        return not self.truth(value)

    def result(self, value: Any) -> Any:
        """Turn the final value into one that a variable can hold."""
        return value


class Juel(Dialect):
    """JUEL: null counts as zero, text that looks like a number is one."""

    def truth(self, value: Any) -> bool:
        """Coerce to boolean: null and text other than `true` are false."""
        if value is None or isinstance(value, str):
            return value is not None and value.lower() == "true"
        if isinstance(value, bool):
            return value
        raise OperationError(f"{kind(value)} is no condition")

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


class Feel(Dialect):
    """FEEL: null spreads, conditions have three values, lists start at 1."""

    missing_is_null: ClassVar[bool] = True

    def enter(self, value: Any) -> Any:
        """Take the value of a variable: its numbers are decimals."""
        if isinstance(value, float):
            return Decimal(repr(value))
        if isinstance(value, list):
            return [self.enter(each) for each in value]
        if isinstance(value, dict):
            return {key: self.enter(each) for key, each in value.items()}
        return value

    def contains(self, whole: Any, item: Any, wanted: bool) -> Any:
        """Say whether a list holds an item; a single value is a list of one."""
        if whole is None:
            return None
        return any(
            self.compare("eq", each, item) is True
            for each in (whole if isinstance(whole, list) else [whole])
        )

    def truth(self, value: Any) -> bool:
        """Decide a condition: only true is true."""
        return value is True

    def compare(self, op: str, left: Any, right: Any) -> Any:
        """Compare values of one type; other pairs give null."""
        if left is None or right is None:
            return {"eq": left is right, "ne": left is not right}.get(op)
        left, right = _decimal(left), _decimal(right)
        if type(left) is not type(right):
            return None
        return super().compare(op, left, right)

    def arithmetic(self, op: str, left: Any, right: Any) -> Any:
        """Compute in decimals; what does not fit gives null."""
        if any(isinstance(each, timedelta) for each in (left, right)) and op in ("mul", "div"):
            left, right = (float(e) if isinstance(e, Decimal) else e for e in (left, right))
        else:
            left, right = _decimal(left), _decimal(right)
        texts = isinstance(left, str) and isinstance(right, str) and op == "add"
        try:
            if not texts and not all(map(_is_computed, (left, right))):
                return None
            return super().arithmetic(op, left, right)
        except (TypeError, ArithmeticError):
            return None

    def item(self, base: Any, key: Any) -> Any:
        """Look into data; what is not there is null."""
        try:
            if isinstance(base, list) and isinstance(key, str):
                return [self.item(each, key) for each in base]
            if isinstance(base, timedelta):
                return _of_duration(base, key)
            if isinstance(base, date) and key == "weekday":
                return base.isoweekday()
            return super().item(base, key)
        except (KeyError, OperationError):
            return None

    def logic(self, op: str, left: Any, right: Callable[[], Any]) -> Any:
        """Combine conditions that may be unknown (null)."""
        deciding = op == "or"
        if left is deciding:
            return deciding
        other = right()
        if other is deciding:
            return deciding
        known = isinstance(left, bool) and isinstance(other, bool)
        return (not deciding) if known else None

    def negate(self, value: Any) -> Any:
        """Give the opposite; the opposite of no condition is null."""
        return not value if isinstance(value, bool) else None

    def result(self, value: Any) -> Any:
        """Turn decimals into the numbers of JSON."""
        room = MAX_TEXT

        def turned(value: Any) -> Any:
            nonlocal room
            if isinstance(value, Decimal):
                return int(value) if value == value.to_integral_value() else float(value)
            if callable(value):
                raise OperationError("a function is no value")
            if isinstance(value, list | dict):
                # Loops can repeat a large value more often than fits into memory.
                room -= len(value)
                if room < 0:
                    raise OperationError("the result is too large")
            if isinstance(value, list):
                return [turned(each) for each in value]
            if isinstance(value, dict):
                return {key: turned(each) for key, each in value.items()}
            return value

        return turned(value)


DIALECTS = {"python": Dialect(), "juel": Juel(), "feel": Feel()}


def kind(value: Any) -> str:
    """Name the type of a value for a message."""
    return "null" if value is None else type(value).__name__


def _check_size(op: str, left: Any, right: Any) -> None:
    if op == "mul" and not (isinstance(left, Number) and isinstance(right, Number)):
        size = max((len(each) for each in (left, right) if isinstance(each, str | list)), default=0)
        times = max((each for each in (left, right) if isinstance(each, int)), default=0)
        if size * times > MAX_TEXT:
            raise OperationError("the result is too long")
    if op == "pow" and _digits(left) * _digits(right, itself=True) > MAX_DIGITS:
        raise OperationError("the result is too large")
    if op == "mod" and isinstance(left, str):
        raise OperationError("'%' formats no text here")


def _digits(value: Any, itself: bool = False) -> int:
    if not isinstance(value, int | Decimal):
        return 1
    number = abs(int(value))
    return number if itself else len(str(number))


def _part(base: Any, key: str) -> Any:
    if isinstance(base, timedelta) and key in ("days", "seconds"):
        return getattr(base, key)
    clock = key in ("hour", "minute", "second") and isinstance(base, datetime | time)
    if clock or (key in ("year", "month", "day") and isinstance(base, date)):
        return getattr(base, key)
    raise OperationError(f"{kind(base)} has no {key!r}")


def _of_duration(length: timedelta, key: Any) -> int:
    minutes, seconds = divmod(length.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = {"days": length.days, "hours": hours, "minutes": minutes, "seconds": seconds}
    return parts[key]


def _is_computed(value: Any) -> bool:
    return isinstance(value, (*Number, *Temporal)) and not isinstance(value, bool)


def _juel_number(value: Any) -> Any:
    if value is None or value == "":
        return 0
    if isinstance(value, bool):
        raise OperationError("bool is no number")
    if isinstance(value, str):
        try:
            number = float(value) if any(c in value for c in ".eE") else int(value)
        except ValueError:
            raise OperationError(f"{value!r} is no number") from None
        if number in (math.inf, -math.inf):
            raise OperationError(f"{value!r} is too large")
        return number
    return value


def _decimal(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return Decimal(value) if isinstance(value, int) else Decimal(repr(value))
