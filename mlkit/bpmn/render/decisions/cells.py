"""Texts in the character cells of a terminal, where some characters are two cells wide."""

from __future__ import annotations

import unicodedata


def width(text: str) -> int:
    """Return the number of cells of a line."""
    return sum(_cells(each) for each in text)


def _cells(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Me", "Mn"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def wrap(text: str, room: int) -> list[str]:
    """Break a text into lines of at most so many cells; longer words are broken too."""
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for word in (part for each in paragraph.split() for part in _pieces(each, room)):
            joined = f"{line} {word}" if line else word
            if line and width(joined) > room:
                lines.append(line)
                joined = word
            line = joined
        lines.append(line)
    return lines


def _pieces(word: str, room: int) -> list[str]:
    pieces = [""]
    for each in word:
        if pieces[-1] and width(pieces[-1] + each) > room:
            pieces.append("")
        pieces[-1] += each
    return pieces


def cut(text: str, room: int) -> str:
    """Return a line of at most so many cells; an ellipsis takes the place of the rest."""
    if width(text) <= room:
        return text
    kept, left = "", room - 1
    for each in text:
        left -= _cells(each)
        if left < 0:
            break
        kept += each
    return f"{kept}…"


def pad(text: str, room: int) -> str:
    """Return a line filled with blanks to a width."""
    return text + " " * (room - width(text))
