"""Measure and wrap labels; close enough to any sans-serif font that no line overflows."""

from __future__ import annotations

import unicodedata

from mlkit.bpmn.render.drawing import Drawing
from mlkit.bpmn.render.picture import Box, Point

SIZE = 12.0
SMALL = 11.0
LEADING = 1.2
_WIDTHS = {
    **dict.fromkeys("ijlI.,:;'|!", 0.28),
    **dict.fromkeys('frt()[]{}/\\- "', 0.36),
    **dict.fromkeys("mwMW@%", 0.89),
    **dict.fromkeys("ABCDEFGHJKLNOPQRSTUVXYZ&", 0.66),
}


def width(text: str, size: float = SIZE) -> float:
    """Estimate the width of a line in pixels."""
    return size * sum(_WIDTHS.get(each) or _other(each) for each in text)


def _other(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    return 1.0 if unicodedata.east_asian_width(character) in "WF" else 0.58


def wrap(text: str, room: float, size: float = SIZE) -> list[str]:
    """Break a label into lines of at most `room` pixels; longer words are broken too."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in (part for each in paragraph.split() for part in _pieces(each, room, size)):
            joined = f"{line} {word}" if line else word
            if line and width(joined, size) > room:
                lines.append(line)
                joined = word
            line = joined
        lines.append(line)
    return lines


def _pieces(word: str, room: float, size: float) -> list[str]:
    pieces = [""]
    for each in word:
        if pieces[-1] and width(pieces[-1] + each, size) > room:
            pieces.append("")
        pieces[-1] += each
    return pieces


def centred(drawing: Drawing, text: str, box: Box, size: float = SIZE) -> None:
    """Write a label in the middle of a box."""
    lines = wrap(text, max(box.width - 8, size), size)
    _write(drawing, lines, box.center.x, box.center.y - len(lines) * size * LEADING / 2, size)


def topmost(drawing: Drawing, text: str, box: Box, size: float = SIZE) -> None:
    """Write a label at the upper side of a box."""
    _write(drawing, wrap(text, max(box.width - 8, size), size), box.center.x, box.y, size)


def outside(drawing: Drawing, text: str, box: Box) -> None:
    """Write the label of an event, gateway, data object or flow beside it."""
    _write(drawing, wrap(text, max(box.width, SMALL), SMALL), box.center.x, box.y, SMALL)


def upwards(drawing: Drawing, text: str, box: Box) -> None:
    """Write a label in the middle of a box, turned to be read from below."""
    x, y = box.center
    turned = drawing.group(transform=f"rotate(-90 {x:g} {y:g})")
    centred(turned, text, Box(x - box.height / 2, y - box.width / 2, box.height, box.width))


def leftmost(drawing: Drawing, text: str, box: Box, size: float = SIZE) -> None:
    """Write the lines of a text annotation from the left."""
    lines = wrap(text, max(box.width - 10, size), size)
    group = drawing.group(style="text-anchor:start")
    top = box.center.y - len(lines) * size * LEADING / 2
    group.text(lines, Point(box.x + 7, top + size), size, size * LEADING)
    for text_element in group.element:
        text_element.set("text-anchor", "start")


def _write(drawing: Drawing, lines: list[str], x: float, top: float, size: float) -> None:
    drawing.text(lines, Point(x, top + size), size, size * LEADING)
