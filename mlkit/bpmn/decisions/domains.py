"""The values of a column that tell its cells apart: what gap analysis looks at.

Ordered constants are numbers, as `constants` has them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

from mlkit.bpmn.decisions.constants import DATE, DAY, MOMENT, NUMBER, TEXT, TIME, Cell
from mlkit.bpmn.decisions.index import Column
from mlkit.bpmn.expressions.feel.values import SECOND


def format_value(kind: str, value: Any) -> str:
    """Return a value of a kind in FEEL's notation."""
    if value is None or type(value) is bool:
        return {True: "true", False: "false", None: "null"}[value]
    if kind == DATE:
        return f'@"{date.fromordinal(int(value)).isoformat()}"'
    if kind in (TIME, MOMENT):
        days, nanos = divmod(int(value), DAY)
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
        TIME: (Decimal(0), Decimal(DAY - 1)),
        MOMENT: (Decimal(DAY), Decimal((date.max.toordinal() + 1) * DAY - 1)),
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
        self.constants = [value for layer in self.layers for value in layer.constants]

    def match(self, value: Any) -> int:
        """Return the rules that a value passes, as bits."""
        found = 0
        for layer in self.layers:
            found |= layer.match(value)
        return found ^ self.negated | self.always
