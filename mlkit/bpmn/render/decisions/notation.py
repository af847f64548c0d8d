"""Draw requirement graphs in the notation of DMN."""

from __future__ import annotations

import math
from collections.abc import Callable

from mlkit.bpmn.render import text_measurement
from mlkit.bpmn.render.decisions.course import Course
from mlkit.bpmn.render.decisions.graph import KINDS, Node, brief
from mlkit.bpmn.render.decisions.places import Diagram, Edge, Shape
from mlkit.bpmn.render.drawing import Drawing, number, polygon, polyline
from mlkit.bpmn.render.edges import round_bends
from mlkit.bpmn.render.page import PALETTE
from mlkit.bpmn.render.picture import Box, Colours, Point
from mlkit.bpmn.render.text_measurement import LEADING, SIZE, SMALL

_PAD = 8.0
_AREAS = ("group", "decisionService")


def draw(drawing: Drawing, diagram: Diagram, course: Course | None) -> None:
    """Draw a diagram; what was decided is coloured, and its value is below its name."""
    shown = course or Course()
    areas = [each for each in diagram.shapes if _is_area(each)]
    nodes = [each for each in diagram.shapes if not _is_area(each)]
    for each in areas:
        _shape(drawing, each, shown)
    for edge in diagram.edges:
        _edge(drawing, edge)
    for each in nodes:
        _shape(drawing, each, shown)


def _is_area(shape: Shape) -> bool:
    return shape.node.kind in _AREAS and not shape.is_collapsed


def describe(node: Node, course: Course | None) -> str:
    """Return a node in words, with its value."""
    value = "" if course is None else course.values.get(node.name, "")
    return f"{KINDS[node.kind]}: {node.name}" + (f" = {brief(value)}" if value else "")


def _shape(drawing: Drawing, shape: Shape, course: Course) -> None:
    node = shape.node
    state = course.state(node.name) if node.kind in ("inputData", "decision") else ""
    colours = PALETTE[state] if state else Colours()
    marks = {"data_element": node.id, "data_type": node.kind}
    if state:
        marks["data_state"] = state
    group = drawing.group(*colours, **marks)
    group.title(describe(node, course))
    _OUTLINES[node.kind](group, shape)
    value = course.values.get(node.name, "") if state else ""
    if _is_area(shape):
        top = Box(shape.box.x, shape.box.y + 6, shape.box.width, 20)
        text_measurement.topmost(group, node.name, top)
    elif node.kind == "textAnnotation":
        text_measurement.leftmost(group, node.name, shape.box, SMALL)
    else:
        _label(group, node.name, value, shape.box)


def _label(group: Drawing, name: str, value: str, box: Box) -> None:
    """Write a name in the middle of a box, and a value below it; what has no room is cut."""
    rows = max(1, int((box.height - 6 - (SMALL + 5 if value else 0)) / (SIZE * LEADING)))
    lines = fit(name, box.width - 2 * _PAD, rows)
    height = len(lines) * SIZE * LEADING + (SMALL + 3 if value else 0)
    top = box.center.y - height / 2 + SIZE
    group.text(lines, Point(box.center.x, top), SIZE, SIZE * LEADING)
    if value:
        below = Point(box.center.x, top + len(lines) * SIZE * LEADING + 1)
        shown = fit(f"= {brief(value)}", box.width - 2 * _PAD, 1, SMALL)
        group.text(shown, below, SMALL, SMALL)


def fit(text: str, room: float, rows: int, size: float = SIZE) -> list[str]:
    """Break a text into at most `rows` lines; the last ends in an ellipsis if more follows."""
    lines = text_measurement.wrap(text, room, size)
    if len(lines) <= rows:
        return lines
    last = lines[rows - 1]
    while last and text_measurement.width(f"{last}…", size) > room:
        last = last[:-1]
    return [*lines[: rows - 1], f"{last}…"]


# -- outlines -------------------------------------------------------------------------------------


def _input(group: Drawing, shape: Shape) -> None:
    group.rectangle(shape.box, 2, min(shape.box.height, shape.box.width) / 2)


def _decision(group: Drawing, shape: Shape) -> None:
    group.rectangle(shape.box, 2)


def _knowledge(group: Drawing, shape: Shape) -> None:
    x, y, w, h = shape.box
    cut = min(w, h, 48.0) * 0.3
    corners = (
        (x + cut, y), (x + w, y), (x + w, y + h - cut), (x + w - cut, y + h), (x, y + h),
        (x, y + cut),
    )  # fmt: skip
    group.path(polygon(*corners), 2)


def _source(group: Drawing, shape: Shape) -> None:
    x, y, w, h = shape.box
    wave = h * 0.12
    low = y + h - wave
    path = f"M{number(x)} {number(low)}V{number(y)}H{number(x + w)}V{number(low)}"
    path += f"Q{number(x + w * 0.75)} {number(low - 2 * wave)} {number(x + w / 2)} {number(low)}"
    path += f"Q{number(x + w * 0.25)} {number(low + 2 * wave)} {number(x)} {number(low)}Z"
    group.path(path, 2)


def _service(group: Drawing, shape: Shape) -> None:
    box = shape.box
    group.rectangle(box, 3.5, 14, **({} if shape.is_collapsed else {"fill_opacity": "0.5"}))
    if shape.is_collapsed:
        x, y = box.center.x, box.bottom - 10
        group.rectangle(Box(x - 7, y - 7, 14, 14), 1.5)
        group.line(f"M{number(x - 4)} {number(y)}h8M{number(x)} {number(y - 4)}v8", 1.5)
    elif shape.divider is not None and box.y < shape.divider < box.bottom:
        group.line(polyline((box.x, shape.divider), (box.right, shape.divider)), 1.5)


def _annotation(group: Drawing, shape: Shape) -> None:
    x, y, _, h = shape.box
    group.line(polyline((x + 12, y), (x, y), (x, y + h), (x + 12, y + h)), 1.5)


def _group(group: Drawing, shape: Shape) -> None:
    group.rectangle(shape.box, 1.5, 10, fill="none", stroke_dasharray="9 4 1.5 4")


_OUTLINES: dict[str, Callable[[Drawing, Shape], None]] = {
    "inputData": _input,
    "decision": _decision,
    "businessKnowledgeModel": _knowledge,
    "knowledgeSource": _source,
    "decisionService": _service,
    "textAnnotation": _annotation,
    "group": _group,
}


# -- requirements ---------------------------------------------------------------------------------


def _edge(drawing: Drawing, edge: Edge) -> None:
    kind, points = edge.link.kind, edge.points
    group = drawing.group(data_element=edge.link.id, data_type=kind)
    before, at = points[-2], points[-1]
    if kind == "informationRequirement":
        group.line(round_bends((*points[:-1], _short(before, at, 8))), 1.8)
        group.solid(polygon(at, *_wings(before, at, 10, 4.5)))
    elif kind == "knowledgeRequirement":
        group.line(round_bends(points), 1.8, stroke_dasharray="7 5")
        left, right = _wings(before, at, 10, 5)
        group.line(polyline(left, at, right), 1.8)
    elif kind == "authorityRequirement":
        group.line(round_bends(points), 1.8, stroke_dasharray="7 5")
        group.circle(_short(before, at, 5), 5, 1, fill=group.stroke)
    else:
        group.line(round_bends(points), 1.5, stroke_dasharray="0.5 5")


def _short(before: Point, at: Point, by: float) -> Point:
    """Return the point that lies before the end of a line."""
    length = math.dist(before, at) or 1.0
    part = min(by / length, 0.9)
    return Point(at.x + (before.x - at.x) * part, at.y + (before.y - at.y) * part)


def _wings(before: Point, at: Point, length: float, half: float) -> tuple[Point, Point]:
    """Return the two ends of an arrowhead."""
    far = math.dist(before, at) or 1.0
    x, y = (at.x - before.x) / far, (at.y - before.y) / far
    foot = Point(at.x - x * length, at.y - y * length)
    return Point(foot.x - y * half, foot.y + x * half), Point(foot.x + y * half, foot.y - x * half)
