"""Decision tables as texts in rows and columns, with the rules that matched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlkit.bpmn.decisions.answers import format_value
from mlkit.bpmn.decisions.model import (
    Boxed,
    Conditional,
    Context,
    Decision,
    Element,
    Filter,
    FunctionDefinition,
    Input,
    Invocation,
    Knowledge,
    Listing,
    Output,
    Relation,
    Table,
)
from mlkit.bpmn.decisions.model import (
    Iterator as Iteration,
)
from mlkit.bpmn.decisions.trace import Matched
from mlkit.bpmn.render.decisions.graph import brief, clean

_LETTERS = {
    "UNIQUE": "U", "ANY": "A", "PRIORITY": "P", "FIRST": "F", "RULE ORDER": "R",
    "OUTPUT ORDER": "O", "COLLECT": "C",
}  # fmt: skip
_SIGNS = {"SUM": "+", "COUNT": "#", "MIN": "<", "MAX": ">"}


@dataclass(frozen=True, slots=True)
class Grid:
    """A table.

    Attributes:
        element: The id of the decision or function that it belongs to.
        name: The name of that, and of what is between.
        kind: The name of that element in DMN.
        policy: The hit policy and aggregation as a letter and a sign.
        heads: For each column its label, and the notes below it.
        inputs: The number of columns that ask.
        outputs: The number of columns that answer; the others are annotations.
        rows: The cells of each rule.
        matched: The rules that matched, from 0.
        values: The value of each input that was read; empty where none or several were.
        reads: How often the table was read.
    """

    element: str
    name: str
    kind: str
    policy: str
    heads: tuple[tuple[str, tuple[str, ...]], ...]
    inputs: int
    outputs: int
    rows: tuple[tuple[str, ...], ...]
    matched: frozenset[int] = frozenset()
    values: tuple[str, ...] = ()
    reads: int = 0


def grids(element: Element, matched: list[Matched]) -> Iterator[Grid]:
    """Yield the tables of a decision or function, in the order of the file."""
    if not isinstance(element, Decision | Knowledge):
        return
    is_decision = isinstance(element, Decision)
    logic = element.logic if isinstance(element, Decision) else element.function
    for name, table in _tables(logic, element.variable.name):
        reads = [read for read in matched if read.table is table]
        kind = "decision" if is_decision else "businessKnowledgeModel"
        yield _grid(element.id, name, kind, table, reads)


def _tables(logic: Boxed | None, name: str) -> Iterator[tuple[str, Table]]:
    """Yield the tables inside of boxed expressions, with the names on the way to them."""
    if isinstance(logic, Table):
        yield name, logic
    for step, inner in _parts(logic):
        yield from _tables(inner, f"{name} / {step}" if step else name)


def _parts(logic: Boxed | None) -> list[tuple[str, Boxed | None]]:
    """Return the expressions directly inside of one, each with its name if it has one."""
    match logic:
        case Context():
            return [("" if name is None else name.name, each) for name, each in logic.entries]
        case Invocation():
            return [("", logic.function), *logic.bindings]
        case FunctionDefinition():
            return [("", logic.body)]
        case Listing():
            return [("", each) for each in logic.items]
        case Relation():
            return [("", each) for row in logic.rows for each in row]
        case Conditional():
            return [("if", logic.condition), ("then", logic.chosen), ("else", logic.other)]
        case Filter():
            return [("", logic.items), ("match", logic.match)]
        case Iteration():
            return [("", logic.items), ("", logic.body)]
    return []


def _grid(element: str, name: str, kind: str, table: Table, reads: list[Matched]) -> Grid:
    heads = [*map(_input_head, table.inputs)]
    heads += [_output_head(each, name) for each in table.outputs]
    heads += [(clean(each), ()) for each in table.annotations]
    rows = (
        tuple(clean(each.text) for each in (*rule.tests, *rule.outputs, *rule.annotations))
        for rule in table.rules
    )
    return Grid(
        element,
        clean(name),
        kind,
        _LETTERS[table.policy] + _SIGNS.get(table.aggregation, ""),
        tuple(heads),
        len(table.inputs),
        len(table.outputs),
        tuple((*row, *[""] * (len(heads) - len(row)))[: len(heads)] for row in rows),
        frozenset(rule - 1 for each in reads for rule in each.rules),
        _values(reads),
        len(reads),
    )


def _input_head(column: Input) -> tuple[str, tuple[str, ...]]:
    expression = column.expression.text
    notes = [expression if expression != column.label else "", column.expression.type_ref]
    return clean(column.label), _notes(*notes, column.allowed)


def _output_head(column: Output, name: str) -> tuple[str, tuple[str, ...]]:
    default = "" if column.default is None else f"default: {column.default.text}"
    return clean(column.name or name), _notes(column.type_ref, column.values, default)


def _notes(*texts: str) -> tuple[str, ...]:
    return tuple(clean(each) for each in texts if each)


def _values(reads: list[Matched]) -> tuple[str, ...]:
    if len(reads) != 1:
        return ()
    return tuple(brief(clean(format_value(each))) for each in reads[0].values)
