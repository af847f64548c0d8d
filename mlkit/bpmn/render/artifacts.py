"""Place what accompanies the flow in an automatic layout: data, notes, messages, labels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from mlkit.bpmn.definition.parser import xml
from mlkit.bpmn.definition.parser.xml import Element
from mlkit.bpmn.render import shapes, text_measurement
from mlkit.bpmn.render.picture import Box, Edge, Picture, Point, Shape, name_of

_SIZES = {
    "dataObjectReference": (36.0, 50.0),
    "dataStoreReference": (50.0, 50.0),
    "textAnnotation": (130.0, 50.0),
}
_GAP = 24.0
_ABOVE = 50.0


def extent(picture: Picture) -> Box:
    """Return the area of shapes, with the labels below events, and bends."""
    boxes = [each.box for each in picture.shapes]
    boxes += [each.label for each in picture.shapes if each.label is not None]
    boxes += [
        Box(each.box.x, each.box.y, each.box.width, each.box.height + 30)
        for each in picture.shapes
        if name_of(each.element) and xml.local(each.element).endswith(("Event", "Gateway"))
    ]
    boxes += [Box(x, y, 0, 0) for each in picture.edges for x, y in each.points]
    if not boxes:
        return Box(0, 0, 0, 0)
    left, top = min(each.x for each in boxes), min(each.y for each in boxes)
    right, bottom = max(each.right for each in boxes), max(each.bottom for each in boxes)
    return Box(left, top, right - left, bottom - top)


def add(picture: Picture, element: Element) -> Picture:
    """Place the artifacts of a scope in a row above it, each over what it belongs to."""
    boxes = {str(each.element.get("id")): each.box for each in picture.shapes}
    links = list(_links(element))
    top = extent(picture).y - _ABOVE
    wanted = [each for each in element if xml.is_bpmn(each) and xml.local(each) in _SIZES]
    row = sorted(((_wish(each, links, boxes), n, each) for n, each in enumerate(wanted)),
                 key=lambda each: each[:2])  # fmt: skip
    added, right = [], -1e9
    for wish, _, each in row:
        width, height = _SIZES[xml.local(each)]
        if xml.local(each) == "textAnnotation":
            text = xml.text(xml.child(each, "text"))
            lines = len(text_measurement.wrap(text, width - 10))
            height = max(36.0, lines * text_measurement.SIZE * text_measurement.LEADING + 8)
        x = max(wish - width / 2, right)
        box = Box(x, top - height, width, height)
        label = None if xml.local(each) == "textAnnotation" else _above(each, box)
        added.append(Shape(each, box, label))
        right = box.right + max(_GAP, 30)
        boxes[str(each.get("id"))] = box
    edges = [
        Edge(link, straight(boxes[source], boxes[target]))
        for link, source, target in links
        if source in boxes and target in boxes and source != target
    ]
    return Picture((*picture.shapes, *added), (*picture.edges, *edges))


def _above(element: Element, box: Box) -> Box:
    """Return the place of the label of data: over them, with their state."""
    name = shapes.label_of(element)
    room = text_measurement.room(name)
    lines = len(text_measurement.wrap(name, room, text_measurement.SMALL))
    height = lines * text_measurement.SMALL * text_measurement.LEADING
    return Box(box.center.x - room / 2, box.y - 4 - height, room, height)


def _links(element: Element) -> Iterator[tuple[Element, str, str]]:
    """Go through the associations of a scope: the element, and what it connects."""
    for each in xml.children(element, "association"):
        yield each, str(each.get("sourceRef")), str(each.get("targetRef"))
    for node in element:
        for each in xml.children(node, "dataInputAssociation") if xml.is_bpmn(node) else ():
            yield each, xml.text(xml.child(each, "sourceRef")), str(node.get("id"))
        for each in xml.children(node, "dataOutputAssociation") if xml.is_bpmn(node) else ():
            yield each, str(node.get("id")), xml.text(xml.child(each, "targetRef"))


def _wish(element: Element, links: list[tuple[Element, str, str]], boxes: dict[str, Box]) -> float:
    own = str(element.get("id"))
    ends = [b if a == own else a for _, a, b in links if own in (a, b)]
    found = [boxes[each].center.x for each in ends if each in boxes]
    return sum(found) / len(found) if found else 0.0


def straight(source: Box, target: Box) -> tuple[Point, Point]:
    """Connect two boxes by the line between their middles, cut at their sides."""
    return _cut(source, target.center), _cut(target, source.center)


def _cut(box: Box, towards: Point) -> Point:
    dx, dy = towards.x - box.center.x, towards.y - box.center.y
    shares = [1.0]
    if dx:
        shares.append(box.width / 2 / abs(dx))
    if dy:
        shares.append(box.height / 2 / abs(dy))
    share = min(shares)
    return Point(box.center.x + dx * share, box.center.y + dy * share)


def message_flows(collaboration: Element, picture: Picture) -> list[Edge]:
    """Lead message flows between pools: up or down, across in the space between, and on."""
    boxes = {str(each.element.get("id")): each.box for each in picture.shapes}
    found = []
    for number, each in enumerate(xml.children(collaboration, "messageFlow")):
        source = boxes.get(str(each.get("sourceRef")))
        target = boxes.get(str(each.get("targetRef")))
        if source is not None and target is not None:
            points = _across(source, target, number)
            label = Box(points[-2].x + 4, (points[-2].y + points[-1].y) / 2 - 7, 90, 14)
            found.append(Edge(each, points, label if name_of(each) else None))
    return found


def _across(source: Box, target: Box, number: int) -> tuple[Point, ...]:
    down = target.center.y > source.center.y
    start = source.bottom if down else source.y
    end = target.y if down else target.bottom
    narrow, wide = sorted((source, target), key=lambda each: each.width)
    shift = 9 * (number % 3 - 1)
    if wide.x < narrow.center.x < wide.right and wide.width > 200:
        return Point(narrow.center.x + shift, start), Point(narrow.center.x + shift, end)
    level = (end - 25 - 8 * (number % 3)) if down else (end + 25 + 8 * (number % 3))
    x, u = source.center.x + shift, target.center.x + shift
    return Point(x, start), Point(x, level), Point(u, level), Point(u, end)


def boundary_event_label(element: Element, box: Box) -> Box | None:
    """Return the place of a boundary event's label: at the left of the line that leaves it."""
    return _left_of(box.center.x - 6, box.bottom + 3, name_of(element))


def gateway_label(element: Element, box: Box) -> Box | None:
    """Return the place of a gateway's label: at the left above the flow that comes in."""
    name = name_of(element)
    lines = len(text_measurement.wrap(name, text_measurement.room(name), text_measurement.SMALL))
    top = box.center.y - 10 - lines * text_measurement.SMALL * text_measurement.LEADING
    return _left_of(box.center.x - 14, top, name)


def _left_of(right: float, top: float, name: str) -> Box | None:
    if not name:
        return None
    room = text_measurement.room(name)
    wide = min(room, text_measurement.width(name, text_measurement.SMALL) + 8)
    return Box(right - wide - (room - wide) / 2, top, room, 14)


def edge_label(flow: Element, points: tuple[Point, ...]) -> Box | None:
    """Return the place of a flow's label: over a level part, or at the right of an upright one.

    Flows that leave one place share their first part, so a flow that bends is named after it.
    """
    name = name_of(flow)
    if not name:
        return None
    room = text_measurement.room(name)
    lines = text_measurement.wrap(name, room, text_measurement.SMALL)
    height = len(lines) * text_measurement.SMALL * text_measurement.LEADING
    parts = list(itertools.pairwise(points))
    own = parts[1:] or parts
    level = [part for part in own if abs(part[0].x - part[1].x) >= 40]
    start, end = level[0] if level else max(own, key=lambda each: abs(each[0].y - each[1].y))
    if abs(start.y - end.y) < 0.5:
        return Box((start.x + end.x) / 2 - room / 2, start.y - height - 4, room, height)
    wide = max(text_measurement.width(each, text_measurement.SMALL) for each in lines)
    left = start.x + 6 + wide / 2 - room / 2
    return Box(left, (start.y + end.y - height) / 2, room, height)
