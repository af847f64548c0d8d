"""JUEL, the `${...}` expressions of Camunda 7, Activiti and Flowable (a subset)."""

from __future__ import annotations

import re
from typing import ClassVar

from mlkit.bpmn.expressions.pratt import Parser
from mlkit.bpmn.expressions.tokens import Token
from mlkit.bpmn.expressions.tree import ExpressionError, Node

_OPERATORS: list[list[tuple[str, str]]] = [
    [("||", "or"), ("or", "or")],
    [("&&", "and"), ("and", "and")],
    [("==", "eq"), ("eq", "eq"), ("!=", "ne"), ("ne", "ne")],
    [
        *[("<", "lt"), ("lt", "lt"), (">", "gt"), ("gt", "gt")],
        *[("<=", "le"), ("le", "le"), (">=", "ge"), ("ge", "ge")],
    ],
    [("+", "add"), ("-", "sub")],
    [("*", "mul"), ("/", "div"), ("div", "div"), ("%", "mod"), ("mod", "mod")],
]


_READS = {"getVariable": "variable", "getVariableLocal": "variable", "hasVariable": "known"}
_SETS = {"setVariable": 2, "setVariableLocal": 2, "removeVariable": 1}
_BEANS = ("execution", "task", "delegateTask")
PROPERTIES = (
    "id", "processInstanceId", "processBusinessKey", "businessKey", "processDefinitionId",
    "currentActivityId", "currentActivityName", "eventName", "tenantId",
)  # fmt: skip
"""What an execution knows beside its variables; they are looked up as `execution.NAME`."""
_GETTER = re.compile(r"get([A-Z]\w*)")
# Flowable's functions of variables: `var:eq(amount, 5)`, with the name quoted or not.
_PREFIXED = re.compile(
    r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|\b(?:vars?|variables):(\w+)(?=\()"""
)
_OF_VARIABLE = {
    "get": "variable", "getOrDefault": "default",
    "exists": "known", "exist": "known", "isEmpty": "empty", "empty": "empty",
    "isNotEmpty": "filled", "notEmpty": "filled",
    "equals": "eq", "eq": "eq", "notEquals": "ne", "ne": "ne",
    "lessThan": "lt", "lt": "lt", "lessThanOrEquals": "le", "lte": "le",
    "greaterThan": "gt", "gt": "gt", "greaterThanOrEquals": "ge", "gte": "ge",
    "contains": "contains",
}  # fmt: skip


_TWO = ("default", "eq", "ne", "lt", "le", "gt", "ge", "contains")
_MARK = "\u02d0\u02d0"  # No letter that a name of a variable would begin with.


class JuelParser(Parser):
    """The part between `${` and `}`."""

    infix: ClassVar = {
        text: (level, op) for level, row in enumerate(_OPERATORS, start=2) for text, op in row
    }
    prefix: ClassVar = {"!": (9, "not"), "not": (9, "not"), "-": (9, "neg"), "empty": (9, "empty")}
    constants: ClassVar = {"true": True, "false": False, "null": None}

    def special(self, left: Node, floor: int) -> Node:
        """Parse `condition ? this : that`."""
        if floor > 1 or not self.accept("?"):
            return left
        chosen = self.expression(1)
        self.expect(":")
        return Node("if", left.position, (left, chosen, self.expression(1)))

    def member(self, node: Node, dot: Token) -> Node:
        """Parse also what an execution knows and does, and getters: `order.getTotal()`."""
        field = self.token
        found = super().member(node, dot)
        if node.op == "name" and node.value in _BEANS:
            return self._of_bean(node, found, field)
        getter = _GETTER.fullmatch(field.text)
        if found.op == "call" and getter is not None and len(found.children) == 1:
            key = Node("literal", field.position, value=getter[1][0].lower() + getter[1][1:])
            return Node("item", dot.position, (node, key))
        return found

    def _of_bean(self, bean: Node, found: Node, field: Token) -> Node:
        names = found.children[1:]
        if found.op == "call" and found.value in _SETS and len(names) == _SETS[str(found.value)]:
            return Node("assign", field.position, names, found.value)
        if found.op == "call" and found.value in _READS and [e.op for e in names] == ["literal"]:
            return Node(_READS[str(found.value)], field.position, value=names[0].value)
        key = field.text
        getter = _GETTER.fullmatch(key) if found.op == "call" and not names else None
        if getter is not None:
            key = getter[1][0].lower() + getter[1][1:]
        if bean.value == "execution" and key in PROPERTIES:
            return Node("name", field.position, value=f"execution.{key}")
        if bean.value == "execution":
            problem = f"of an execution, {field.text!r} is not known in this form"
            raise ExpressionError(self.text, field.position, problem)
        part = Node("literal", field.position, value=key)
        return found if getter is None else Node("item", field.position, (bean, part))

    def name(self, token: Token) -> Node:
        """Parse also Flowable's functions of variables."""
        found = super().name(token)
        name = str(found.value)
        if found.op != "call" or not name.startswith(_MARK):
            return found
        return self._of_variable(found, name.removeprefix(_MARK).lstrip("_"))

    def _of_variable(self, call: Node, name: str) -> Node:
        op = _OF_VARIABLE.get(name)
        first, rest = call.children[:1], call.children[1:]
        if name == "containsAny" and first and rest:
            return self._contains_any(call, first[0], rest)
        known = bool(first) and first[0].op in ("name", "literal")
        if op is None or not known or len(rest) != (op in _TWO):
            problem = f"of a variable, there is no function {name!r} in this form"
            raise ExpressionError(self.text, call.position, problem)
        at, variable = call.position, Node("variable", call.position, value=first[0].value)
        if op in ("variable", "known"):
            return Node(op, at, value=first[0].value)
        if op in ("empty", "filled"):
            empty = Node("empty", at, (variable,))
            return empty if op == "empty" else Node("not", at, (empty,))
        if op == "default":
            known_node = Node("known", at, value=first[0].value)
            return Node("if", at, (known_node, variable, rest[0]))
        if op == "contains":
            return Node("call", at, (variable, *rest), "contains")
        return Node(op, at, (variable, *rest))

    def _contains_any(self, call: Node, first: Node, wanted: tuple[Node, ...]) -> Node:
        """Return the condition that one of some values is in a variable's list or text."""
        at = call.position
        whole, *others = (
            self._of_variable(Node("call", at, (first, each), call.value), "contains")
            for each in wanted
        )
        for each in others:
            whole = Node("or", at, (whole, each))
        return whole


def parse(text: str) -> Node:
    """Parse text that mixes constants with `${...}` and `#{...}`.

    A text that is one expression keeps its type; a mixture is a string.

    Raises:
        ExpressionError: The expression, or the brackets around it, are broken.
    """
    try:
        return _parse(_PREFIXED.sub(_mark, text))
    except ExpressionError as error:  # with the text as written: positions hold
        raise ExpressionError(text, error.position, error.problem) from error


def _parse(text: str) -> Node:
    parts: list[Node] = []
    position = 0
    while position < len(text):
        opening = _opening(text, position)
        if opening > position:
            constant = re.sub(r"\\([$#]\{)", r"\1", text[position:opening])
            parts.append(Node("literal", position, value=constant))
        if opening == len(text):
            break
        closing = _closing(text, opening + 2)
        parts.append(JuelParser(text, opening + 2, closing).parse())
        position = closing + 1
    return parts[0] if len(parts) == 1 else Node("text", 0, tuple(parts))


def _mark(match: re.Match[str]) -> str:
    """Write a function of a variable as one name of the same length, so that positions hold."""
    if match[1]:
        return match[1]
    padding = len(match[0]) - len(match[2]) - len(_MARK)
    return f"{_MARK}{'_' * padding}{match[2]}"


def _opening(text: str, start: int) -> int:
    """Find the next `${` or `#{` that no backslash makes a constant."""
    found = re.compile(r"(?<!\\)[$#]\{").search(text, start)
    return len(text) if found is None else found.start()


def _closing(text: str, start: int) -> int:
    quote = ""
    for at in range(start, len(text)):
        if quote:
            if text[at] == quote and text[at - 1] != "\\":
                quote = ""
        elif text[at] in "\"'":
            quote = text[at]
        elif text[at] == "}":
            return at
    raise ExpressionError(text, start - 2, "no closing '}'")
