"""The parser of XPath's regular expressions, and how RE2 writes what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlkit.bpmn.expressions.feel.budget import LimitReached
from mlkit.bpmn.expressions.feel.regex_classes import (
    ESCAPED,
    CharacterClass,
    class_of_escape,
    literal,
    parse_class,
)
from mlkit.bpmn.expressions.feel.values import Refused

_MAX_LEVELS = 60
MAX_COUNT = 1000
_SPACE = "\t\n\r "
REPEATED = f"the pattern repeats a part more than {MAX_COUNT:,} times"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a pattern.

    Attributes:
        kind: `class`, `dot`, `start`, `end`, `reference`, `group`, `sequence`, `choice`, `repeat`.
        value: The class; the number of a group or reference (0 for one without a number);
            the bounds of a repetition, and whether it takes as much as it can.
        parts: What it is made of.
    """

    kind: str
    value: Any = None
    parts: tuple[Piece, ...] = ()


class RegexParser:
    """Parse one pattern.

    Args:
        pattern: The pattern.
        flags: With `x`, white space outside of classes means nothing.
    """

    def __init__(self, pattern: str, flags: str) -> None:
        self.pattern = without_space(pattern) if "x" in flags else pattern
        self.ignores_case = "i" in flags
        self.at = 0
        self.groups = 0
        self.closed: set[int] = set()
        self.level = 0

    def parse(self) -> Piece:
        """Return the tree of the pattern.

        Raises:
            Refused: It is none.
            LimitReached: It nests too deeply, or repeats too often.
        """
        tree = self._choice()
        if self.at < len(self.pattern):
            raise Refused
        return tree

    def _peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def _next(self) -> str:
        self.at += 1
        if self.at > len(self.pattern):
            raise Refused
        return self.pattern[self.at - 1]

    def _choice(self) -> Piece:
        self.level += 1
        if self.level > _MAX_LEVELS:
            raise LimitReached(f"the pattern nests more than {_MAX_LEVELS} levels")
        branches = [self._sequence()]
        while self._peek() == "|":
            self.at += 1
            branches.append(self._sequence())
        self.level -= 1
        return branches[0] if len(branches) == 1 else Piece("choice", parts=tuple(branches))

    def _sequence(self) -> Piece:
        parts: list[Piece] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._quantify(self._atom()))
        return Piece("sequence", parts=tuple(parts))

    def _quantify(self, piece: Piece) -> Piece:
        bounds = self._bounds()
        if bounds is None:
            return piece
        if piece.kind in ("start", "end"):
            raise Refused
        greedy = self._peek() != "?"
        self.at += not greedy
        return Piece("repeat", (*bounds, greedy), (piece,))

    def _bounds(self) -> tuple[int, int | None] | None:
        simple = {"?": (0, 1), "*": (0, None), "+": (1, None)}
        sign = self._peek()
        if sign in simple:
            self.at += 1
            return simple[sign]
        if sign != "{":
            return None
        closing = self.pattern.find("}", self.at)
        low, comma, high = self.pattern[self.at + 1 : closing].partition(",")
        self.at = closing + 1
        if closing < 0 or not _is_count(low) or (high and not _is_count(high)):
            raise Refused
        least = _count(low)
        most = (_count(high) if high else None) if comma else least
        if most is not None and most < least:
            raise Refused
        if max(least, most or 0) > MAX_COUNT:
            raise LimitReached(REPEATED)
        return least, most

    def _atom(self) -> Piece:
        letter = self._next()
        if letter == "(":
            return self._group()
        if letter == "[":
            found, self.at = parse_class(self.pattern, self.at)
            return Piece("class", found)
        if letter == "\\":
            return self._escape()
        simple = {".": "dot", "^": "start", "$": "end"}
        if letter in simple:
            return Piece(simple[letter])
        if letter in "?*+{})]":
            raise Refused
        return Piece("class", literal(letter))

    def _group(self) -> Piece:
        number = 0
        if self.pattern.startswith("?:", self.at):
            self.at += 2
        else:
            self.groups += 1
            number = self.groups
        inside = self._choice()
        if self._next() != ")":
            raise Refused
        self.closed.add(number)
        return Piece("group", number, (inside,))

    def _escape(self) -> Piece:
        letter = self._next()
        if letter in "123456789":
            return Piece("reference", self._reference(letter))
        if letter in ESCAPED:
            return Piece("class", literal(ESCAPED[letter]))
        found, self.at = class_of_escape(self.pattern, self.at - 1)
        return Piece("class", found)

    def _reference(self, number: str) -> int:
        """Return the number of a back reference: two digits where there are as many groups."""
        while self._peek() in tuple("0123456789") and int(number + self._peek()) <= self.groups:
            number += self._next()
        if int(number) not in self.closed:
            raise Refused
        return int(number)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _count(text: str) -> int:
    """Return a number of repetitions; one with more digits than Python reads is not read."""
    return int(text) if len(text.lstrip("0")) < 10 else 10**10


def without_space(pattern: str) -> str:
    """Return a pattern without the white space outside of its classes."""
    kept: list[str] = []
    level = 0
    for at, letter in enumerate(pattern):
        escaped = at > 0 and pattern[at - 1] == "\\" and not _is_escaped(pattern, at - 1)
        level += (letter == "[" and not escaped) - (letter == "]" and not escaped)
        if level > 0 or letter not in _SPACE:
            kept.append(letter)
    return "".join(kept)


def _is_escaped(pattern: str, at: int) -> bool:
    count = 0
    while at - count > 0 and pattern[at - count - 1] == "\\":
        count += 1
    return count % 2 == 1


def has_reference(piece: Piece) -> bool:
    """Return whether a pattern refers back to a group."""
    return piece.kind == "reference" or any(has_reference(each) for each in piece.parts)


def render(piece: Piece, dot_all: bool) -> str:
    """Return a pattern as RE2 writes it."""
    inside = "".join(render(each, dot_all) for each in piece.parts)
    if piece.kind == "class":
        found: CharacterClass = piece.value
        return found.source
    if piece.kind == "dot":
        return r"(?s:.)" if dot_all else r"[^\n\r]"
    if piece.kind in ("start", "end"):
        return "^" if piece.kind == "start" else "$"
    if piece.kind == "group":
        return f"({inside})" if piece.value else f"(?:{inside})"
    if piece.kind == "choice":
        return f"(?:{'|'.join(render(each, dot_all) for each in piece.parts)})"
    if piece.kind == "repeat":
        low, high, greedy = piece.value
        return f"(?:{inside}){{{low},{'' if high is None else high}}}{'' if greedy else '?'}"
    return inside
