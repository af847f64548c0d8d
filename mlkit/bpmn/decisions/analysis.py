"""Gaps, overlaps and rules that never match, with an example each: exact for constant cells.

Each column is reduced to representatives: its numbers, a number in each gap between them, its texts
and one other, its truth values. Whatever rules an input matches, a combination of representatives
matches the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from mlkit.bpmn.decisions.index import Column, Constant, bits, constant_test
from mlkit.bpmn.decisions.model import Problem, Table
from mlkit.bpmn.decisions.tables import CompiledTable

_MAX_NODES = 200_000
_MAX_EXAMPLES = 5
_OTHER = "any other text"
_WITHOUT_GAPS = ("UNIQUE", "ANY", "FIRST", "PRIORITY")
Choice = tuple[str, int]


class _TooMany(Exception):
    """There are more combinations than can be looked at."""


def analyse(where: str, compiled: CompiledTable) -> list[Problem]:
    """Return what is doubtful about a table."""
    table = compiled.table
    if not table.rules or not table.inputs:
        return []
    unclear = _unclear(compiled)
    if unclear:
        message = f"gaps and overlaps are not analysed: {unclear} is no constant"
        return [Problem(where, table.line, message, "note")]
    search = _Search(where, compiled)
    try:
        search.visit(0, compiled.everything, [])
    except _TooMany:
        message = "gaps and overlaps are not analysed: there are too many combinations"
        return [*search.problems, Problem(where, table.line, message, "note")]
    return [*search.problems, *search.never()]


def _unclear(compiled: CompiledTable) -> str:
    """Return the first cell or column that is not made of constants of one type."""
    for each, column in zip(compiled.table.inputs, compiled.columns, strict=True):
        if column.evaluated:
            rule = next(iter(bits(column.evaluated))) + 1
            return f"rule {rule}, column {each.label!r},"
        if _choices(column, each.allowed) is None:
            return f"column {each.label!r}"
    return ""


def _choices(column: Column, allowed: str) -> list[Choice] | None:
    """Return the representatives of a column with the rules that each passes; None if mixed."""
    within = constant_test(allowed) if allowed else Constant()
    if within is None:
        return None
    keys = [value for _, value in column.constants]
    keys += [each for each in within.values if each not in keys]
    kinds = {type(each) for each in keys} | ({Decimal} if column.points else set())
    if within.interval is not None:
        kinds.add(Decimal)
    if not kinds:
        return [("anything", column.always)]
    if len(kinds) > 1:
        return None
    found: dict[int, str] = {}
    for value in _representatives(kinds.pop(), keys, column.points, within):
        mask = column.always if value is _OTHER else column.passed(value)
        found.setdefault(mask, _shown(value))
    return [(shown, mask) for mask, shown in found.items()]


def _representatives(
    kind: type, keys: list[Any], points: list[Decimal], within: Constant
) -> Iterator[Any]:
    if kind is bool:
        yield from (True, False)
    elif kind is Decimal:
        bounds = Column([within])
        for each in _numbers(sorted({*keys, *points, *bounds.points})):
            if within == Constant() or bounds.passed(each):
                yield each
    else:
        yield from within.values or keys
        if kind is str and not within.values:
            yield _OTHER


def _numbers(points: list[Decimal]) -> Iterator[Decimal]:
    """Yield each number, one in each gap between two, one below and one above."""
    yield points[0] - 1
    for low, high in itertools.pairwise(points):
        yield low
        yield (low + high) / 2
    yield points[-1]
    yield points[-1] + 1


def _shown(value: Any) -> str:
    if value is None or type(value) is bool:
        return {True: "true", False: "false", None: "null"}[value]
    return f'"{value}"' if type(value) is str and value is not _OTHER else str(value)


class _Search:
    """Look at each combination of representatives once."""

    def __init__(self, where: str, compiled: CompiledTable) -> None:
        self.where = where
        self.table: Table = compiled.table
        inputs = compiled.table.inputs
        columns = zip(compiled.columns, inputs, strict=True)
        self.choices = [_choices(column, each.allowed) or [] for column, each in columns]
        self.labels = [each.label for each in inputs]
        self.has_default = any(each is not None for each in compiled.defaults)
        self.nodes = self.gaps = 0
        self.pairs: set[tuple[int, int]] = set()
        self.reached = 0
        self.problems: list[Problem] = []

    def visit(self, at: int, mask: int, chosen: list[str]) -> None:
        """Go on with a column; `mask` holds the rules that match so far."""
        self.nodes += 1
        if self.nodes > _MAX_NODES:
            raise _TooMany
        if not mask:
            self._gap(chosen)
        elif at == len(self.choices):
            self._matched(mask, chosen)
        else:
            for shown, passed in self.choices[at]:
                self.visit(at + 1, mask & passed, [*chosen, shown])

    def _gap(self, chosen: list[str]) -> None:
        if self.has_default or self.table.policy not in _WITHOUT_GAPS:
            return
        self.gaps += 1
        if self.gaps <= _MAX_EXAMPLES:
            self._note(f"no rule matches {self._example(chosen)}", self.table.line)

    def _matched(self, mask: int, chosen: list[str]) -> None:
        first, *others = bits(mask)
        self.reached |= 1 << first if self.table.policy == "FIRST" else mask
        for other in others if self.table.policy in ("UNIQUE", "ANY") else ():
            if (first, other) not in self.pairs and self._differ(first, other):
                self.pairs.add((first, other))
                if len(self.pairs) <= _MAX_EXAMPLES:
                    message = (
                        f"rules {first + 1} and {other + 1} both match {self._example(chosen)}"
                    )
                    self._note(message, self.table.rules[other].line)

    def _differ(self, one: int, other: int) -> bool:
        if self.table.policy == "UNIQUE":
            return True
        outputs = ([each.text for each in self.table.rules[at].outputs] for at in (one, other))
        return next(outputs) != next(outputs)

    def never(self) -> Iterator[Problem]:
        """Yield the rules that no input reaches."""
        for at, rule in enumerate(self.table.rules):
            if not self.reached >> at & 1:
                message = f"rule {at + 1} can never match"
                yield Problem(f"{self.where}, rule {at + 1}", rule.line, message, "warning")

    def _example(self, chosen: list[str]) -> str:
        return ", ".join(
            f"{name} = {each}" for name, each in zip(self.labels, chosen, strict=False)
        )

    def _note(self, message: str, line: int) -> None:
        self.problems.append(Problem(self.where, line, message, "warning"))
