"""The tokens of a FEEL text, whose names may be several of them."""

from __future__ import annotations

from mlkit.bpmn.expressions.feel.lexer import tokenize
from mlkit.bpmn.expressions.feel.scope import Names
from mlkit.bpmn.expressions.tokens import TokenReader
from mlkit.bpmn.expressions.tree import ExpressionError

_NOT_IN_NAMES = frozenset("()[]{},")


class FeelReader(TokenReader):
    """The tokens of one text.

    Args:
        text: The expression.
        names: What is known by name: names may hold spaces and operators.
        start: Where the expression begins in the text.
    """

    def __init__(self, text: str, names: Names, start: int = 0) -> None:
        super().__init__(text, tokenize(text, start))
        self.names = names

    def words(self, *words: str) -> bool:
        """Return whether these words come next."""
        ahead = self.tokens[self.index : self.index + len(words)]
        return [each.text for each in ahead] == [*words] and ahead[0].kind != "string"

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
