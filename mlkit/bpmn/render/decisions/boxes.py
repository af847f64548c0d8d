"""Boxed expressions that are not tables, as texts in boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from mlkit.bpmn.decisions.model import (
    Boxed,
    Conditional,
    Context,
    Decision,
    Element,
    Filter,
    FunctionDefinition,
    Invocation,
    Knowledge,
    Listing,
    Literal,
    Relation,
    Table,
    Variable,
)  # fmt: skip
from mlkit.bpmn.decisions.model import (
    Iterator as Iteration,
)
from mlkit.bpmn.render.decisions.graph import clean


class Text(NamedTuple):
    """A box with a text.

    Attributes:
        is_name: Whether it names what is beside or below it.
    """

    text: str
    is_name: bool = False


class Rows(NamedTuple):
    """Boxes in rows, one below the other; the last box of a row takes the room that is left."""

    rows: tuple[tuple[Block, ...], ...]


Block: TypeAlias = Text | Rows


@dataclass(frozen=True, slots=True)
class Boxes:
    """The expression of an element.

    Attributes:
        element: The id of the decision or function.
        name: Its name.
        kind: The name of the element in DMN.
        form: What the expression is: `literal expression`, `context` and so on.
    """

    element: str
    name: str
    kind: str
    form: str
    block: Block


_FORMS = {
    Literal: "literal expression", Context: "context", Listing: "list", Relation: "relation",
    Invocation: "invocation", FunctionDefinition: "function", Conditional: "conditional",
    Filter: "filter", Iteration: "iteration",
}  # fmt: skip


def boxes(element: Element) -> Iterator[Boxes]:
    """Yield the expression of a decision or function, unless it is a table or missing."""
    if isinstance(element, Decision) and type(element.logic) in _FORMS:
        yield _boxes(element, "decision", element.logic)
    if not isinstance(element, Knowledge) or element.function is None:
        return
    if not isinstance(element.function.body, Table):
        yield _boxes(element, "businessKnowledgeModel", element.function)


def _boxes(element: Element, kind: str, logic: Boxed | None) -> Boxes:
    name = clean(element.variable.name)
    return Boxes(element.id, name, kind, _FORMS[type(logic)], block(logic))


def block(logic: Boxed | None) -> Block:
    """Return an expression as boxes; a table inside of it has a picture of its own."""
    match logic:
        case None:
            return Text("")
        case Literal():
            return Text(clean(logic.text))
        case Table():
            return Text("(decision table)")
        case Context():
            rows = [(_name(variable), block(each)) for variable, each in logic.entries]
        case Listing():
            return Rows(tuple((block(each),) for each in logic.items)) if logic.items else Text("")
        case Relation():
            return _relation(logic)
        case Invocation():
            rows = [(Text(clean(name), True), block(each)) for name, each in logic.bindings]
            return Rows(((block(logic.function),), *rows))
        case FunctionDefinition():
            return Rows(((_parameters(logic),), (block(logic.body),)))
        case _:
            rows = [(Text(name, True), block(each)) for name, each in _clauses(logic)]
    return Rows(tuple(rows)) if rows else Text("")


def _name(variable: Variable | None) -> Text:
    """Return the name of an entry; the result of a context has none."""
    return Text("" if variable is None else clean(variable.name), True)


def _clauses(logic: Conditional | Filter | Iteration) -> list[tuple[str, Boxed]]:
    match logic:
        case Conditional():
            return [("if", logic.condition), ("then", logic.chosen), ("else", logic.other)]
        case Filter():
            return [("in", logic.items), ("match", logic.match)]
    result = "return" if logic.kind == "for" else "satisfies"
    return [(f"{logic.kind} {clean(logic.variable)} in", logic.items), (result, logic.body)]


def _relation(relation: Relation) -> Block:
    if not relation.columns:
        return Text("")
    head = tuple(Text(clean(each.name), True) for each in relation.columns)
    return Rows((head, *(tuple(block(each) for each in row) for row in relation.rows if row)))


def _parameters(function: FunctionDefinition) -> Text:
    names = ", ".join(clean(each.name) for each in function.parameters)
    kind = "" if function.kind == "FEEL" else f"{clean(function.kind)} "
    return Text(f"{kind}({names})", True)


def lines(found: Block) -> Iterator[str]:
    """Yield what is in boxes, a line for each row that has no boxes inside."""
    if isinstance(found, Text):
        yield found.text
        return
    for row in found.rows:
        if all(isinstance(each, Text) for each in row):
            yield " | ".join(each.text for each in row if isinstance(each, Text))
        else:
            for each in row:
                yield from lines(each)
