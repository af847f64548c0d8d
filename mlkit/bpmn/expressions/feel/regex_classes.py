"""Classes of characters in XPath's regular expressions, with subtraction, as RE2 writes them."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from mlkit.bpmn.expressions.feel.values import Refused

ESCAPED = {"n": "\n", "r": "\r", "t": "\t", **{each: each for each in "\\|.?*+(){}[]^$-"}}
_LAST = 0x10FFFF
# Blocks of Unicode that patterns name; others are refused.
_BLOCKS = {
    "BasicLatin": (0x0, 0x7F), "Latin-1Supplement": (0x80, 0xFF), "LatinExtended-A": (0x100, 0x17F),
    "LatinExtended-B": (0x180, 0x24F), "IPAExtensions": (0x250, 0x2AF),
    "SpacingModifierLetters": (0x2B0, 0x2FF), "CombiningDiacriticalMarks": (0x300, 0x36F),
    "Greek": (0x370, 0x3FF), "GreekandCoptic": (0x370, 0x3FF), "Cyrillic": (0x400, 0x4FF),
    "Armenian": (0x530, 0x58F), "Hebrew": (0x590, 0x5FF), "Arabic": (0x600, 0x6FF),
    "Devanagari": (0x900, 0x97F), "Bengali": (0x980, 0x9FF), "Thai": (0xE00, 0xE7F),
    "Georgian": (0x10A0, 0x10FF), "LatinExtendedAdditional": (0x1E00, 0x1EFF),
    "GreekExtended": (0x1F00, 0x1FFF), "GeneralPunctuation": (0x2000, 0x206F),
    "CurrencySymbols": (0x20A0, 0x20CF), "Arrows": (0x2190, 0x21FF),
    "MathematicalOperators": (0x2200, 0x22FF), "BoxDrawing": (0x2500, 0x257F),
    "CJKSymbolsandPunctuation": (0x3000, 0x303F), "Hiragana": (0x3040, 0x309F),
    "Katakana": (0x30A0, 0x30FF), "CJKUnifiedIdeographs": (0x4E00, 0x9FFF),
    "HangulSyllables": (0xAC00, 0xD7A3),
}  # fmt: skip
_NAME_START = (
    r":A-Z_a-z\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{2FF}\x{370}-\x{37D}\x{37F}-\x{1FFF}"
    r"\x{200C}-\x{200D}\x{2070}-\x{218F}\x{2C00}-\x{2FEF}\x{3001}-\x{D7FF}\x{F900}-\x{FDCF}"
    r"\x{FDF0}-\x{FFFD}\x{10000}-\x{EFFFF}"
)
_NAME = _NAME_START + r"\-.0-9\x{B7}\x{300}-\x{36F}\x{203F}-\x{2040}"
# What stands inside of the brackets, for a class and for what it leaves out.
_SHORT = {
    "d": (r"\p{Nd}", r"\P{Nd}"),
    "s": (r"\t\n\r ", ""),
    "i": (_NAME_START, ""),
    "c": (_NAME, ""),
    "w": ("", r"\p{P}\p{Z}\p{C}"),
}
_PROPERTY = re.compile(r"\{(Is[A-Za-z0-9-]+|[A-Z][a-z&]?)\}")
_CATEGORIES = frozenset(
    ("L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc",
     "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Z", "Zs", "Zl", "Zp", "S", "Sm", "Sc", "Sk", "So", "C",
     "Cc", "Cf", "Co")
)  # fmt: skip


class CharacterClass:
    """A set of characters.

    Args:
        source: How RE2 writes it.
    """

    __slots__ = ("_compiled", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self._compiled: dict[bool, object] = {}

    def holds(self, letter: str, ignores_case: bool) -> bool:
        """Return whether a character belongs to it."""
        import re2

        if ignores_case not in self._compiled:
            mode = "(?i)" if ignores_case else ""
            self._compiled[ignores_case] = re2.compile(mode + self.source)
        return self._compiled[ignores_case].fullmatch(letter) is not None  # type: ignore[attr-defined]


def _code(number: int) -> str:
    return f"\\x{{{number:X}}}"


def literal(letter: str) -> CharacterClass:
    """Return the class of one character."""
    return CharacterClass(_code(ord(letter)))


def _brackets(inside: str, negative: bool = False) -> str:
    if not inside:
        return r"[^\x00-\x{10FFFF}]" if not negative else r"[\x00-\x{10FFFF}]"
    return f"[{'^' if negative else ''}{inside}]"


def class_of_escape(pattern: str, at: int) -> tuple[CharacterClass, int]:
    """Return the class of the escape whose letter is at a place, and the place behind it.

    Raises:
        Refused: There is no such escape.
    """
    inside, negative, at = _escape(pattern, at)
    return CharacterClass(_brackets(inside, negative)), at


def _escape(pattern: str, at: int) -> tuple[str, bool, int]:
    """Return the inside of an escape's class, whether that is left out, and where it ends."""
    letter = pattern[at : at + 1]
    if letter in ("p", "P"):
        inside, end = _property(pattern, at + 1)
        return inside, letter == "P", end
    if letter.lower() not in _SHORT or not letter:
        raise Refused
    inside, left_out = _SHORT[letter.lower()]
    if left_out and not inside:
        return left_out, letter.islower(), at + 1
    return inside, letter.isupper(), at + 1


def _property(pattern: str, at: int) -> tuple[str, int]:
    found = _PROPERTY.match(pattern, at)
    if found is None:
        raise Refused
    name = found[1]
    if name.startswith("Is") and name[2:] in _BLOCKS:
        low, high = _BLOCKS[name[2:]]
        return f"{_code(low)}-{_code(high)}", found.end()
    if name not in _CATEGORIES:
        raise Refused
    return f"\\p{{{name}}}", found.end()


def parse_class(pattern: str, at: int) -> tuple[CharacterClass, int]:
    """Return the class whose brackets opened before a place, and the place behind it.

    Raises:
        Refused: It is none.
    """
    source, at = _parse_class(pattern, at, 0)
    return CharacterClass(source), at


def _parse_class(pattern: str, at: int, level: int) -> tuple[str, int]:
    if level > 10:
        raise Refused
    negative = pattern[at : at + 1] == "^"
    at += negative
    parts: list[str] = []
    start = at
    while pattern[at : at + 1] != "]":
        if pattern.startswith("-[", at) and at > start:
            less, at = _parse_class(pattern, at + 2, level + 1)
            if pattern[at : at + 1] != "]":
                raise Refused
            return _subtract(_brackets("".join(parts), negative), less), at + 1
        part, at = _member(pattern, at, at == start)
        parts.append(part)
    if not parts:
        raise Refused
    return _brackets("".join(parts), negative), at + 1


def _member(pattern: str, at: int, is_first: bool) -> tuple[str, int]:
    """Return one part of a class: a character, a span of them, or an escape."""
    if pattern[at : at + 1] == "\\" and pattern[at + 1 : at + 2] not in ESCAPED:
        inside, negative, end = _escape(pattern, at + 1)
        if not negative:
            return inside, end
        return _complement(inside), end
    low, at = _letter(pattern, at)
    if pattern[at : at + 1] != "-" or pattern[at + 1 : at + 2] in ("]", "["):
        return _code(ord(low)), at
    high, at = _letter(pattern, at + 1)
    if high < low:
        raise Refused
    return f"{_code(ord(low))}-{_code(ord(high))}", at


def _letter(pattern: str, at: int) -> tuple[str, int]:
    letter = pattern[at : at + 1]
    if letter == "\\" and pattern[at + 1 : at + 2] in ESCAPED:
        return ESCAPED[pattern[at + 1]], at + 2
    if letter in ("", "[", "\\", "]"):
        raise Refused
    return letter, at + 1


def _complement(inside: str) -> str:
    """Return the inside of a class that holds all but another's."""
    if re.fullmatch(r"\\p\{\w+\}", inside):
        return inside.replace("\\p", "\\P")
    return _spans(f"[^{inside}]")


def _subtract(source: str, less: str) -> str:
    kept = _members(source) - _members(less)
    return _brackets(_write_ranges(sorted(kept)))


@lru_cache(maxsize=64)
def _spans(source: str) -> str:
    return _write_ranges(sorted(_members(source)))


@lru_cache(maxsize=16)
def _members(source: str) -> frozenset[int]:
    """Return the code points of a class, as RE2 itself matches them."""
    import re2

    found = re2.compile(source + "+").finditer(_all_letters())
    return frozenset(map(ord, "".join(each.group() for each in found)))


@lru_cache(maxsize=1)
def _all_letters() -> str:
    """Return all characters that are assigned, or a control."""
    codes = (code for code in range(_LAST + 1) if not 0xD800 <= code <= 0xDFFF)
    return "".join(chr(code) for code in codes if unicodedata.category(chr(code)) != "Cn")


def _write_ranges(codes: list[int]) -> str:
    parts: list[str] = []
    at = 0
    while at < len(codes):
        end = at
        while end + 1 < len(codes) and codes[end + 1] == codes[end] + 1:
            end += 1
        parts.append(f"{_code(codes[at])}-{_code(codes[end])}")
        at = end + 1
    return "".join(parts)
