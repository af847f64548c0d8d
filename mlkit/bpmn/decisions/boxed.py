"""Read boxed expressions."""

from __future__ import annotations

from collections.abc import Callable

from mlkit.bpmn.decisions.model import (
    Boxed,
    Cell,
    Conditional,
    Context,
    Filter,
    FunctionDefinition,
    Input,
    Invocation,
    Iterator,
    Listing,
    Literal,
    Output,
    Problem,
    Relation,
    Rule,
    Table,
    Variable,
)
from mlkit.bpmn.decisions.xml import (
    Node,
    attribute,
    child,
    children,
    is_dmn,
    line,
    local,
    text_of,
    type_name,
)
from mlkit.errors import BadData

MAX_DEPTH = 60
_LETTERS = {
    "U": "UNIQUE", "A": "ANY", "P": "PRIORITY", "F": "FIRST", "R": "RULE ORDER",
    "O": "OUTPUT ORDER", "C": "COLLECT",
}  # fmt: skip
POLICIES = tuple(_LETTERS.values())
AGGREGATIONS = ("SUM", "COUNT", "MIN", "MAX")
_NONE = Literal("null")


def read_child(node: Node, problems: list[Problem], depth: int = 0) -> Boxed | None:
    """Return the expression that an element holds, or None."""
    if depth > MAX_DEPTH:
        raise BadData(f"line {line(node)}: boxed expressions nest too deeply")
    for each in node:
        read = _READERS.get(local(each)) if is_dmn(each) else None
        if read is not None:
            return read(each, problems, depth + 1)
    return None


def _inside(node: Node, name: str, problems: list[Problem], depth: int) -> Boxed:
    """Return the expression inside of a child; null where there is none."""
    found = child(node, name)
    expression = None if found is None else read_child(found, problems, depth)
    if expression is None:
        problems.append(Problem(local(node), line(node), f"<{name}> is missing"))
    return expression or _NONE


def type_of(node: Node) -> str:
    """Return the type that an element names, without its prefix."""
    return type_name(node, attribute(node, "typeRef"))


def _literal(node: Node, problems: list[Problem], depth: int) -> Boxed:
    language = attribute(node, "expressionLanguage")
    if language and "FEEL" not in language.upper():
        message = f"expressions of {language!r} are not run"
        problems.append(Problem("expression", line(node), message))
        return Literal("null", line=line(node))
    return Literal(text_of(node), type_of(node), line(node))


def _expression(node: Node | None) -> Literal:
    return Literal("", "") if node is None else Literal(text_of(node), type_of(node), line(node))


# -- tables ------------------------------------------------------------------------------------


def _table(node: Node, problems: list[Problem], depth: int) -> Boxed:
    policy = attribute(node, "hitPolicy").upper() or "UNIQUE"
    policy = _LETTERS.get(policy, policy)
    aggregation = attribute(node, "aggregation").upper()
    if policy not in POLICIES or (aggregation and aggregation not in AGGREGATIONS):
        message = f"there is no hit policy {policy!r} {aggregation}".rstrip()
        raise BadData(f"line {line(node)}: {message}")
    return Table(
        inputs=tuple(_input(each) for each in children(node, "input")),
        outputs=tuple(_output(each) for each in children(node, "output")),
        rules=tuple(_rule(each) for each in children(node, "rule")),
        policy=policy,
        aggregation=aggregation if policy == "COLLECT" else "",
        type_ref=type_of(node),
        line=line(node),
        annotations=tuple(attribute(each, "name") for each in children(node, "annotation")),
    )


def _input(node: Node) -> Input:
    expression = _expression(child(node, "inputExpression"))
    label = attribute(node, "label") or expression.text
    return Input(label, expression, text_of(child(node, "inputValues")))


def _output(node: Node) -> Output:
    default = child(node, "defaultOutputEntry")
    return Output(
        name=attribute(node, "name") or attribute(node, "label"),
        type_ref=type_of(node),
        values=text_of(child(node, "outputValues")),
        default=None if default is None else _expression(default),
    )


def _rule(node: Node) -> Rule:
    def cells(name: str) -> tuple[Cell, ...]:
        return tuple(Cell(text_of(each), line(each)) for each in children(node, name))

    return Rule(cells("inputEntry"), cells("outputEntry"), line(node), cells("annotationEntry"))


# -- the other boxes ---------------------------------------------------------------------------


def _variable(node: Node) -> Variable:
    return Variable(attribute(node, "name"), type_of(node))


def _context(node: Node, problems: list[Problem], depth: int) -> Boxed:
    entries: list[tuple[Variable | None, Boxed]] = []
    for each in children(node, "contextEntry"):
        variable = child(each, "variable")
        name = None if variable is None else _variable(variable)
        entries.append((name, read_child(each, problems, depth) or _NONE))
    return Context(tuple(entries), type_of(node))


def _list(node: Node, problems: list[Problem], depth: int) -> Boxed:
    readers = [(_READERS[local(each)], each) for each in node if local(each) in _READERS]
    return Listing(tuple(read(each, problems, depth + 1) for read, each in readers), type_of(node))


def _relation(node: Node, problems: list[Problem], depth: int) -> Boxed:
    rows = []
    for row in children(node, "row"):
        readers = [(_READERS[local(each)], each) for each in row if local(each) in _READERS]
        rows.append(tuple(read(each, problems, depth + 1) for read, each in readers))
    columns = tuple(_variable(each) for each in children(node, "column"))
    return Relation(columns, tuple(rows), type_of(node))


def _invocation(node: Node, problems: list[Problem], depth: int) -> Boxed:
    bindings = []
    for each in children(node, "binding"):
        parameter = child(each, "parameter")
        name = "" if parameter is None else attribute(parameter, "name")
        bindings.append((name, read_child(each, problems, depth) or _NONE))
    function = read_child(node, problems, depth) or _NONE
    return Invocation(function, tuple(bindings), type_of(node))


def read_function(node: Node, problems: list[Problem], depth: int = 0) -> FunctionDefinition:
    """Return the function that an element defines."""
    kind = attribute(node, "kind") or "FEEL"
    if kind != "FEEL":
        problems.append(Problem("function", line(node), f"functions in {kind} are not run"))
    parameters = tuple(_variable(each) for each in children(node, "formalParameter"))
    return FunctionDefinition(parameters, read_child(node, problems, depth), kind, type_of(node))


def _conditional(node: Node, problems: list[Problem], depth: int) -> Boxed:
    condition, chosen, other = (
        _inside(node, name, problems, depth) for name in ("if", "then", "else")
    )
    return Conditional(condition, chosen, other, type_of(node))


def _filter(node: Node, problems: list[Problem], depth: int) -> Boxed:
    items, match = (_inside(node, name, problems, depth) for name in ("in", "match"))
    return Filter(items, match, type_of(node))


def _iterator(node: Node, problems: list[Problem], depth: int) -> Boxed:
    body = "return" if local(node) == "for" else "satisfies"
    items, result = (_inside(node, name, problems, depth) for name in ("in", body))
    name = attribute(node, "iteratorVariable")
    return Iterator(local(node), name, items, result, type_of(node))


_READERS: dict[str, Callable[[Node, list[Problem], int], Boxed]] = {
    "literalExpression": _literal,
    "decisionTable": _table,
    "context": _context,
    "list": _list,
    "relation": _relation,
    "invocation": _invocation,
    "functionDefinition": read_function,
    "conditional": _conditional,
    "filter": _filter,
    "for": _iterator,
    "some": _iterator,
    "every": _iterator,
}
