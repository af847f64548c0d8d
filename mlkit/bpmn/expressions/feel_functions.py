"""The built-in functions of FEEL, as Camunda 8 documents them; wrong arguments give null."""

from __future__ import annotations

import functools
import re
import statistics
from collections import Counter
from collections.abc import Callable, Hashable
from datetime import date, datetime, time, timedelta
from decimal import (
    ROUND_CEILING,
    ROUND_DOWN,
    ROUND_FLOOR,
    ROUND_HALF_DOWN,
    ROUND_HALF_EVEN,
    ROUND_HALF_UP,
    ROUND_UP,
    Decimal,
)
from typing import Any

from mlkit.bpmn.expressions.dialects import MAX_TEXT, OperationError
from mlkit.bpmn.expressions.patterns import compiled
from mlkit.bpmn.timers import duration

Function = Callable[..., Any]


# -- text ------------------------------------------------------------------------------------------


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value)


def _number(value: Any) -> Any:
    return Decimal(value) if isinstance(value, str) else value


def _substring(text: str, start: Any, length: Any = None) -> str:
    begin = int(start) - 1 if start > 0 else len(text) + int(start)
    return text[begin:] if length is None else text[begin : begin + int(length)]


def _before(text: str, mark: str) -> str:
    return text.partition(mark)[0] if mark in text else ""


def _after(text: str, mark: str) -> str:
    return text.partition(mark)[2] if mark else text


def _matches(text: str, pattern: str, flags: str = "") -> bool:
    return compiled(pattern, flags, text).search(text) is not None


def _replace(text: str, pattern: str, by: str, flags: str = "") -> str:
    if (len(text) + 1) * (len(by) + 1) > MAX_TEXT:
        raise OperationError("the result is too long")
    # A group is `$1` in FEEL.
    texts, groups = re.split(r"\$\d", by), [int(each) for each in re.findall(r"\$(\d)", by)]

    def shown(match: Any) -> str:
        inside = [match.group(each) or "" for each in groups]
        return "".join(a + b for a, b in zip(texts, [*inside, ""], strict=True))

    return compiled(pattern, flags, text).sub(shown, text)


def _split(text: str, delimiter: str) -> list[str]:
    return compiled(delimiter, "", text).split(text)


def _extract(text: str, pattern: str) -> list[str]:
    return [each.group() for each in compiled(pattern, "", text).finditer(text)]


def _join(texts: list[Any], delimiter: str = "") -> str:
    return delimiter.join(each for each in texts if each is not None)


# -- numbers ---------------------------------------------------------------------------------------


def _rounded(how: str) -> Function:
    def rounded(number: Any, scale: Any = 0) -> Decimal:
        if isinstance(number, bool):
            raise TypeError("no number")
        return Decimal(number).quantize(Decimal(1).scaleb(-int(scale)), how)

    return rounded


def _modulo(one: Any, other: Any) -> Any:
    # Python's % of decimals takes the sign of the dividend, FEEL's that of the divisor.
    rest = Decimal(one) % Decimal(other)
    return rest + other if rest and (rest < 0) != (other < 0) else rest


# -- lists -----------------------------------------------------------------------------------------


def _of_all(combine: Function) -> Function:
    """Make a function of one list, or of the items as arguments; null for none."""

    def of_all(*values: Any) -> Any:
        items = values[0] if len(values) == 1 and isinstance(values[0], list) else list(values)
        return combine(items) if items else None

    return of_all


def _mean(values: list[Any]) -> Decimal:
    return sum(values, Decimal(0)) / len(values)


def _product(values: list[Any]) -> Any:
    return functools.reduce(lambda one, other: one * other, values)


def _decided(values: list[Any], deciding: bool) -> bool | None:
    if any(each is deciding for each in values):
        return deciding
    return (not deciding) if all(isinstance(each, bool) for each in values) else None


def _sublist(items: list[Any], start: Any, length: Any = None) -> list[Any]:
    begin = int(start) - 1 if start > 0 else len(items) + int(start)
    return items[begin:] if length is None else items[begin : begin + int(length)]


def _concatenate(*lists: list[Any]) -> list[Any]:
    return [each for items in lists for each in _listed(items)]


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return value


def _insert(items: list[Any], position: Any, item: Any) -> list[Any]:
    at = int(position) - 1 if position > 0 else len(items) + int(position)
    return [*items[:at], item, *items[at:]]


def _remove(items: list[Any], position: Any) -> list[Any]:
    at = int(position) - 1 if position > 0 else len(items) + int(position)
    return [*items[:at], *items[at + 1 :]]


def _distinct(items: list[Any]) -> list[Any]:
    found: dict[Hashable, Any] = {}
    for each in items:
        found.setdefault(_frozen(each), each)
    return list(found.values())


def _duplicates(items: list[Any]) -> list[Any]:
    counts = Counter(map(_frozen, items))
    return _distinct([each for each in items if counts[_frozen(each)] > 1])


def _frozen(value: Any) -> Hashable:
    """Make a value that tells equal data by its hash; true is not 1."""
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    if isinstance(value, dict):
        return frozenset((key, _frozen(each)) for key, each in value.items())
    return (bool, value) if isinstance(value, bool) else value


def _flatten(items: Any) -> list[Any]:
    if not isinstance(items, list):
        return [items]
    return [inner for each in items for inner in _flatten(each)]


def _sort(items: list[Any], precedes: Function | None = None) -> list[Any]:
    if precedes is None:
        return sorted(items)

    def compare(one: Any, other: Any) -> int:
        if precedes(one, other) is True:
            return -1
        return 1 if precedes(other, one) is True else 0

    return sorted(items, key=functools.cmp_to_key(compare))


# -- contexts --------------------------------------------------------------------------------------


def _value(context: dict[str, Any], *path: Any) -> Any:
    keys = path[0] if len(path) == 1 and isinstance(path[0], list) else path
    found: Any = context
    for key in keys:
        found = found.get(key)
    return found


def _put(context: dict[str, Any], key: Any, value: Any) -> dict[str, Any]:
    keys = key if isinstance(key, list) else [key]
    rest = value if len(keys) == 1 else _put(context.get(keys[0]) or {}, keys[1:], value)
    return {**context, keys[0]: rest}


def _merge(*contexts: Any) -> dict[str, Any]:
    items = contexts[0] if len(contexts) == 1 and isinstance(contexts[0], list) else contexts
    return {key: value for each in items for key, value in each.items()}


def _entries(context: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in context.items()]


def _context(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {each["key"]: each["value"] for each in entries}


# -- time ------------------------------------------------------------------------------------------


def _date(*parts: Any) -> date:
    if len(parts) == 3:
        return date(*map(int, parts))
    (value,) = parts
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else date.fromisoformat(value)


def _time(*parts: Any) -> time:
    if len(parts) == 3:
        hour, minute, second = map(int, parts)
        return time(hour, minute, second)
    (value,) = parts
    if isinstance(value, datetime):
        return value.timetz()
    return value if isinstance(value, time) else time.fromisoformat(value)


def _moment(*parts: Any) -> datetime:
    if len(parts) == 2:
        return datetime.combine(parts[0], parts[1])
    (value,) = parts
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _duration(text: str) -> timedelta:
    # Null would hide that this is a good duration elsewhere.
    if re.match(r"-?P\d+[YM]", text):
        raise OperationError(f"{text!r}: years and months differ in length, say days")
    return duration(text)


def _last_day(day: date) -> date:
    following = day.replace(day=28) + timedelta(days=4)
    last = following - timedelta(days=following.day)
    return last.date() if isinstance(last, datetime) else last


_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip

FEEL: dict[str, Function] = {
    "string": _text, "number": _number, "substring": _substring, "string length": len,
    "substring before": _before, "substring after": _after, "upper case": str.upper,
    "lower case": str.lower, "contains": lambda text, part: str.__contains__(text, part),
    "starts with": str.startswith, "ends with": str.endswith, "trim": str.strip,
    "is blank": lambda text: not str.strip(text), "matches": _matches, "replace": _replace,
    "split": _split, "extract": _extract, "string join": _join,
    "decimal": _rounded(ROUND_HALF_EVEN), "floor": _rounded(ROUND_FLOOR),
    "ceiling": _rounded(ROUND_CEILING), "round up": _rounded(ROUND_UP),
    "round down": _rounded(ROUND_DOWN), "round half up": _rounded(ROUND_HALF_UP),
    "round half down": _rounded(ROUND_HALF_DOWN), "abs": abs, "modulo": _modulo,
    "sqrt": lambda number: Decimal(number).sqrt(), "odd": lambda number: number % 2 == 1,
    "even": lambda number: number % 2 == 0,
    "count": lambda items: len(_listed(items)), "list contains": lambda items, item: item in items,
    "min": _of_all(min), "max": _of_all(max), "sum": _of_all(sum), "product": _of_all(_product),
    "mean": _of_all(_mean), "median": _of_all(statistics.median),
    "all": lambda *v: _decided(v[0] if isinstance(v[0], list) else list(v), False),
    "any": lambda *v: _decided(v[0] if isinstance(v[0], list) else list(v), True),
    "sublist": _sublist, "append": lambda items, *more: [*_listed(items), *more],
    "concatenate": _concatenate, "insert before": _insert, "remove": _remove,
    "reverse": lambda items: _listed(items)[::-1],
    "index of": lambda items, item: [i for i, each in enumerate(items, 1) if each == item],
    "union": lambda *lists: _distinct(_concatenate(*lists)), "distinct values": _distinct,
    "duplicate values": _duplicates, "flatten": _flatten, "sort": _sort,
    "is empty": lambda items: not _listed(items),
    "get value": _value, "get entries": _entries, "context": _context, "context put": _put,
    "put": _put, "context merge": _merge, "put all": _merge,
    "get or else": lambda value, other: other if value is None else value,
    "date": _date, "time": _time, "date and time": _moment, "duration": _duration,
    "day of week": lambda day: _DAYS[day.weekday()],
    "day of year": lambda day: day.timetuple().tm_yday,
    "week of year": lambda day: day.isocalendar()[1],
    "month of year": lambda day: _MONTHS[day.month - 1], "last day of month": _last_day,
}  # fmt: skip
