"""Put a picture on a page: what is behind first, coloured by state where an instance is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from mlkit.bpmn.definition.parser import xml
from mlkit.bpmn.render import edges, shapes, text_measurement, themes
from mlkit.bpmn.render.drawing import INK, PAPER, Drawing
from mlkit.bpmn.render.picture import Box, Colours, Picture, Point, Shape, name_of
from mlkit.bpmn.render.progress import Progress

Palette = Mapping[str, Colours]
Coloured = Mapping[str, tuple[Progress, Colours]]
MARGIN = 20.0
PALETTE = {
    "done": Colours("#1c7c45", "#dcf5e3"),
    "running": Colours("#1f5fd0", "#dbe8ff"),
    "waiting": Colours("#a86200", "#fff0cc"),
    "failed": Colours("#c22727", "#fde0de"),
    "ended": Colours("#74777f", "#ececef"),
}
_LEGEND_GAP = 44.0
_NO_LEGEND: Palette = MappingProxyType({})


def svg(
    picture: Picture,
    progress: Mapping[str, Progress] | None = None,
    theme: str = "auto",
    palette: Palette = PALETTE,
) -> bytes:
    """Draw a picture as an SVG file.

    Args:
        picture: What is where.
        progress: How far an instance has come, by the id of the element.
        theme: Its colours, see `themes.apply`.
        palette: The colours of the states, in the order of the legend.
    """
    legend = {} if progress is None else palette
    page = Drawing.page(extent(picture, legend))
    known = {key: (each, palette[each.state]) for key, each in (progress or {}).items()}
    containers = [each for each in picture.shapes if shapes.is_container(each)]
    for each in containers:
        _shape(page, each, known)
    for each in picture.shapes:
        if not shapes.is_container(each):
            _shape(page, each, known)
    nodes = _by_id(picture)
    for edge in picture.edges:
        group = page.group(edge.colours.stroke, **_marks(edge.element))
        edges.draw(group, edge, nodes)
    for each in picture.shapes:
        _badge(page, each, known)
    _legend(page, picture, legend)
    themes.apply(page.element, theme)
    return page.bytes()


def _by_id(picture: Picture) -> dict[str, xml.Element]:
    root = next((e.element.getroottree().getroot() for e in picture.edges), None)
    return {} if root is None else {str(e.get("id")): e for e in root.iter() if e.get("id")}


def _shape(page: Drawing, shape: Shape, known: Coloured) -> None:
    stroke, fill = shape.colours
    marks = _marks(shape.element)
    found = known.get(str(shape.element.get("id")))
    if found is not None:
        progress, (stroke, fill) = found
        marks["data_state"] = progress.state
    shapes.draw(page.group(stroke or INK, fill or PAPER, **marks), shape)


def _marks(element: xml.Element) -> dict[str, str]:
    return {"data_element": str(element.get("id")), "data_type": xml.local(element)}


def _badge(page: Drawing, shape: Shape, known: Coloured) -> None:
    if str(shape.element.get("id")) not in known:
        return
    found, (stroke, fill) = known[str(shape.element.get("id"))]
    if not found.text:
        return
    wide = text_measurement.width(found.text, 10) + 10
    box = Box(shape.box.right - wide + 6, shape.box.y - 9, wide, 16)
    if found.tokens:  # beside the corner of a join, where a flow may come in
        box = Box(shape.box.center.x + 9, shape.box.y - 5, wide, 16)
    group = page.group(stroke, fill)
    group.rectangle(box, 1.2, 8)
    group.text([found.text], Point(box.center.x, box.y + 11.5), 10, 12)


def _legend(page: Drawing, picture: Picture, palette: Palette) -> None:
    where = extent(picture)
    x, y = where.x + MARGIN, where.bottom + 4
    for state, colours in palette.items():
        group = page.group(*colours)
        group.rectangle(Box(x, y, 14, 14), 1.5, 3)
        wide = text_measurement.width(state, text_measurement.SMALL)
        group.text([state], Point(x + 22 + wide / 2, y + 11), text_measurement.SMALL, 12)
        x += _LEGEND_GAP + wide


def _legend_width(palette: Palette) -> float:
    return sum(
        _LEGEND_GAP + text_measurement.width(state, text_measurement.SMALL) for state in palette
    )


def extent(picture: Picture, legend: Palette = _NO_LEGEND) -> Box:
    """Return the area that a picture and its legend cover, with a margin."""
    boxes = list(_list_covered(picture))
    left, top = min(each.x for each in boxes), min(each.y for each in boxes)
    right, bottom = max(each.right for each in boxes), max(each.bottom for each in boxes)
    if legend:
        bottom, right = bottom + 30, max(right, left + _legend_width(legend))
    around = Box(left - MARGIN, top - MARGIN, right - left, bottom - top)
    return Box(around.x, around.y, around.width + 2 * MARGIN, around.height + 2 * MARGIN)


def _list_covered(picture: Picture) -> Iterator[Box]:
    for shape in picture.shapes:
        yield shape.box
        inside = shapes.is_container(shape) or xml.local(shape.element) in shapes.ACTIVITIES
        if not inside and (name := shapes.label_of(shape.element)):
            yield _measure_label(name, shapes.external_label(shape))
    for edge in picture.edges:
        yield from (Box(x, y, 0, 0) for x, y in edge.points)
        if name := name_of(edge.element):
            yield _measure_label(name, edges.label_box(edge))


def _measure_label(name: str, box: Box) -> Box:
    lines = text_measurement.wrap(name, box.width, text_measurement.SMALL)
    return Box(
        box.x, box.y, box.width, len(lines) * text_measurement.SMALL * text_measurement.LEADING
    )
