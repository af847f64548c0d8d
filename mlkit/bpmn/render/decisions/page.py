"""Put diagrams and tables on one page, one below the other, with a description for readers."""

from __future__ import annotations

from collections import defaultdict

from lxml import etree

from mlkit.bpmn.render import text_measurement, themes
from mlkit.bpmn.render.decisions import nested, notation, sheet
from mlkit.bpmn.render.decisions.boxes import Boxes, lines
from mlkit.bpmn.render.decisions.files import Drawn, Part
from mlkit.bpmn.render.decisions.graph import KINDS, Graph
from mlkit.bpmn.render.decisions.grid import Grid
from mlkit.bpmn.render.decisions.places import Diagram, extent
from mlkit.bpmn.render.drawing import PAPER, SVG, Drawing
from mlkit.bpmn.render.page import MARGIN
from mlkit.bpmn.render.picture import Box, Point

_HEADING = 15.0
_BELOW = 12.0
_GAP = 36.0
_ROOM = 12.0
_WIDEST = 1000.0


def svg(drawn: Drawn, parts: list[Part], theme: str = "auto") -> bytes:
    """Draw parts of a model as an SVG file.

    Args:
        drawn: The model.
        parts: What of it is drawn.
        theme: `light`, `dark`, or `auto`, which follows the reader's system.
    """
    placed = [(each, _box(each)) for each in parts]
    titles = [notation.fit(heading(each), _WIDEST, 1, _HEADING) for each in parts]
    wide = max(text_measurement.width(line, _HEADING) for title in titles for line in title)
    wide = max(wide, *(box.width for _, box in placed))
    step = _HEADING + _BELOW + _GAP
    high = sum(box.height + step for _, box in placed) - _GAP
    whole = Box(0, 0, wide + 2 * MARGIN, high + 2 * MARGIN)
    page = Drawing.page(whole)
    page.rectangle(whole, 0, fill=PAPER, stroke="none")
    top = MARGIN
    for (each, box), title in zip(placed, titles, strict=True):
        at = Point(MARGIN, top + _HEADING - 2)
        page.text(title, at, _HEADING, _HEADING, "start")
        top += _HEADING + _BELOW
        _part(page.move(MARGIN - box.x, top - box.y), each, drawn)
        top += box.height + _GAP
    themes.apply(page.element, theme)
    _announce(page.element, drawn.name, describe(drawn, parts))
    return page.bytes()


def _box(part: Part) -> Box:
    if isinstance(part, Grid):
        return sheet.measure(part).box
    if isinstance(part, Boxes):
        return nested.extent(part)
    box = extent(part)
    return Box(box.x - _ROOM, box.y - _ROOM, box.width + 2 * _ROOM, box.height + 2 * _ROOM)


def heading(part: Part) -> str:
    """Return the line above a part."""
    if isinstance(part, Boxes):
        return f"{part.name} ({part.form})"
    return sheet.heading(part) if isinstance(part, Grid) else part.name or "Requirements"


def _part(drawing: Drawing, part: Part, drawn: Drawn) -> None:
    if isinstance(part, Grid):
        sheet.draw(drawing, sheet.measure(part))
    elif isinstance(part, Boxes):
        nested.draw(drawing, part)
    else:
        notation.draw(drawing, part, drawn.course)


def _announce(root: etree._Element, title: str, description: str) -> None:
    """Let screen readers read a picture as its title and description."""
    root.set("role", "img")
    root.set("aria-labelledby", "drawn-title drawn-description")
    for at, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = etree.Element(f"{{{SVG}}}{tag}")
        element.set("id", f"drawn-{'title' if tag == 'title' else 'description'}")
        element.text = text
        root.insert(at, element)


def describe(drawn: Drawn, parts: list[Part]) -> str:
    """Return what is drawn in words, a line for each element, table and rule that matched."""
    return "\n".join(line for each in parts for line in _describe(each, drawn))


def _describe(part: Part, drawn: Drawn) -> list[str]:
    if isinstance(part, Grid):
        return _table(part, drawn)
    if isinstance(part, Boxes):
        return [f"{KINDS[part.kind]} {heading(part)}: {'; '.join(lines(part.block))}"]
    return _diagram(part, drawn)


def requirements(graph: Graph) -> dict[str, list[str]]:
    """Return the names of what each element requires, by its id."""
    found: dict[str, list[str]] = defaultdict(list)
    for each in graph.links:
        if each.kind != "association":
            found[each.target].append(graph.nodes[each.source].name)
    return found


def _diagram(diagram: Diagram, drawn: Drawn) -> list[str]:
    required = requirements(drawn.graph)
    lines = []
    for each in diagram.shapes:
        line = notation.describe(each.node, drawn.course)
        names = required.get(each.node.id)
        lines.append(f"{line}, requires {', '.join(names)}." if names else f"{line}.")
    return lines


def _table(grid: Grid, drawn: Drawn) -> list[str]:
    labels = [label for label, _ in grid.heads]
    answers = labels[grid.inputs : grid.inputs + grid.outputs]
    line = f"{KINDS[grid.kind]} table {sheet.heading(grid)}: {len(grid.rows)} rules, "
    line += f"inputs {', '.join(labels[: grid.inputs]) or 'none'}; outputs {', '.join(answers)}."
    if drawn.course is None or not grid.reads:
        return [line]
    rules = ", ".join(str(each + 1) for each in sorted(grid.matched))
    return [line, f"Rules that matched: {rules or 'none'}."]
