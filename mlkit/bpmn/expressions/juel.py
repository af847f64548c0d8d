"""JUEL, the `${...}` expressions of Camunda 7, Activiti and Flowable (a subset)."""

from __future__ import annotations

import re
from typing import ClassVar

from mlkit.bpmn.expressions.lexer import Token
from mlkit.bpmn.expressions.pratt import Parser
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


_OF_EXECUTION = {"getVariable": "variable", "hasVariable": "known"}


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
        """Parse also `execution.getVariable('x')`, which names a variable that may be missing."""
        field = self.token
        found = super().member(node, dot)
        if (node.op, node.value) != ("name", "execution") or found.op != "call":
            return found
        names = found.children[1:]
        if found.value not in _OF_EXECUTION or [each.op for each in names] != ["literal"]:
            problem = "of an execution, getVariable('x') and hasVariable('x') are known"
            raise ExpressionError(self.text, field.position, problem)
        return Node(_OF_EXECUTION[str(found.value)], field.position, value=names[0].value)


def parse(text: str) -> Node:
    """Parse text that mixes constants with `${...}` and `#{...}`.

    A text that is one expression keeps its type; a mixture is a string.

    Raises:
        ExpressionError: The expression, or the brackets around it, are broken.
    """
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
