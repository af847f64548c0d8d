"""Gaps, overlaps and rules that never match, with an example each: exact for constant cells.

Each column is reduced to representatives: its numbers (dates, times), one in each gap between
them, its texts and one other, its truth values. Whatever rules an input matches, a combination of
representatives matches the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from mlkit.bpmn.decisions import constants, domains, results
from mlkit.bpmn.decisions.domains import Sets
from mlkit.bpmn.decisions.index import bits
from mlkit.bpmn.decisions.model import Problem, Table
from mlkit.bpmn.decisions.tables import CompiledTable

_MAX_NODES = 200_000
# Of all masks of a table: a representative of a column has a bit for each rule.
_MAX_BITS = 1 << 31
_MAX_EXAMPLES = 5
_OTHER = object()
_SEVERAL_VALUES = ("list", "context", "function", "range")
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
    doubts = [*misfits, *results.misfits(where, compiled)]
    unclear = next((each.unclear for each in columns if each.unclear), "")
    if unclear or misfits:
        return [*doubts, _not_analysed(where, table, unclear or "types cannot meet")]
    if sum(each.size for each in columns) * len(table.rules) > _MAX_BITS:
        return [*doubts, _not_analysed(where, table, "there are too many combinations")]
    search = _Search(where, compiled, [each.choices() for each in columns])
    try:
        search.visit(0, compiled.everything, [])
    except _TooMany:
        unclear = "there are too many combinations"
        return [*doubts, *search.problems, _not_analysed(where, table, unclear)]
    return [*doubts, *search.problems, *search.never()]


def _not_analysed(where: str, table: Table, why: str) -> Problem:
    return Problem(where, table.line, f"gaps and overlaps are not analysed: {why}", "note")


class _Input:
    """A column that a table asks for.

    Attributes:
        unclear: Why it cannot be analysed; empty if it can.
        size: About how many representatives it has.
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
        self.size = sum(2 * len(each.parts) for each in self.cells if each is not None)

    def _kinds(self) -> set[str]:
        known = [each for each in (*self.cells, self.allowed) if each is not None]
        return {kind for each in known for kind in each.kinds} - {constants.NULL}

    def _unclear(self, texts: list[str], is_limited: bool) -> str:
        if self.declared in _SEVERAL_VALUES:
            return f"the values of column {self.label!r} are of the type {self.declared}"
        for number, (text, found) in enumerate(zip(texts, self.cells, strict=True), 1):
            if found is None and text not in ("", "-"):
                return f"rule {number}, column {self.label!r}, is not a constant"
        if is_limited and self.allowed is None:
            return f"the allowed values of column {self.label!r} are not constants"
        if len(self._kinds()) > 1:
            return f"column {self.label!r} compares with values of several types"
        return ""

    def misfits(self, where: str) -> Iterator[Problem]:
        """Yield the cells that compare with what is of another type than the column."""
        if self.declared not in constants.KINDS:
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
            mask = sets.match(value)
            other = "any other text" if kind == constants.TEXT else "anything"
            found.setdefault(mask, other if value is _OTHER else domains.format_value(kind, value))
        return [(shown, mask) for mask, shown in found.items()]

    def _representatives(self, kind: str, sets: Sets) -> Iterator[Any]:
        allowed = Sets([self.allowed]) if self.allowed else None
        for each in self._possible(kind, sets, allowed):
            if allowed is None or allowed.match(each):
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
        self.reached = self.hidden = 0
        self.hiding: dict[int, tuple[int, str]] = {}
        self.results = results.constant(self.table)
        self.ranks = results.ranks(compiled) if self.table.policy == "PRIORITY" else None
        self.problems: list[Problem] = []

    def visit(self, at: int, mask: int, chosen: list[str]) -> None:
        """Go on with a column; `mask` holds the rules that match so far."""
        self.nodes += 1
        if self.nodes > _MAX_NODES:
            raise _TooMany
        if not mask:
            self._gap(chosen)
        elif at == len(self.choices):
            self._record_match(mask, chosen)
        else:
            for shown, passed in self.choices[at]:
                self.visit(at + 1, mask & passed, [*chosen, shown])

    def _gap(self, chosen: list[str]) -> None:
        if self.has_default or self.table.policy not in _WITHOUT_GAPS:
            return
        self.gaps += 1
        if self.gaps <= _MAX_EXAMPLES:
            self._note(f"no rule matches {self._example(chosen)}", self.table.line)

    def _record_match(self, mask: int, chosen: list[str]) -> None:
        won = self._winners(mask)
        self.reached |= won
        (winner, *_) = bits(won)
        for other in bits(mask & ~self.reached & ~self.hidden):
            self.hidden |= 1 << other
            self.hiding[other] = (winner, self._example(chosen))
        if self.table.policy in ("UNIQUE", "ANY"):
            self._contradicting(mask, chosen)

    def _winners(self, mask: int) -> int:
        """Return the rules whose outputs are the result, of those that match."""
        if self.table.policy == "FIRST":
            return mask & -mask
        if self.ranks is None:
            return mask
        best = min(self.ranks[at] for at in bits(mask))
        return sum(1 << at for at in bits(mask) if self.ranks[at] == best)

    def _contradicting(self, mask: int, chosen: list[str]) -> None:
        first, *others = bits(mask)
        for other in others:
            if (first, other) not in self.pairs and self._differ(first, other):
                self.pairs.add((first, other))
                if len(self.pairs) <= _MAX_EXAMPLES:
                    message = (
                        f"rules {first + 1} and {other + 1} both match {self._example(chosen)}"
                    )
                    self._note(message, self.table.rules[other].line)

    def _differ(self, one: int, other: int) -> bool:
        return self.table.policy == "UNIQUE" or self.results[one] != self.results[other]

    def never(self) -> Iterator[Problem]:
        """Yield the rules that no input reaches, each with why."""
        for at, rule in enumerate(self.table.rules):
            if not self.reached >> at & 1:
                message = f"rule {at + 1} can never {self._why(at)}"
                yield Problem(f"{self.where}, rule {at + 1}", rule.line, message, "warning")

    def _why(self, at: int) -> str:
        if at not in self.hiding:
            empty = (
                label
                for label, choices in zip(self.labels, self.choices, strict=True)
                if not any(passed >> at & 1 for _, passed in choices)
            )
            return f"match: no value of column {next(empty, '')!r} passes"
        winner, example = self.hiding[at]
        if self.table.policy == "FIRST":
            return f"match: rule {winner + 1} comes first, as for {example}"
        return f"be chosen: rule {winner + 1} has priority, as for {example}"

    def _example(self, chosen: list[str]) -> str:
        return ", ".join(
            f"{name} = {each}" for name, each in zip(self.labels, chosen, strict=False)
        )

    def _note(self, message: str, line: int) -> None:
        self.problems.append(Problem(self.where, line, message, "warning"))
