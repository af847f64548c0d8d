"""The built-in functions of FEEL (DMN 1.4, 10.3.4), and some that Camunda 8 has beside them.

What a function refuses becomes null in FEEL, so these raise whatever comes; only what is too large
is an `OperationError`. Numbers arrive as integers or decimals, lists count from 1.
"""

from __future__ import annotations

import decimal
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cmp_to_key, reduce
from typing import Any

from mlkit.bpmn.definition.timers import duration
from mlkit.bpmn.expressions.dialects import OperationError, kind
from mlkit.bpmn.expressions.feel_text import TEXT, checked, index_at

MAX_ITEMS = 100_000


# -- numbers -----------------------------------------------------------------------------------


def _number(value: Any, grouping: str | None = None, point: str | None = None) -> Decimal:
    if isinstance(value, str):
        text = value.replace(grouping, "") if grouping else value
        text = text.replace(point, ".") if point else text
        if "_" in text or not text.isascii():
            raise ValueError(f"{value!r} is no number")
        value = Decimal(text)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise TypeError(f"expected a number, found {kind(value)}")
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError("no number")
    return number


def _rounding(mode: str) -> Callable[..., Decimal]:
    def rounded(number: Any, scale: Any = 0) -> Decimal:
        return _number(number).quantize(Decimal(1).scaleb(-int(scale)), mode)

    return rounded


def _modulo(dividend: Any, divisor: Any) -> Decimal:
    """Give the remainder with the sign of the divisor."""
    a, b = _number(dividend), _number(divisor)
    return a - b * (a / b).to_integral_value(decimal.ROUND_FLOOR)


def _is_odd(number: Any) -> bool:
    return _number(number) % 2 != 0


# -- lists -------------------------------------------------------------------------------------


def _items(values: tuple[Any, ...]) -> list[Any]:
    """Give what an aggregate works on: one list, or the arguments."""
    return values[0] if len(values) == 1 and isinstance(values[0], list) else list(values)


def _aggregate(compute: Callable[[list[Decimal]], Any]) -> Callable[..., Any]:
    def aggregate(*values: Any) -> Any:
        numbers = [_number(each) for each in _items(values)]
        return compute(numbers) if numbers else None

    return aggregate


def _extreme(pick: Callable[[Iterable[Any]], Any]) -> Callable[..., Any]:
    def extreme(*values: Any) -> Any:
        items = _items(values)
        return pick(items) if items else None

    return extreme


def _quantified(deciding: bool) -> Callable[..., Any]:
    def quantified(*values: Any) -> bool | None:
        items = _items(values)
        if any(each is deciding for each in items):
            return deciding
        return (not deciding) if all(isinstance(each, bool) for each in items) else None

    return quantified


def _mode(numbers: list[Decimal]) -> list[Decimal]:
    return sorted(statistics.multimode(numbers))


def _list(value: Any) -> list[Any]:
    if value is None:
        raise TypeError("expected a list, found null")
    return value if isinstance(value, list) else [value]


def _concatenated(*lists: Any) -> list[Any]:
    whole: list[Any] = []
    for each in map(_list, lists):
        if len(whole) + len(each) > MAX_ITEMS:
            raise OperationError("the list is too long")
        whole += each
    return whole


def _sublist(items: Any, start: Any, length: Any = None) -> list[Any]:
    at = index_at(start, len(_list(items)))
    return _list(items)[at:] if length is None else _list(items)[at : at + int(length)]


def _inserted(items: Any, position: Any, new: Any) -> list[Any]:
    at = index_at(position, len(_list(items)))
    return [*_list(items)[:at], new, *_list(items)[at:]]


def _removed(items: Any, position: Any) -> list[Any]:
    at = index_at(position, len(_list(items)))
    return [*_list(items)[:at], *_list(items)[at + 1 :]]


def _key(value: Any) -> Any:
    """Give what tells values apart: true is not 1, though it is to Python."""
    if isinstance(value, list):
        return ("list", *map(_key, value))
    if isinstance(value, dict):
        return ("context", frozenset((name, _key(each)) for name, each in value.items()))
    number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    return ("number" if number else type(value).__name__, value)


def _distinct(items: Any) -> list[Any]:
    first: dict[Any, Any] = {}
    for each in _list(items):
        first.setdefault(_key(each), each)
    return list(first.values())


def _duplicates(items: Any) -> list[Any]:
    counts = Counter(_key(each) for each in _list(items))
    return [each for each in _distinct(items) if counts[_key(each)] > 1]


def _flatten(items: Any) -> list[Any]:
    flat: list[Any] = []
    for each in _list(items):
        flat += _flatten(each) if isinstance(each, list) else [each]
        if len(flat) > MAX_ITEMS:
            raise OperationError("the list is too long")
    return flat


def _index_of(items: Any, wanted: Any) -> list[int]:
    return [at for at, each in enumerate(_list(items), start=1) if _key(each) == _key(wanted)]


def _sorted(items: Any, precedes: Callable[[Any, Any], Any] | None = None) -> list[Any]:
    if precedes is None:
        return sorted(_list(items))

    def compare(one: Any, other: Any) -> int:
        return -1 if precedes(one, other) is True else int(precedes(other, one) is True)

    return sorted(_list(items), key=cmp_to_key(compare))


# -- contexts ----------------------------------------------------------------------------------


def _get(context: dict[str, Any], key: Any) -> Any:
    keys = key if isinstance(key, list) else [key]
    return reduce(lambda found, each: found[each], keys, context)


def _put(context: dict[str, Any], key: Any, value: Any) -> dict[str, Any]:
    first, *rest = key if isinstance(key, list) else [key]
    inner = _put(context.get(checked(first)) or {}, rest, value) if rest else value
    return {**context, first: inner}


def _merged(*contexts: Any) -> dict[str, Any]:
    return {key: value for each in _items(contexts) for key, value in each.items()}


def _entries(context: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in context.items()]


def _context(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {checked(each["key"]): each["value"] for each in entries}


# -- time --------------------------------------------------------------------------------------


def to_date(*parts: Any) -> date:
    """Make a date: of year, month and day, of a moment, or of ISO text."""
    if len(parts) == 3:
        return date(*map(int, parts))
    (value,) = parts
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else date.fromisoformat(value)


def _time(*parts: Any) -> time:
    if len(parts) in (3, 4):
        hour, minute, second = parts[:3]
        whole = int(second)
        return time(int(hour), int(minute), whole, int((second - whole) * 1_000_000))
    (value,) = parts
    if isinstance(value, datetime):
        return value.timetz()
    return value if isinstance(value, time) else time.fromisoformat(value)


def _moment(*parts: Any) -> datetime:
    if len(parts) == 2:
        return datetime.combine(to_date(parts[0]), _time(parts[1]))
    (value,) = parts
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    return datetime.fromisoformat(value)


def _duration(text: Any) -> timedelta:
    if isinstance(text, timedelta):
        return text
    if re.match(r"-?P\d+[YM]", text):
        # Null would hide that this is a good duration elsewhere.
        raise OperationError(f"{text!r}: years and months differ in length, say days")
    return duration(text)


def to_temporal(text: str) -> Any:
    """Read a date, a time, both, or a duration out of ISO text."""
    if text.lstrip("-").startswith("P"):
        return _duration(text)
    if "T" in text:
        return datetime.fromisoformat(text)
    return time.fromisoformat(text) if ":" in text else date.fromisoformat(text)


_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


def _last_day(day: date) -> date:
    following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return following - timedelta(days=1)


# -- the table ---------------------------------------------------------------------------------


BUILTINS: dict[str, Callable[..., Any]] = {
    **TEXT,
    # conversion
    "number": _number, "context": _context, "date": to_date, "time": _time,
    "date and time": _moment, "duration": _duration, "temporal": to_temporal,
    # numbers
    "decimal": _rounding(decimal.ROUND_HALF_EVEN), "floor": _rounding(decimal.ROUND_FLOOR),
    "ceiling": _rounding(decimal.ROUND_CEILING), "round up": _rounding(decimal.ROUND_UP),
    "round down": _rounding(decimal.ROUND_DOWN), "round half up": _rounding(decimal.ROUND_HALF_UP),
    "round half down": _rounding(decimal.ROUND_HALF_DOWN), "modulo": _modulo,
    "abs": lambda value: abs(value if isinstance(value, timedelta) else _number(value)),
    "sqrt": lambda number: _number(number).sqrt(), "exp": lambda number: _number(number).exp(),
    "log": lambda number: _number(number).ln(), "odd": _is_odd,
    "even": lambda number: not _is_odd(number),
    # lists
    "list contains": lambda items, wanted: bool(_index_of(items, wanted)),
    "count": lambda items: len(_list(items)), "min": _extreme(min), "max": _extreme(max),
    "sum": _aggregate(sum), "mean": _aggregate(statistics.mean),
    "median": _aggregate(statistics.median), "mode": _aggregate(_mode),
    "stddev": _aggregate(statistics.stdev),
    "product": _aggregate(lambda numbers: reduce(lambda a, b: a * b, numbers)),
    "all": _quantified(False), "any": _quantified(True), "sublist": _sublist,
    "append": lambda items, *new: _concatenated(items, list(new)), "concatenate": _concatenated,
    "insert before": _inserted, "remove": _removed, "reverse": lambda items: _list(items)[::-1],
    "index of": _index_of, "union": lambda *lists: _distinct(_concatenated(*lists)),
    "distinct values": _distinct, "duplicate values": _duplicates, "flatten": _flatten,
    "sort": _sorted, "is empty": lambda items: not _list(items),
    # contexts
    "is defined": lambda value: value is not None,
    "get value": _get, "get entries": _entries, "context put": _put, "context merge": _merged,
    "get or else": lambda value, other: other if value is None else value,
    # time
    "day of week": lambda day: _DAYS[day.weekday()],
    "month of year": lambda day: _MONTHS[day.month - 1],
    "day of year": lambda day: day.timetuple().tm_yday,
    "week of year": lambda day: day.isocalendar().week, "last day of month": _last_day,
}  # fmt: skip
