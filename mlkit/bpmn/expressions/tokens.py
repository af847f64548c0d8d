"""Tokens, and a reader that takes them one by one: what the parsers of all dialects stand on."""

from __future__ import annotations

from typing import NamedTuple

from mlkit.bpmn.expressions.tree import MAX_DEPTH, ExpressionError


class Token(NamedTuple):
    """A piece of an expression.

    Attributes:
        kind: `number`, `string`, `name`, `symbol` or `end`.
        text: As it is written.
        position: Of its first character.
        end: Of the character behind it.
    """

    kind: str
    text: str
    position: int
    end: int


class TokenReader:
    """The tokens of one text.

    Args:
        text: The expression, to show in errors.
        tokens: Its tokens, closed by one of kind `end`.
    """

    def __init__(self, text: str, tokens: list[Token]) -> None:
        self.text = text
        self.tokens = tokens
        self.index = 0
        self.depth = 0

    @property
    def token(self) -> Token:
        """The token that comes next."""
        return self.tokens[self.index]

    def next(self) -> Token:
        """Take the next token."""
        token = self.tokens[self.index]
        self.index += token.kind != "end"
        return token

    def accept(self, text: str) -> bool:
        """Take the next token if it is this symbol or word."""
        token = self.tokens[self.index]
        found = token.text == text and token.kind in ("symbol", "name")
        self.index += found
        return found

    def expect(self, text: str) -> None:
        """Take this symbol or word, or refuse the expression."""
        if not self.accept(text):
            raise ExpressionError(self.text, self.token.position, f"expected {text!r}")

    def unexpected(self) -> ExpressionError:
        """Return the error for the next token."""
        shown = repr(self.token.text) if self.token.text else "end of expression"
        return ExpressionError(self.text, self.token.position, f"unexpected {shown}")

    def deeper(self) -> None:
        """Count a level of nesting; whoever ends it takes it off `depth`."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ExpressionError(self.text, self.token.position, "nests too deeply")
