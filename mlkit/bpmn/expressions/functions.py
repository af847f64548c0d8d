"""The functions that an expression may call; a method call `x.f(y)` means `f(x, y)`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any

from mlkit.bpmn.definition.timers import duration
from mlkit.bpmn.expressions.dialects import MAX_DIGITS, MAX_TEXT, OperationError, Refusal, kind
from mlkit.bpmn.expressions.tree import ExpressionError
from mlkit.errors import BadData

_REFUSALS = (
    TypeError, ValueError, AttributeError, LookupError, ArithmeticError, BadData, RecursionError,
)  # fmt: skip


def call(language: str, name: str, arguments: list[Any], now: datetime) -> Any:
    """Call a function that `check` knows.

    Raises:
        Refusal: It refuses its arguments.
        OperationError: A limit is reached.
    """
    if name in _TIMES:
        return now if name == "now" else now.date()
    try:
        return _TABLES[language][name](*arguments)
    except ExpressionError:
        raise  # Out of a function that `sort` was given.
    except _REFUSALS as error:
        raise Refusal(f"{name}: {error}") from error


@lru_cache(maxsize=4096)
def check(language: str, name: str, count: int) -> str:
    """Return what is wrong with a call of a function with `count` arguments; nothing if it fits."""
    function = _TIMES.get(name) or _TABLES[language].get(name)
    if function is None:
        return f"there is no function {name!r}"
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return f"{name!r} does not take {count} argument{'' if count == 1 else 's'}"
    except ValueError:
        pass  # One of Python's own that does not tell its parameters.
    return ""


def _contains(whole: Any, part: Any) -> bool:
    if isinstance(whole, str) and not isinstance(part, str):
        raise TypeError(f"expected text, found {kind(part)}")
    return part in whole


def _size(value: Any) -> int:
    return 0 if value is None else len(value)


def _extreme(pick: Callable[[Any], Any]) -> Callable[..., Any]:
    def extreme(*values: Any) -> Any:
        return pick(values[0] if len(values) == 1 and isinstance(values[0], list) else values)

    return extreme


def _sum(*values: Any) -> Any:
    return sum(values[0] if len(values) == 1 and isinstance(values[0], list) else values)


def _join(values: list[str], separator: str = "") -> str:
    if sum(map(len, values)) + len(values) * len(separator) > MAX_TEXT:
        raise OperationError("the result is too long")
    return separator.join(values)


def _replace(text: str, old: str, new: str) -> str:
    if (text.count(old) + 1) * (len(new) + 1) + len(text) > MAX_TEXT:
        raise OperationError("the result is too long")
    return text.replace(old, new)


def _substring(text: str, start: int, end: int | None = None) -> str:
    """Return a part of a text as Java's strings do: from 0, without the end."""
    stop = len(text) if end is None else end
    if not 0 <= start <= stop <= len(text):
        raise ValueError(f"no part of a text of {len(text)} characters")
    return text[start:stop]


def _concatenate(text: str, more: str) -> str:
    return _join([text, more])


def _index_of(whole: str | list[Any], part: Any) -> int:
    if isinstance(whole, str):
        return whole.find(part)
    return next((at for at, each in enumerate(whole) if each == part), -1)


def _get(whole: dict[str, Any] | list[Any], key: Any, default: Any = None) -> Any:
    if isinstance(whole, list):
        return whole[key] if 0 <= key < len(whole) else default
    return whole.get(key, default)


def _whole(value: Any) -> int:
    """Return the integer of a number or text.

    Raises:
        OperationError: It would have thousands of digits.
    """
    return int(_of_size(value))


def _of_size(value: Any) -> Any:
    """Return a number whose integer has an ordinary length: 1e999999999 would fill the memory."""
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() > MAX_DIGITS:
        raise OperationError("the number is too large")
    return value


def _round(value: Any, digits: int | None = None) -> Any:
    return round(_of_size(value), digits)


def _format(value: Any) -> str:
    """Return a value as text; what it holds was weighed, so only long numbers are left."""
    shown = str(value)
    if len(shown) > MAX_TEXT:
        raise OperationError("the result is too long")
    return shown


def to_date(*parts: Any) -> date:
    """Return a date: of year, month and day, of a moment, or of ISO text."""
    if len(parts) == 3:
        return date(*map(_whole, parts))
    (value,) = parts
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else date.fromisoformat(value)


def to_temporal(text: str) -> Any:
    """Return a date, a time, both, or a duration out of ISO text."""
    if text.lstrip("-").startswith("P"):
        return duration(text)
    if "T" in text:
        return datetime.fromisoformat(text)
    return time.fromisoformat(text) if ":" in text else date.fromisoformat(text)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "len": _size, "size": _size, "count": _size, "length": _size,
    "contains": _contains,
    "min": _extreme(min), "max": _extreme(max), "sum": _sum,
    "any": any, "all": all, "abs": abs, "round": _round,
    "floor": lambda value: math.floor(_of_size(value)),
    "ceiling": lambda value: math.ceil(_of_size(value)), "int": _whole,
    "float": float, "number": float, "str": _format, "string": _format, "bool": bool,
    "lower": str.lower, "toLowerCase": str.lower,
    "upper": str.upper, "toUpperCase": str.upper,
    "strip": str.strip, "trim": str.strip,
    "startswith": str.startswith, "startsWith": str.startswith,
    "endswith": str.endswith, "endsWith": str.endswith,
    "join": _join, "replace": _replace, "sorted": sorted, "get": _get,
    "not": lambda value: (not value) if isinstance(value, bool) else None,
    "isEmpty": lambda value: not value, "empty": lambda value: not value,
    "equals": lambda value, other: bool(value == other),
    "date": to_date, "datetime": datetime.fromisoformat,
    "duration": duration, "temporal": to_temporal,
}  # fmt: skip
# The methods of Java's strings, lists and maps that people write.
_JAVA: dict[str, Callable[..., Any]] = {
    "charAt": lambda text, at: _substring(text, at, at + 1), "lastIndexOf": str.rfind,
    "substring": _substring, "toString": _format, "indexOf": _index_of, "concat": _concatenate,
    "containsKey": lambda mapping, key: key in mapping,
    "equalsIgnoreCase": lambda one, other: one.lower() == other.lower(),
}  # fmt: skip
_TABLES: dict[str, dict[str, Callable[..., Any]]] = {
    "python": FUNCTIONS,
    "juel": FUNCTIONS | _JAVA,
}
_TIMES: dict[str, Callable[[], None]] = {"now": lambda: None, "today": lambda: None}
# Functions that only look at what they are given, whatever its size.
LOOKED_AT = frozenset(
    ("len", "size", "count", "length", "get", "isEmpty", "empty", "containsKey", "not")
)
