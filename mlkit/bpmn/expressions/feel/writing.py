"""Values as texts, as `string()` writes them (DMN 1.5, 10.3.4.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from mlkit.bpmn.expressions.feel import temporal
from mlkit.bpmn.expressions.feel.budget import LimitReached, Run
from mlkit.bpmn.expressions.feel.numbers import format_number
from mlkit.bpmn.expressions.feel.values import Date, DateTime, Days, Function, Months, Range, Time

MAX_LEVELS = 200
_NAME = re.compile(r"[^\W\d]\w*(?: \w+)*")

_WRITERS: dict[type, Callable[[Any], str]] = {
    type(None): lambda value: "null",
    bool: lambda value: "true" if value else "false",
    Decimal: format_number,
    Date: temporal.write_date,
    Time: temporal.write_time,
    DateTime: temporal.write_date_time,
    Days: temporal.write_days,
    Months: temporal.write_months,
    Function: lambda value: f"function({', '.join(value.parameters)})",
}


def write(run: Run, value: Any) -> str:
    """Return a value as text; texts inside of lists and contexts are quoted.

    Raises:
        LimitReached: It would be too long, or nests too deeply.
    """
    if type(value) is str:
        return value
    parts: list[str] = []
    for piece in _pieces(value, 0):
        run.charge(3 + (len(piece) >> 4))
        parts.append(piece)
    run.charge_text(sum(map(len, parts)))
    return "".join(parts)


def quote(value: str) -> str:
    """Return a text as its literal."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'


def _pieces(value: Any, level: int) -> Iterator[str]:
    if level > MAX_LEVELS:
        raise LimitReached("values nest too deeply")
    kind = type(value)
    if kind is str:
        yield quote(value)
    elif kind is list:
        yield from _sequence("[", value, "]", level)
    elif kind is dict:
        yield from _context(value, level)
    elif kind is Range:
        yield from _range(value, level)
    else:
        yield _WRITERS[kind](value)


def _sequence(opening: str, items: list[Any], closing: str, level: int) -> Iterator[str]:
    divider = opening
    for each in items:
        yield divider
        yield from _pieces(each, level + 1)
        divider = ", "
    yield closing if items else opening + closing


def _context(value: dict[str, Any], level: int) -> Iterator[str]:
    divider = "{"
    for name, each in value.items():
        yield f"{divider}{name if _NAME.fullmatch(name) else quote(name)}: "
        yield from _pieces(each, level + 1)
        divider = ", "
    yield "}" if value else "{}"


def _range(value: Range, level: int) -> Iterator[str]:
    if value.start is None or value.end is None:
        sign = "<" if value.start is None else ">"
        included = value.end_included if value.start is None else value.start_included
        yield f"{sign}{'=' if included else ''} "
        yield from _pieces(value.end if value.start is None else value.start, level + 1)
        return
    yield "[" if value.start_included else "("
    yield from _pieces(value.start, level + 1)
    yield ".."
    yield from _pieces(value.end, level + 1)
    yield "]" if value.end_included else ")"
