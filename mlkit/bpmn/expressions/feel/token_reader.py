"""The tokens of a FEEL text, taken one by one."""

from __future__ import annotations

from mlkit.bpmn.expressions.feel.lexer import Token, tokenize
from mlkit.bpmn.expressions.feel.scope import Names
from mlkit.bpmn.expressions.tree import MAX_DEPTH, ExpressionError

_NOT_IN_NAMES = frozenset("()[]{},")


class TokenReader:
    """The tokens of one text.

    Args:
        text: The expression.
        names: What is known by name: names may hold spaces and operators.
        start: Where the expression begins in the text.
    """

    def __init__(self, text: str, names: Names, start: int = 0) -> None:
        self.text = text
        self.tokens = tokenize(text, start)
        self.names = names
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

    def words(self, *words: str) -> bool:
        """Return whether these words come next."""
        ahead = self.tokens[self.index : self.index + len(words)]
        return [each.text for each in ahead] == [*words] and ahead[0].kind != "string"

    def deeper(self) -> None:
        """Count a level of nesting; whoever ends it takes it off `depth`."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ExpressionError(self.text, self.token.position, "nests too deeply")

    def name_until(self, closing: tuple[str, ...]) -> str:
        """Parse a name that is being declared: everything before what ends it."""
        first = self.token
        if first.kind != "name":
            raise ExpressionError(self.text, first.position, "expected a name")
        words = [self.next().text]
        while self.token.kind != "end" and self.token.text not in closing:
            if self.token.kind == "string" or self.token.text in _NOT_IN_NAMES:
                raise self.unexpected()
            spaced = self.tokens[self.index - 1].end < self.token.position
            words.append((" " if spaced else "") + self.next().text)
        name = "".join(words)
        self.names.see(name)
        return name
