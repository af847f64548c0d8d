"""Gaps, overlaps and rules that never match, with an example each: exact for constant cells.

Each column is reduced to representatives: its numbers (dates, times), one in each gap between
them, its texts and one other, its truth values. Whatever rules an input matches, a combination of
representatives matches the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from mlkit.bpmn.decisions import constants, domains
from mlkit.bpmn.decisions.domains import Sets
from mlkit.bpmn.decisions.index import bits
from mlkit.bpmn.decisions.model import Problem, Table
from mlkit.bpmn.decisions.tables import CompiledTable

_MAX_NODES = 200_000
_MAX_EXAMPLES = 5
_OTHER = object()
_DECLARED = (
    constants.NUMBER, constants.TEXT, constants.BOOLEAN,
    constants.DATE, constants.TIME, constants.MOMENT,
)  # fmt: skip
_WITHOUT_GAPS = ("UNIQUE", "ANY", "FIRST", "PRIORITY")
Choice = tuple[str, int]


class _TooMany(Exception):
    """There are more combinations than can be looked at."""


def analyse(where: str, compiled: CompiledTable) -> list[Problem]:
    """Return what is doubtful about a table."""
    table = compiled.table
    if not table.rules or not table.inputs:
        return []
    columns = [_Input(compiled, at) for at in range(len(table.inputs))]
    misfits = [each for column in columns for each in column.misfits(where)]
    unclear = next((each.unclear for each in columns if each.unclear), "")
    if unclear or misfits:
        message = f"gaps and overlaps are not analysed: {unclear or 'types cannot meet'}"
        return [*misfits, Problem(where, table.line, message, "note")]
    search = _Search(where, compiled, [each.choices() for each in columns])
    try:
        search.visit(0, compiled.everything, [])
    except _TooMany:
        message = "gaps and overlaps are not analysed: there are too many combinations"
        return [*search.problems, Problem(where, table.line, message, "note")]
    return [*search.problems, *search.never()]


class _Input:
    """A column that a table asks for.

    Attributes:
        unclear: Why it cannot be analysed; empty if it can.
    """

    def __init__(self, compiled: CompiledTable, at: int) -> None:
        self.table = compiled.table
        self.at = at
        self.label = compiled.table.inputs[at].label
        self.declared = compiled.kinds[at]
        self.allowed = constants.cell(compiled.within[at]) if compiled.within[at] else None
        texts = [rule.tests[at].text if at < len(rule.tests) else "-" for rule in self.table.rules]
        self.cells = [None if each in ("", "-") else constants.cell(each) for each in texts]
        self.unclear = self._unclear(texts, bool(compiled.within[at]))

    def _kinds(self) -> set[str]:
        known = [each for each in (*self.cells, self.allowed) if each is not None]
        return {kind for each in known for kind in each.kinds} - {constants.NULL}

    def _unclear(self, texts: list[str], is_limited: bool) -> str:
        for number, (text, found) in enumerate(zip(texts, self.cells, strict=True), 1):
            if found is None and text not in ("", "-"):
                return f"rule {number}, column {self.label!r}, is no constant"
        if is_limited and self.allowed is None:
            return f"the allowed values of column {self.label!r} are no constants"
        if len(self._kinds()) > 1:
            return f"column {self.label!r} compares with values of several types"
        return ""

    def misfits(self, where: str) -> Iterator[Problem]:
        """Yield the cells that compare with what is of another type than the column."""
        if self.declared not in _DECLARED:
            return
        for number, each in enumerate(self.cells, 1):
            for kind in sorted((each.kinds if each else frozenset()) - {constants.NULL}):
                if kind != self.declared:
                    message = f"a {self.declared} is compared with a {kind}"
                    place = f"{where}, rule {number}, column {self.label!r}"
                    line = self.table.rules[number - 1].tests[self.at].line
                    yield Problem(place, line, message, "warning")

    def choices(self) -> list[Choice]:
        """Return the representatives with the rules that each passes."""
        sets = Sets(self.cells)
        kinds = self._kinds()
        kind = kinds.pop() if kinds else self.declared
        found: dict[int, str] = {}
        for value in self._representatives(kind, sets):
            mask = sets.passed(value)
            other = "any other text" if kind == constants.TEXT else "anything"
            found.setdefault(mask, other if value is _OTHER else domains.shown(kind, value))
        return [(shown, mask) for mask, shown in found.items()]

    def _representatives(self, kind: str, sets: Sets) -> Iterator[Any]:
        allowed = Sets([self.allowed]) if self.allowed else None
        for each in self._possible(kind, sets, allowed):
            if allowed is None or allowed.passed(each):
                yield each
        if None in sets.constants:
            yield None

    def _possible(self, kind: str, sets: Sets, allowed: Sets | None) -> Iterator[Any]:
        both = [each for each in (sets, allowed) if each is not None]
        known = dict.fromkeys(e for each in both for e in each.constants if e is not None)
        points = {each for one in both for each in one.points}
        if kind == constants.BOOLEAN:
            yield from (True, False)
        elif points or any(type(each) is Decimal for each in known):
            yield from domains.between(kind, sorted({*points, *known}))
        else:
            yield from known
            yield _OTHER


class _Search:
    """Look at each combination of representatives once."""

    def __init__(self, where: str, compiled: CompiledTable, choices: list[list[Choice]]) -> None:
        self.where = where
        self.table: Table = compiled.table
        self.choices = choices
        self.labels = [each.label for each in compiled.table.inputs]
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
