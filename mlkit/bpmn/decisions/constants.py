"""The constants that cells compare with: numbers, texts, truth values, dates and times.

A cell is a list of constants, comparisons and ranges, or `not(...)` of one. Ordered ones become
numbers: days since the first of January of the year 1, and nanoseconds.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from mlkit.bpmn.expressions.feel import temporal
from mlkit.bpmn.expressions.feel.numbers import number
from mlkit.bpmn.expressions.feel.values import SECOND, Refused

NUMBER, TEXT, BOOLEAN, NULL = "number", "string", "boolean", "null"
DATE, TIME, MOMENT = "date", "time", "date and time"
DURATIONS = ("days and time duration", "years and months duration")
# The types of which all values differ from those of another one.
KINDS = frozenset({NUMBER, TEXT, BOOLEAN, DATE, TIME, MOMENT, *DURATIONS})
_COMPARED_AS_WRITTEN = frozenset({NUMBER, TEXT, BOOLEAN, NULL})
DAY = 86_400 * SECOND
_QUOTED = r'"[^"\\]*"'
_POINT = (
    rf"(?:{_QUOTED}|-?(?:\d+(?:\.\d+)?|\.\d+)|true\b|false\b|null\b|@{_QUOTED}"
    rf"|(?:date and time|date|time)\(\s*{_QUOTED}\s*\))"
)
_PIECE = re.compile(
    rf"\s*(?:(?P<sign><=|>=|<|>)\s*(?P<end>{_POINT})|(?P<point>{_POINT})"
    rf"|(?P<open>[\[\](])\s*(?P<low>{_POINT})\s*\.\.\s*(?P<high>{_POINT})\s*(?P<close>[\[\])]))\s*"
)
_NOT = re.compile(r"\s*not\s*\((.*)\)\s*", re.DOTALL)
_CALL = re.compile(rf"(?:@|(date and time|date|time)\(\s*)({_QUOTED})")


class Interval(NamedTuple):
    """Numbers between two ends; None is unbounded."""

    low: Decimal | None
    has_low: bool
    high: Decimal | None
    has_high: bool


class Constant(NamedTuple):
    """A test that compares with constants: equal to one of them, or within an interval."""

    values: tuple[Any, ...] = ()
    interval: Interval | None = None


class Cell(NamedTuple):
    """The values that pass a cell.

    Attributes:
        kinds: The kinds of its constants.
        parts: Constants and intervals, one of which a value passes.
        is_negated: Whether those that pass none of them do.
    """

    kinds: frozenset[str]
    parts: tuple[Constant, ...]
    is_negated: bool


def cell(text: str) -> Cell | None:
    """Return the values that pass a cell, or None for one that must be evaluated."""
    negated = _NOT.fullmatch(text)
    inner = text if negated is None else negated[1]
    kinds: set[str] = set()
    parts = []
    at = 0
    while found := _PIECE.match(inner, at):
        part = _part(found, kinds)
        if part is None:
            return None
        parts.append(part)
        at = found.end()
        if at == len(inner):
            return Cell(frozenset(kinds), tuple(parts), negated is not None)
        if inner[at] != ",":
            return None
        at += 1
    return None


def one(text: str) -> Cell | None:
    """Return the one constant that an output is, or None for one that must be evaluated."""
    found = cell(text)
    if found is None or found.is_negated or len(found.parts) != 1 or found.parts[0].interval:
        return None
    return found


def misfit(text: str, declared: str) -> str:
    """Return why the constant that an output is cannot have a type; empty for any other."""
    found = one(text)
    if found is None or declared not in KINDS:
        return ""
    (kind,) = found.kinds
    if kind in (NULL, declared) or (kind, declared) == (DATE, MOMENT):
        return ""
    return f"{text} is not a {declared}"


def _part(found: re.Match[str], kinds: set[str]) -> Constant | None:
    points = [_point(found[name]) for name in ("end", "point", "low", "high") if found[name]]
    kinds |= {kind for kind, _ in points}
    if "" in kinds:
        return None
    values = [value for _, value in points]
    if found["point"]:
        return Constant((values[0],))
    if not all(type(each) is Decimal for each in values):
        return None
    if found["sign"]:
        (end,), closed = values, found["sign"].endswith("=")
        below = found["sign"].startswith("<")
        return Constant(
            interval=Interval(None, False, end, closed)
            if below
            else Interval(end, closed, None, False)
        )
    low, high = values
    if low > high:
        return None
    return Constant(interval=Interval(low, found["open"] == "[", high, found["close"] == "]"))


def _point(text: str) -> tuple[str, Any]:
    """Return the kind of a constant and its value; an empty kind if it is broken or has a zone."""
    call = _CALL.match(text)
    if call is not None:
        return _temporal(call[1] or "", call[2][1:-1])
    if text.startswith('"'):
        return TEXT, text[1:-1]
    if text in ("true", "false"):
        return BOOLEAN, text == "true"
    return (NULL, None) if text == "null" else (NUMBER, number(text))


def _temporal(kind: str, text: str) -> tuple[str, Any]:
    if not kind:
        kind = MOMENT if "T" in text else TIME if ":" in text else DATE
    try:
        if kind == DATE:
            return DATE, Decimal(date(*temporal.parse_date(text)).toordinal())
        if kind == TIME:
            clock = temporal.parse_time(text)
            return (TIME, Decimal(clock.nanos)) if clock.offset is None else ("", None)
        moment = temporal.parse_date_time(text)
        days = date(*moment.date).toordinal()
        return (MOMENT, Decimal(days * DAY + moment.nanos)) if moment.offset is None else ("", None)
    except (Refused, ValueError, OverflowError):
        return "", None


@lru_cache(maxsize=4096)
def constant_test(text: str) -> Constant | None:
    """Return what a cell of numbers, texts and truth values compares with; None for any other."""
    found = cell(text)
    if found is None or found.is_negated or not found.kinds <= _COMPARED_AS_WRITTEN:
        return None
    if len(found.parts) == 1:
        return found.parts[0]
    if any(each.interval is not None for each in found.parts):
        return None
    return Constant(tuple(value for each in found.parts for value in each.values))
