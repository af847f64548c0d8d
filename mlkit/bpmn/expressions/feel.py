"""FEEL, the `=...` expressions of Zeebe (a subset)."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from mlkit.bpmn.expressions.lexer import Token, unquote
from mlkit.bpmn.expressions.pratt import Parser
from mlkit.bpmn.expressions.tree import ExpressionError, Node

# Built-in functions whose names hold spaces.
_SPACED = {
    ("string", "length"), ("upper", "case"), ("lower", "case"), ("starts", "with"),
    ("ends", "with"), ("list", "contains"), ("date", "and", "time"), ("distinct", "values"),
    ("index", "of"), ("substring", "before"), ("substring", "after"), ("is", "defined"),
}  # fmt: skip
_REFUSED = {"for", "some", "every", "function", "instance"}


class FeelParser(Parser):
    """A FEEL expression, without the leading `=`."""

    infix: ClassVar = {
        "or": (2, "or"), "and": (3, "and"),
        "=": (4, "eq"), "!=": (4, "ne"), "<": (4, "lt"), "<=": (4, "le"),
        ">": (4, "gt"), ">=": (4, "ge"), "in": (4, "in"),
        "+": (6, "add"), "-": (6, "sub"), "*": (7, "mul"), "/": (7, "div"), "**": (8, "pow"),
    }  # fmt: skip
    prefix: ClassVar = {"-": (9, "neg")}
    constants: ClassVar = {"true": True, "false": False, "null": None}
    subscript: ClassVar = "filter"

    def number(self, text: str) -> object:
        """Give a decimal: FEEL knows no binary fractions."""
        return int(text) if text.isdigit() else Decimal(text)

    def special(self, left: Node, floor: int) -> Node:
        """Parse `x between a and b`."""
        if floor > 4 or not self.accept("between"):
            return left
        low = self.expression(5)
        self.expect("and")
        high = self.expression(5)
        above = Node("ge", left.position, (left, low))
        return Node("and", left.position, (above, Node("le", left.position, (left, high))))

    def primary(self) -> Node:
        """Parse also a context `{...}` and a date literal `@"..."`."""
        position = self.token.position
        if self.accept("{"):
            return self._context(position)
        if self.accept("@"):
            token = self.next()
            if token.kind != "string":
                raise ExpressionError(self.text, token.position, "expected a string after '@'")
            text = Node("literal", position, value=unquote(token))
            return Node("call", position, (text,), "temporal")
        return super().primary()

    def name(self, token: Token) -> Node:
        """Parse also `if`, `not(...)` and functions whose names hold spaces."""
        if token.text == "if":
            return self._if(token.position)
        if token.text in _REFUSED:
            raise ExpressionError(self.text, token.position, f"{token.text!r} is not supported")
        for words in _SPACED:
            if words[0] == token.text and self._words(words[1:]):
                return Node("call", token.position, self.sequence(")"), " ".join(words))
        return super().name(token)

    def _words(self, words: tuple[str, ...]) -> bool:
        ahead = [each.text for each in self.tokens[self.index : self.index + len(words) + 1]]
        found = ahead == [*words, "("]
        if found:
            self.index += len(words) + 1
        return found

    def _if(self, position: int) -> Node:
        condition = self.expression()
        self.expect("then")
        chosen = self.expression()
        self.expect("else")
        return Node("if", position, (condition, chosen, self.expression()))

    def _context(self, position: int) -> Node:
        entries: list[Node] = []
        while not self.accept("}"):
            if entries:
                self.expect(",")
            key = self.next()
            if key.kind not in ("name", "string"):
                raise ExpressionError(self.text, key.position, "expected a key")
            self.expect(":")
            name = unquote(key) if key.kind == "string" else key.text
            entries += [Node("literal", key.position, value=name), self.expression()]
        return Node("map", position, tuple(entries))


def parse(text: str) -> Node:
    """Parse a FEEL expression with its leading `=`.

    Raises:
        ExpressionError: It is no expression of the subset.
    """
    return FeelParser(text, start=len(text) - len(text.lstrip().removeprefix("="))).parse()
