"""What the cells of a column compare with, as sets of values: what gap analysis looks at.

A cell is a list of constants, comparisons and ranges, or `not(...)` of one. Constants are numbers,
texts, truth values, dates, times of day, and dates with times; those of one column must be of one
kind. Ordered ones become numbers: days and nanoseconds since a fixed moment.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from mlkit.bpmn.decisions.index import Column, Constant, Interval
from mlkit.bpmn.expressions.feel import temporal
from mlkit.bpmn.expressions.feel.numbers import number
from mlkit.bpmn.expressions.feel.values import SECOND, Refused

NUMBER, TEXT, BOOLEAN, NULL = "number", "string", "boolean", "null"
DATE, TIME, MOMENT = "date", "time", "date and time"
_DAY = 86_400 * SECOND
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
        return (
            (MOMENT, Decimal(days * _DAY + moment.nanos)) if moment.offset is None else ("", None)
        )
    except (Refused, ValueError, OverflowError):
        return "", None


# -- what a person reads -----------------------------------------------------------------------


def shown(kind: str, value: Any) -> str:
    """Return a value of a kind in FEEL's notation."""
    if value is None or type(value) is bool:
        return {True: "true", False: "false", None: "null"}[value]
    if kind == DATE:
        return f'@"{date.fromordinal(int(value)).isoformat()}"'
    if kind in (TIME, MOMENT):
        days, nanos = divmod(int(value), _DAY)
        day = f"{date.fromordinal(days).isoformat()}T" if kind == MOMENT else ""
        seconds, rest = divmod(nanos, SECOND)
        clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        return f'@"{day}{clock}{f".{rest:09d}".rstrip("0") if rest else ""}"'
    return f'"{value}"' if kind == TEXT else str(value)


def between(kind: str, points: list[Decimal]) -> Iterator[Decimal]:
    """Yield each point, one value in each gap between two, one below and one above."""
    step = {NUMBER: Decimal(1), DATE: Decimal(1)}.get(kind, Decimal(SECOND))
    least, most = {
        DATE: (Decimal(1), Decimal(date.max.toordinal())),
        TIME: (Decimal(0), Decimal(_DAY - 1)),
        MOMENT: (Decimal(_DAY), Decimal((date.max.toordinal() + 1) * _DAY - 1)),
    }.get(kind, (None, None))
    if least is None or points[0] > least:
        yield points[0] - step if least is None else max(points[0] - step, least)
    for low, high in itertools.pairwise(points):
        yield low
        middle = (low + high) / 2 if kind == NUMBER else (low + high) // 2
        if low < middle:
            yield middle
    yield points[-1]
    if most is None or points[-1] < most:
        yield points[-1] + step if most is None else min(points[-1] + step, most)


class Sets:
    """The cells of a column: which rules a value passes.

    Args:
        cells: Of each rule; None for one that always passes.
    """

    def __init__(self, cells: list[Cell | None]) -> None:
        self.always = self.negated = 0
        for at, each in enumerate(cells):
            self.always |= (each is None) << at
            self.negated |= (each is not None and each.is_negated) << at
        most = max((len(each.parts) for each in cells if each is not None), default=0)
        self.layers = [
            Column(each.parts[at] if each and at < len(each.parts) else None for each in cells)
            for at in range(most)
        ]
        self.points = sorted({each for layer in self.layers for each in layer.points})
        self.constants = [value for layer in self.layers for _, value in layer.constants]

    def passed(self, value: Any) -> int:
        """Return the rules that a value passes, as bits."""
        found = 0
        for layer in self.layers:
            found |= layer.passed(value)
        return found ^ self.negated | self.always
