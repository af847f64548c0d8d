"""Draw flows and associations: lines with bends, arrowheads, marks at their start, labels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

from mlkit.bpmn.definition.parser import xml
from mlkit.bpmn.definition.parser.xml import Element
from mlkit.bpmn.render import symbols, text_measurement
from mlkit.bpmn.render.drawing import Drawing, number, polygon, polyline
from mlkit.bpmn.render.picture import Box, Edge, Point, name_of

BEND = 6.0
ASSOCIATIONS = ("association", "dataInputAssociation", "dataOutputAssociation")


def draw(drawing: Drawing, edge: Edge, nodes: Mapping[str, Element]) -> None:
    """Draw an edge with its label; `nodes` are the elements of the file by id."""
    kind = xml.local(edge.element)
    if kind in ASSOCIATIONS:
        _association(drawing, edge, kind)
    elif kind == "messageFlow":
        _message_flow(drawing, edge, nodes)
    else:
        _sequence_flow(drawing, edge, nodes.get(str(edge.element.get("sourceRef"))))
    if name := name_of(edge.element):
        _label(drawing, name, edge)


def _sequence_flow(drawing: Drawing, edge: Edge, source: Element | None) -> None:
    points = edge.points
    drawing.line(round_bends(points), 2)
    _mark(drawing, "arrow").solid(polygon(*_arrow(points[-2], points[-1], 10, 4.5)))
    if source is None:
        return
    if source.get("default") == edge.element.get("id"):
        _mark(drawing, "default-start").line(polyline(*_slash(points[0], points[1])), 2)
    elif _is_activity(source) and xml.child(edge.element, "conditionExpression") is not None:
        _mark(drawing, "conditional-start").path(polygon(*_diamond(points[0], points[1])), 1.6)


def _mark(drawing: Drawing, name: str) -> Drawing:
    return drawing.group(data_symbol=name)


def _is_activity(element: Element) -> bool:
    return not xml.local(element).endswith(("Gateway", "Event"))


def _message_flow(drawing: Drawing, edge: Edge, nodes: Mapping[str, Element]) -> None:
    points = edge.points
    drawing.line(round_bends(points), 1.6, stroke_dasharray="9 6")
    _mark(drawing, "message-end").path(polygon(*_arrow(points[-2], points[-1], 11, 5)), 1.5)
    _mark(drawing, "message-start").circle(points[0], 4, 1.5)
    if edge.message:
        _envelope(drawing, edge, nodes)


def _envelope(drawing: Drawing, edge: Edge, nodes: Mapping[str, Element]) -> None:
    """Draw the message of a flow half way along: shaded where it is the answer."""
    middle, (across, down) = _middle(edge.points)
    box = Box(middle.x - 12, middle.y - 8, 24, 16)
    mark = _mark(drawing, f"message-{edge.message}")
    symbols.envelope(mark, box, False)
    if edge.message == "non_initiating":
        mark.rectangle(box, 1.3, fill=drawing.stroke, fill_opacity="0.3")
    message = nodes.get(str(edge.element.get("messageRef") or "").rpartition(":")[2])
    if message is None or not (name := name_of(message)):
        return
    room = text_measurement.room(name)
    label = Box(middle.x - room / 2, box.bottom + 3, room, 14)
    if abs(down) > abs(across):
        wide = min(text_measurement.width(name, text_measurement.SMALL), room)
        label = Box(box.x - 5 - (wide + room) / 2, middle.y - 7, room, 14)
    text_measurement.outside(drawing, name, label)


def _association(drawing: Drawing, edge: Edge, kind: str) -> None:
    points = edge.points
    drawing.line(polyline(*points), 1.6, stroke_dasharray="0.5 5")
    direction = edge.element.get("associationDirection", "None")
    if direction in ("One", "Both") or kind != "association":
        _mark(drawing, "open-end").line(_open(points[-2], points[-1]), 1.6)
    if direction == "Both":
        _mark(drawing, "open-start").line(_open(points[1], points[0]), 1.6)


def round_bends(points: tuple[Point, ...]) -> str:
    """Return the path of a line with rounded bends."""
    path = f"M{number(points[0].x)} {number(points[0].y)}"
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        near, far = math.dist(before, here), math.dist(here, after)
        bend = min(BEND, near / 2, far / 2)
        start, end = _towards(here, before, bend), _towards(here, after, bend)
        path += f"L{number(start.x)} {number(start.y)}"
        path += f"Q{number(here.x)} {number(here.y)} {number(end.x)} {number(end.y)}"
    return path + f"L{number(points[-1].x)} {number(points[-1].y)}"


def _towards(here: Point, there: Point, distance: float) -> Point:
    whole = math.dist(here, there)
    share = distance / whole if whole else 0.0
    return Point(here.x + (there.x - here.x) * share, here.y + (there.y - here.y) * share)


def _frame(start: Point, end: Point) -> tuple[float, float]:
    """Return the direction from one point to another."""
    length = math.dist(start, end) or 1.0
    return (end.x - start.x) / length, (end.y - start.y) / length


def _at(origin: Point, way: tuple[float, float], along: float, aside: float) -> Point:
    (u, v) = way
    return Point(origin.x + u * along - v * aside, origin.y + v * along + u * aside)


def _arrow(start: Point, end: Point, length: float, half: float) -> list[Point]:
    way = _frame(start, end)
    return [end, _at(end, way, -length, half), _at(end, way, -length, -half)]


def _open(start: Point, end: Point) -> str:
    way = _frame(start, end)
    return polyline(_at(end, way, -8, 5), end, _at(end, way, -8, -5))


def _slash(start: Point, end: Point) -> list[Point]:
    way = _frame(start, end)
    return [_at(start, way, 7, 6), _at(start, way, 13, -6)]


def _diamond(start: Point, end: Point) -> list[Point]:
    way = _frame(start, end)
    sides = ((0, 0), (9, 5), (18, 0), (9, -5))
    return [_at(start, way, along, aside) for along, aside in sides]


def label_box(edge: Edge) -> Box:
    """Return the place of an edge's label: as drawn, or over its middle."""
    if edge.label is not None:
        room = max(edge.label.width, text_measurement.room(name_of(edge.element)))
        return Box(edge.label.center.x - room / 2, edge.label.y, room, edge.label.height)
    middle, (across, down) = _middle(edge.points)
    room, aside = text_measurement.room(name_of(edge.element)), 9 if edge.message else 0
    if abs(down) > abs(across):
        wide = text_measurement.width(name_of(edge.element), text_measurement.SMALL)
        left = middle.x + 5 + aside + min(wide, room) / 2 - room / 2
        return Box(left, middle.y - 7, room, 14)
    return Box(middle.x - room / 2, middle.y - 18 - aside, room, 14)


def _middle(points: tuple[Point, ...]) -> tuple[Point, tuple[float, float]]:
    """Return the point half way along a line, and the direction there."""
    left = sum(math.dist(a, b) for a, b in itertools.pairwise(points)) / 2
    for start, end in itertools.pairwise(points):
        length = math.dist(start, end)
        if length >= left:
            return _towards(start, end, left), _frame(start, end)
        left -= length
    return points[-1], _frame(points[-2], points[-1])


def _label(drawing: Drawing, name: str, edge: Edge) -> None:
    text_measurement.outside(drawing, name, label_box(edge))
