"""FEEL, the `=...` expressions of Zeebe (a subset)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar

from mlkit.bpmn.expressions.feel_functions import BUILTINS
from mlkit.bpmn.expressions.lexer import Token, unquote
from mlkit.bpmn.expressions.pratt import Parser
from mlkit.bpmn.expressions.tree import ExpressionError, Node

# Built-in functions whose names hold spaces, the longest first.
_SPACED = sorted((tuple(each.split()) for each in BUILTINS if " " in each), key=len, reverse=True)
_TYPES = (
    "date and time", "days and time duration", "number", "string", "boolean", "date", "time",
    "list", "context", "Any",
)  # fmt: skip


_COMPARISONS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}


class FeelParser(Parser):
    """A FEEL expression, without the leading `=`."""

    infix: ClassVar = {
        "or": (2, "or"), "and": (3, "and"),
        "=": (4, "eq"), "!=": (4, "ne"), "<": (4, "lt"), "<=": (4, "le"),
        ">": (4, "gt"), ">=": (4, "ge"),
        "+": (6, "add"), "-": (6, "sub"), "*": (7, "mul"), "/": (7, "div"), "**": (8, "pow"),
    }  # fmt: skip
    prefix: ClassVar = {"-": (9, "neg")}
    constants: ClassVar = {"true": True, "false": False, "null": None}
    subscript: ClassVar = "filter"

    def number(self, text: str) -> object:
        """Give a decimal: FEEL knows no binary fractions."""
        return int(text) if text.isdigit() else Decimal(text)

    def special(self, left: Node, floor: int) -> Node:
        """Parse `x between a and b`, and `x in` a list or an interval."""
        if floor <= 4 and self.token.kind == "name" and self.token.text == "in":
            return self._in(left, self.next().position)
        if floor <= 4 and self.token.kind == "name" and self.token.text == "instance":
            return self._instance(left, self.next().position)
        if floor > 4 or not self.accept("between"):
            return left
        low = self.expression(5)
        self.expect("and")
        high = self.expression(5)
        above = Node("ge", left.position, (left, low))
        return Node("and", left.position, (above, Node("le", left.position, (left, high))))

    def _in(self, left: Node, position: int) -> Node:
        """Parse what `in` looks into: `< 5`, `[1..5]`, `]1..5[`, a list or an expression."""
        opening = self.token.text if self.token.kind == "symbol" else ""
        if opening in _COMPARISONS:
            self.next()
            return Node(_COMPARISONS[opening], position, (left, self.expression(5)))
        if opening not in ("[", "(", "]"):
            return Node("in", position, (left, self.expression(5)))
        self.next()
        closing = ")" if opening == "(" else "]"
        items: list[Node] = []
        while opening == "]" or not self.accept(closing):
            if items:
                self.expect(",")
            items.append(self.expression())
            if len(items) == 1 and self.accept(".."):
                return self._interval(left, items[0], opening == "[")
            if opening == "]":
                raise ExpressionError(self.text, self.token.position, "expected '..'")
        single = opening == "(" and len(items) == 1
        whole = items[0] if single else Node("list", position, tuple(items))
        return Node("in", position, (left, self._suffixes(whole)))

    def _interval(self, left: Node, low: Node, closed: bool) -> Node:
        high = self.expression()
        end = self.next()
        if end.text not in (")", "]", "["):
            raise ExpressionError(self.text, end.position, "expected the end of the interval")
        above = Node("ge" if closed else "gt", left.position, (left, low))
        below = Node("le" if end.text == "]" else "lt", left.position, (left, high))
        return Node("and", left.position, (above, below))

    def _instance(self, left: Node, position: int) -> Node:
        self.expect("of")
        for name in _TYPES:
            if self._ahead(name.split()):
                self.index += len(name.split())
                return Node("instance", position, (left,), name)
        raise ExpressionError(self.text, self.token.position, "there is no such type here")

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
        """Parse also `if`, loops, functions, and calls of those whose names hold spaces."""
        if token.text == "if":
            return self._if(token.position)
        if token.text in ("for", "some", "every") and self.token.kind == "name":
            return self._loop(token)
        if token.text == "function" and self.accept("("):
            return self._function(token.position)
        for words in _SPACED:
            if words[0] == token.text and self._ahead([*words[1:], "("]):
                self.index += len(words)
                return Node("call", token.position, self.sequence(")"), " ".join(words))
        return super().name(token)

    def _ahead(self, words: Sequence[str]) -> bool:
        return [each.text for each in self.tokens[self.index :][: len(words)]] == [*words]

    def _loop(self, kind: Token) -> Node:
        """Parse `for x in xs, y in ys return ...`, `some ... satisfies ...` and `every ...`."""
        names: list[str] = []
        parts: list[Node] = []
        while not names or self.accept(","):
            names.append(self._variable())
            self.expect("in")
            domain = self.expression()
            if self.accept(".."):
                domain = Node("range", domain.position, (domain, self.expression()))
            parts.append(domain)
        self.expect("return" if kind.text == "for" else "satisfies")
        return Node(kind.text, kind.position, (*parts, self.expression()), tuple(names))

    def _function(self, position: int) -> Node:
        """Parse `function(a, b) ...`, which tells `sort` what comes first."""
        names: list[str] = []
        while not self.accept(")"):
            if names:
                self.expect(",")
            names.append(self._variable())
        return Node("function", position, (self.expression(),), tuple(names))

    def _variable(self) -> str:
        token = self.next()
        if token.kind != "name":
            raise ExpressionError(self.text, token.position, "expected a name")
        return token.text

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
