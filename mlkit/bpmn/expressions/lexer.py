"""The tokens of JUEL."""

from __future__ import annotations

import re

from mlkit.bpmn.expressions.tokens import Token
from mlkit.bpmn.expressions.tree import ExpressionError

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+)
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<name>[^\W\d]\w*)
    |(?P<symbol>\*\*|\.\.|==|!=|<=|>=|&&|\|\||[-+*/%<>=!?:,.()\[\]{}@])""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def tokenize(text: str, start: int, end: int) -> list[Token]:
    """Split `text[start:end]` into tokens, closed by one of kind `end`.

    Raises:
        ExpressionError: A character that begins no token.
    """
    tokens = []
    position = start
    while position < end:
        match = _TOKEN.match(text, position, end)
        if match is None:
            raise ExpressionError(text, position, f"unexpected {text[position]!r}")
        kind = str(match.lastgroup)
        if kind != "space":
            tokens.append(Token(kind, match.group(), position, match.end()))
        position = match.end()
    return [*tokens, Token("end", "", end, end)]


def unquote(token: Token) -> str:
    """Return the text of a string token, its escapes resolved."""
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m.group(1), m.group(1)), token.text[1:-1])
