"""A precedence-climbing parser; JUEL gives it its operators."""

from __future__ import annotations

from typing import ClassVar

from mlkit.bpmn.expressions.lexer import tokenize, unquote
from mlkit.bpmn.expressions.tokens import Token, TokenReader
from mlkit.bpmn.expressions.tree import ExpressionError, Node


class Parser(TokenReader):
    """Parse one expression; subclasses fill the tables of their dialect.

    Attributes:
        infix: Operator text -> (precedence, op of the tree); higher binds tighter.
        prefix: The same for operators before their operand.
        constants: Names that stand for a constant.
    """

    infix: ClassVar[dict[str, tuple[int, str]]] = {}
    prefix: ClassVar[dict[str, tuple[int, str]]] = {}
    constants: ClassVar[dict[str, object]] = {}

    def __init__(self, text: str, start: int = 0, end: int | None = None) -> None:
        super().__init__(text, tokenize(text, start, len(text) if end is None else end))

    def parse(self) -> Node:
        """Parse all of the text.

        Raises:
            ExpressionError: It is not an expression of the dialect, or nests too deeply.
        """
        node = self.expression()
        if self.token.kind != "end":
            raise self.unexpected()
        return node

    def expression(self, floor: int = 0) -> Node:
        """Parse operators that bind at least as tightly as `floor`."""
        self.deeper()
        left = self._operand()
        while (longer := self._continue(left, floor)) is not left:
            left = longer
        self.depth -= 1
        return left

    def _continue(self, left: Node, floor: int) -> Node:
        entry = self._operator()
        if entry is None or entry[0] < floor:
            return self.special(left, floor)
        token = self.next()
        return Node(entry[1], token.position, (left, self.expression(entry[0] + 1)))

    def special(self, left: Node, floor: int) -> Node:
        """Parse what follows an operand and is not an infix operator (ternaries, ranges)."""
        return left

    def _operator(self) -> tuple[int, str] | None:
        return self.infix.get(self.token.text) if self.token.kind != "string" else None

    def _operand(self) -> Node:
        token = self.token
        entry = self.prefix.get(token.text) if token.kind != "string" else None
        if entry is not None:
            self.next()
            return Node(entry[1], token.position, (self.expression(entry[0]),))
        return self._suffixes(self.primary())

    def primary(self) -> Node:
        """Parse a constant, a name, a call, a list or a parenthesis."""
        token = self.next()
        if token.kind == "number":
            return Node("literal", token.position, value=self.number(token.text))
        if token.kind == "string":
            return Node("literal", token.position, value=unquote(token))
        if token.kind == "name":
            return self.name(token)
        if token.text == "(":
            node = self.expression()
            self.expect(")")
            return node
        if token.text == "[":
            return Node("list", token.position, self.sequence("]"))
        self.index -= token.kind != "end"
        raise self.unexpected()

    def name(self, token: Token) -> Node:
        """Parse a constant's name, a call or a variable."""
        if token.text in self.constants:
            return Node("literal", token.position, value=self.constants[token.text])
        if self.accept("("):
            return Node("call", token.position, self.sequence(")"), token.text)
        return Node("name", token.position, value=token.text)

    def number(self, text: str) -> object:
        """Return the value of a number."""
        return int(text) if text.isdigit() else float(text)

    def sequence(self, closing: str) -> tuple[Node, ...]:
        """Parse expressions between commas up to a closing symbol."""
        items: list[Node] = []
        while not self.accept(closing):
            if items:
                self.expect(",")
            items.append(self.expression())
        return tuple(items)

    def _suffixes(self, node: Node) -> Node:
        while self.token.text in (".", "[") and self.token.kind == "symbol":
            token = self.next()
            if token.text == ".":
                node = self.member(node, token)
            else:
                node = Node(self.subscript, token.position, (node, self.expression()))
                self.expect("]")
        return node

    subscript: ClassVar[str] = "item"

    def member(self, node: Node, dot: Token) -> Node:
        """Parse what follows a dot: a key of data, or a function of it."""
        field = self.next()
        if field.kind != "name":
            raise ExpressionError(self.text, field.position, "expected a name after '.'")
        if self.accept("("):
            return Node("call", field.position, (node, *self.sequence(")")), field.text)
        key = Node("literal", field.position, value=field.text)
        return Node("item", dot.position, (node, key))
