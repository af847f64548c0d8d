"""Draw boxed expressions: names on a shade, what they name beside or below."""

from __future__ import annotations

from mlkit.bpmn.render.decisions.boxes import Boxes
from mlkit.bpmn.render.decisions.nesting import Measure, Placed, place
from mlkit.bpmn.render.drawing import Drawing
from mlkit.bpmn.render.picture import Box, Point
from mlkit.bpmn.render.text_measurement import LEADING, SIZE, WIDER, width, wrap
from mlkit.bpmn.render.themes import RULE, SHADE

_PAD = 8.0
_LEAST, _MOST = 72.0, 420.0


def _measure_width(text: str) -> float:
    widest = max((width(line) for line in text.splitlines()), default=0)
    return min(max(widest * WIDER + 2 * _PAD + 2, _LEAST), _MOST)


def _wrap(text: str, room: float) -> list[str]:
    return wrap(text, (room - 2 * _PAD) / WIDER)


def _measure_height(text: str, room: float) -> float:
    return max(len(_wrap(text, room)), 1) * SIZE * LEADING + _PAD * 1.5


_MEASURE = Measure(_measure_width, _measure_height)


def extent(boxes: Boxes) -> Box:
    """Return the area that an expression covers."""
    return _extent(place(boxes.block, _MEASURE))


def _extent(placed: list[Placed]) -> Box:
    right = max(each.x + each.width for each in placed)
    return Box(0, 0, right, max(each.y + each.height for each in placed))


def draw(drawing: Drawing, boxes: Boxes) -> None:
    """Draw an expression."""
    group = drawing.group(data_element=boxes.element, data_type="boxedExpression")
    placed = place(boxes.block, _MEASURE)
    thin = group.group(RULE)
    for each in placed:
        area = Box(each.x, each.y, each.width, each.height)
        thin.rectangle(area, 1, fill=SHADE if each.text.is_name else "none")
    for each in placed:
        at = Point(each.x + _PAD, each.y + _PAD * 0.75 + SIZE - 0.5)
        lines = _wrap(each.text.text, each.width)
        group.text(lines, at, SIZE, SIZE * LEADING, "start")
    group.rectangle(_extent(placed), 1.8, fill="none")
