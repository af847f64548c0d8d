"""The functions that an expression may call; a method call `x.f(y)` means `f(x, y)`."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from mlkit.bpmn.expressions.dialects import OperationError, kind
from mlkit.bpmn.timers import duration


def call(name: str, arguments: list[Any], now: datetime) -> Any:
    """Call a function of the table.

    Raises:
        OperationError: There is no such function, or it refuses its arguments.
    """
    if name in ("now", "today") and not arguments:
        return now if name == "now" else now.date()
    function = FUNCTIONS.get(name)
    if function is None:
        raise OperationError(f"there is no function {name!r}")
    try:
        return function(*arguments)
    except (TypeError, ValueError, AttributeError, KeyError, ArithmeticError) as error:
        raise OperationError(f"{name}: {error}") from error


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
    return separator.join(values)


def _substring(text: str, start: int, length: int | None = None) -> str:
    begin = int(start) - 1 if start > 0 else len(text) + int(start)
    return text[begin:] if length is None else text[begin : begin + int(length)]


def _temporal(text: str) -> date | datetime | timedelta:
    if text.lstrip("-").startswith("P"):
        return duration(text)
    return datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text)


def _date(value: Any) -> date:
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else date.fromisoformat(value)


def _index_of(values: list[Any], wanted: Any) -> list[int]:
    return [at for at, each in enumerate(values, start=1) if each == wanted]


def _distinct(values: list[Any]) -> list[Any]:
    return [each for at, each in enumerate(values) if each not in values[:at]]


def _get(whole: dict[str, Any] | list[Any], key: Any, default: Any = None) -> Any:
    if isinstance(whole, list):
        return whole[key] if 0 <= key < len(whole) else default
    return whole.get(key, default)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "len": _size, "size": _size, "count": _size, "length": _size, "string length": _size,
    "contains": _contains, "list contains": _contains,
    "min": _extreme(min), "max": _extreme(max), "sum": _sum,
    "any": any, "all": all, "abs": abs, "round": round, "floor": math.floor,
    "ceiling": math.ceil, "int": int, "float": float, "number": float, "str": str,
    "string": str, "bool": bool,
    "lower": str.lower, "lower case": str.lower, "toLowerCase": str.lower,
    "upper": str.upper, "upper case": str.upper, "toUpperCase": str.upper,
    "strip": str.strip, "trim": str.strip,
    "startswith": str.startswith, "starts with": str.startswith, "startsWith": str.startswith,
    "endswith": str.endswith, "ends with": str.endswith, "endsWith": str.endswith,
    "substring": _substring, "join": _join, "index of": _index_of,
    "distinct values": _distinct, "sorted": sorted, "get": _get,
    "not": lambda value: (not value) if isinstance(value, bool) else None,
    "is defined": lambda value: value is not None,
    "isEmpty": lambda value: not value, "empty": lambda value: not value,
    "equals": lambda value, other: bool(value == other),
    "date": _date, "date and time": datetime.fromisoformat, "datetime": datetime.fromisoformat,
    "duration": duration, "temporal": _temporal,
}  # fmt: skip
KNOWN = frozenset(FUNCTIONS) | {"now", "today"}
