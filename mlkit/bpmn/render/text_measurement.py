"""Measure and wrap labels; close enough to any sans-serif font that no line overflows."""

from __future__ import annotations

import re
import unicodedata

from mlkit.bpmn.render.drawing import Drawing
from mlkit.bpmn.render.picture import Box, Point

SIZE = 12.0
SMALL = 11.0
LEADING = 1.2
WIDER = 1.1  # other fonts than the measured one are up to a tenth wider
_SMALLEST = 9.0
_USUAL, _WIDEST = 90.0, 160.0  # widths of labels beside their shapes
_JOINT = re.compile(r"(?<=[\W_])(?=[^\W_])|(?<=[^\W\dA-Z_])(?=[A-Z])")
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
    """Break a label into lines of at most `room` pixels; longer words are broken too.

    A word is broken where it is joined (`a_b`, `a-b`, `aB`); elsewhere only with a hyphen.
    """
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
    if width(word, size) <= room:
        return [word]
    pieces = [""]
    for part in _JOINT.split(word):
        if pieces[-1] and width(pieces[-1] + part, size) > room:
            pieces.append("")
        *broken, rest = _hyphenate(pieces[-1] + part, room, size)
        pieces[-1:] = [*broken, rest]
    return pieces


def _hyphenate(part: str, room: float, size: float) -> list[str]:
    """Break a part of a word that nothing joins; scripts without hyphens break anywhere."""
    pieces = [""]
    for each in part:
        hyphen = "-" if each.isalpha() and unicodedata.east_asian_width(each) not in "WF" else ""
        if pieces[-1] and width(f"{pieces[-1]}{each}", size) > room - width(hyphen, size):
            pieces[-1] += hyphen if pieces[-1][-1:].isalpha() else ""
            pieces.append("")
        pieces[-1] += each
    return pieces


def room(text: str) -> float:
    """Return how wide a label beside its shape is: more than usual for a long word."""
    longest = max((width(each, SMALL) for each in text.split()), default=0.0)
    return min(max(longest, _USUAL), _WIDEST)


def fitting(text: str, room: float, height: float) -> float:
    """Return the largest size at which a label is in its box, no word broken if that can be."""
    parts = [part for word in text.split() for part in _JOINT.split(word)]
    longest = max((width(each, _SMALLEST) for each in parts), default=0.0)
    for step in range(int(2 * (SIZE - _SMALLEST))):
        size = SIZE - step / 2
        whole = longest > room or longest * size / _SMALLEST <= room
        if whole and len(wrap(text, room, size)) * size * LEADING <= max(height, SIZE * LEADING):
            return size
    return _SMALLEST


def draw_centred(drawing: Drawing, text: str, box: Box, head: float = 0.0) -> None:
    """Write a label in the middle of a box, smaller where a word would be broken.

    It leaves `head` pixels of the box free from above if it can.
    """
    wide = max(box.width - 8, SIZE)
    size = fitting(text, wide, box.height - head)
    lines = wrap(text, wide, size)
    high = len(lines) * size * LEADING
    top = box.center.y - high / 2
    top = max(top, min(box.y + head, box.bottom - high)) if head else top
    _write(drawing, lines, box.center.x, top, size)


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
    draw_centred(turned, text, Box(x - box.height / 2, y - box.width / 2, box.height, box.width))


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
