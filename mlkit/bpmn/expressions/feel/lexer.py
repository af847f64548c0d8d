"""The tokens of FEEL (DMN 1.5, 10.3.1.2): names are pieces that the parser puts together."""

from __future__ import annotations

import re

from mlkit.bpmn.expressions.tokens import Token
from mlkit.bpmn.expressions.tree import ExpressionError

# Grammar rules 28 to 30: what starts a name, and what goes on with it.
_START = (
    r"?A-Z_a-z\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u02FF\u0370-\u037D\u037F-\u1FFF\u200C-\u200D"
    r"\u2070-\u218F\u2C00-\u2FEF\u3001-\uD7FF\uF900-\uFDCF\uFDF0-\uFFFD\U00010000-\U000EFFFF"
)
_TOKEN = re.compile(
    rf"""(?P<space>(?:[\s\u0085\u180E\uFEFF]+|//[^\n\r]*|/\*(?:[^*]|\*(?!/))*\*/)+)
    |(?P<number>(?:\d+(?:\.(?!\.)\d+)?|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<string>"(?:[^"\\]|\\.)*")
    |(?P<name>[{_START}][{_START}\d\u00B7\u0300-\u036F\u203F-\u2040]*)
    |(?P<symbol>\*\*|\.\.|->|!=|<=|>=|[-+*/<>=:,.()\[\]{{}}@'])""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{6})|(['\"\\nrt]))")
_CONTROL = {"n": "\n", "r": "\r", "t": "\t"}
# A pair of escapes of UTF-16 is one character.
_PAIR = re.compile(r"\\u([Dd][89ABab][0-9A-Fa-f]{2})\\u([Dd][C-Fc-f][0-9A-Fa-f]{2})")


def tokenize(text: str, start: int = 0) -> list[Token]:
    """Split a text into tokens, closed by one of kind `end`.

    Raises:
        ExpressionError: A character that begins no token.
    """
    tokens = []
    position = start
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            problem = "a text without its end" if text[position] == '"' else "unexpected"
            raise ExpressionError(text, position, f"{problem}: {text[position]!r}")
        if match.lastgroup != "space":
            tokens.append(Token(str(match.lastgroup), match.group(), position, match.end()))
        position = match.end()
    return [*tokens, Token("end", "", len(text), len(text))]


def unquote(token: Token) -> str:
    """Return the text of a string token; a backslash that begins no escape stays."""
    content = (
        _PAIR.sub(_join_surrogates, token.text[1:-1]) if "\\u" in token.text else token.text[1:-1]
    )
    return _ESCAPE.sub(_unescape, content)


def _join_surrogates(match: re.Match[str]) -> str:
    high, low = int(match[1], 16), int(match[2], 16)
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):06X}"


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    if code is None:
        return _CONTROL.get(match[3], match[3])
    number = int(code, 16)
    # Half a pair is not a character, and could be written nowhere.
    return match.group() if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF else chr(number)
