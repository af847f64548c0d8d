"""Read where things are drawn from a file's BPMN DI."""

from __future__ import annotations

import math
import re

from mlkit.bpmn.definition.parser import xml
from mlkit.bpmn.definition.parser.xml import Element
from mlkit.bpmn.render import shapes
from mlkit.bpmn.render.picture import Box, Colours, Edge, Picture, Point, Shape, name_of
from mlkit.errors import BadData

_BPMNDI = "{http://www.omg.org/spec/BPMN/20100524/DI}"
_DC = "{http://www.omg.org/spec/DD/20100524/DC}"
_DI = "{http://www.omg.org/spec/DD/20100524/DI}"
_BPMNIO = "{http://bpmn.io/schema/bpmn/biocolor/1.0}"
_OMG_COLOUR = "{http://www.omg.org/spec/BPMN/non-normative/color/1.0}"
_COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}|[a-zA-Z]{3,20}|(rgb|hsl)a?\([0-9., %]{5,40}\)")
_LARGEST = 1e6
_BEHIND = ("participant", "lane")


def planes(root: Element) -> list[Element]:
    """Return the planes of a file: one for each of its diagrams, in document order."""
    return [each for each in root.iter(f"{_BPMNDI}BPMNPlane") if len(each)]


def read(root: Element, plane: Element, file: str) -> Picture:
    """Return the picture on a plane.

    What refers to no element of the file is left out.

    Raises:
        BadData: A coordinate is not a number, or far out of any picture.
    """
    known = {str(each.get("id")): each for each in root.iter() if each.get("id")}
    shown = str(plane.get("bpmnElement") or "").rpartition(":")[2]
    diagram = plane.getparent()
    title = "" if diagram is None else str(diagram.get("name") or "")
    title = title or (name_of(known[shown]) if shown in known else "")
    shapes, edges = [], []
    for each in plane:
        element = known.get(str(each.get("bpmnElement")).rpartition(":")[2])
        if element is None:
            continue
        if each.tag == f"{_BPMNDI}BPMNShape":
            shapes.append(_shape(each, element, file))
        elif each.tag == f"{_BPMNDI}BPMNEdge":
            edges.append(_edge(each, element, file))
    return Picture(
        tuple(sorted((s for s in shapes if s is not None), key=_depth)),
        tuple(e for e in edges if e is not None),
        shown,
        title,
    )


def _depth(shape: Shape) -> tuple[int, int]:
    """Sort what is behind to the front: pools, lanes, open activities, then nodes.

    Open activities go by size: what a call activity shows belongs to another process, so that
    its place in the file does not depend on what surrounds it.
    """
    kind = xml.local(shape.element)
    if kind in _BEHIND:
        return _BEHIND.index(kind), -int(shape.box.width * shape.box.height)
    if shapes.is_container(shape):
        return len(_BEHIND), -int(shape.box.width * shape.box.height)
    inside = sum(1 for _ in shape.element.iterancestors())
    return 3 + (kind == "boundaryEvent"), inside


def _shape(drawn: Element, element: Element, file: str) -> Shape | None:
    box = _box(drawn, file)
    if box is None:
        return None
    return Shape(
        element,
        box,
        _label(drawn, file),
        expanded=drawn.get("isExpanded", str(not _collapsible(element)).lower()) == "true",
        horizontal=drawn.get("isHorizontal", "true") == "true",
        marked=drawn.get("isMarkerVisible", "false") == "true",
        colours=_colours(drawn),
    )


def _collapsible(element: Element) -> bool:
    return xml.local(element) in shapes.COLLAPSIBLE


def _edge(drawn: Element, element: Element, file: str) -> Edge | None:
    points = tuple(
        Point(coordinate(each, "x", file), coordinate(each, "y", file))
        for each in drawn.findall(f"{_DI}waypoint")
    )
    if len(points) < 2:
        return None
    message = str(drawn.get("messageVisibleKind") or "")
    return Edge(element, points, _label(drawn, file), _colours(drawn), message)


def _label(drawn: Element, file: str) -> Box | None:
    label = drawn.find(f"{_BPMNDI}BPMNLabel")
    return None if label is None else _box(label, file)


def _box(drawn: Element, file: str) -> Box | None:
    bounds = drawn.find(f"{_DC}Bounds")
    if bounds is None:
        return None
    x, y, width, height = (coordinate(bounds, name, file) for name in ("x", "y", "width", "height"))
    return Box(x, y, max(width, 0.0), max(height, 0.0))


def coordinate(element: Element, name: str, file: str) -> float:
    """Return a coordinate of diagram interchange, 0 if it is missing.

    Raises:
        BadData: It is not a number, or far outside any diagram.
    """
    text = str(element.get(name, "0"))
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= _LARGEST:
        place = f"{file}:{xml.line(element)}"
        raise BadData(f"{place}: {name}={text[:40]!r} is not a coordinate of a diagram")
    return value


def _colours(drawn: Element) -> Colours:
    stroke = drawn.get(f"{_OMG_COLOUR}border-color") or drawn.get(f"{_BPMNIO}stroke") or ""
    fill = drawn.get(f"{_OMG_COLOUR}background-color") or drawn.get(f"{_BPMNIO}fill") or ""
    return Colours(*(each if _COLOUR.fullmatch(each) else "" for each in (stroke, fill)))
