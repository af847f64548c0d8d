"""Draw requirement graphs and decision tables with the characters of a terminal."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator

from mlkit.bpmn.render.decisions import cells, nested_text
from mlkit.bpmn.render.decisions.boxes import Boxes
from mlkit.bpmn.render.decisions.course import Course
from mlkit.bpmn.render.decisions.files import Drawn, Part
from mlkit.bpmn.render.decisions.graph import brief
from mlkit.bpmn.render.decisions.grid import Grid
from mlkit.bpmn.render.decisions.nested_text import write
from mlkit.bpmn.render.decisions.notation import describe
from mlkit.bpmn.render.decisions.page import heading, requirements
from mlkit.bpmn.render.decisions.places import Diagram, Edge, Shape, extent
from mlkit.bpmn.render.picture import Box, Point
from mlkit.bpmn.render.terminal import COLUMN, MOST_CELLS, ROW, Run, Sheet

_CORNERS = {
    "inputData": "╭╮╰╯", "decision": "┌┐└┘", "businessKnowledgeModel": "╱┐└╱",  # noqa: RUF001
    "knowledgeSource": "┌┐╰╯", "decisionService": "╔╗╚╝", "textAnnotation": "┌ └ ",
    "group": "╭╮╰╯",
}  # fmt: skip
_MOST, _LEAST = 32, 4
_MARKS = {"done": "✔", "failed": "✘"}


def text(drawn: Drawn, parts: list[Part], columns: int | None = None) -> list[list[Run]]:
    """Draw parts of a model as lines of (text, state) pieces.

    Args:
        drawn: The model.
        parts: What of it is drawn.
        columns: The width of the terminal; None for as much as it takes.
    """
    lines: list[list[Run]] = []
    for each in parts:
        lines += [[]] if lines else []
        lines.append([(heading(each), "")])
        lines += _part(each, drawn, columns)
    return lines


def _part(part: Part, drawn: Drawn, columns: int | None) -> list[list[Run]]:
    if isinstance(part, Grid):
        return _table(part, columns)
    if isinstance(part, Boxes):
        return nested_text.text(part, columns)
    return _graph(part, drawn, columns)


# -- graphs ---------------------------------------------------------------------------------------


def _graph(diagram: Diagram, drawn: Drawn, columns: int | None) -> list[list[Run]]:
    area, course = extent(diagram), drawn.course or Course()
    wide, high = int(area.width / COLUMN) + 2, int(area.height / ROW) + 2
    if wide * high > MOST_CELLS or (columns is not None and wide > columns):
        return list(_outline(diagram, drawn))
    sheet = Sheet(wide, high)
    for each in diagram.shapes:
        if _is_open(each):
            _area(sheet, each, area)
    for edge in diagram.edges:
        _edge(sheet, edge, area)
    for each in diagram.shapes:
        if not _is_open(each):
            _node(sheet, each, area, course)
    lines = sheet.runs()
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _is_open(shape: Shape) -> bool:
    return shape.node.kind == "group" or (
        shape.node.kind == "decisionService" and not shape.is_collapsed
    )


def _outline(diagram: Diagram, drawn: Drawn) -> Iterator[list[Run]]:
    """List the elements with what each requires, for narrow terminals."""
    required, course = requirements(drawn.graph), drawn.course or Course()
    for each in sorted(diagram.shapes, key=lambda shape: (shape.box.y, shape.box.x)):
        state = course.state(each.node.name)
        names = required.get(each.node.id, [])
        after = f" ← {', '.join(names)}" if names else ""
        yield [
            (f"{_MARKS.get(state, '·')} {describe(each.node, drawn.course)}", state),
            (after, ""),
        ]


def _cell(point: Point, area: Box) -> tuple[int, int]:
    return round((point.x - area.x) / COLUMN), round((point.y - area.y) / ROW)


def _frame(sheet: Sheet, shape: Shape, area: Box, state: str, clear: bool) -> tuple[int, ...]:
    left, top = _cell(Point(shape.box.x, shape.box.y), area)
    right, bottom = _cell(Point(shape.box.right, shape.box.bottom), area)
    right, bottom = max(right, left + 2), max(bottom, top + 2)
    sheet.frame(left, top, right, bottom, state, clear)
    places = ((left, top), (right, top), (left, bottom), (right, bottom))
    for (column, row), sign in zip(places, _CORNERS[shape.node.kind], strict=True):
        sheet.put(column, row, sign, state)
    return left, top, right, bottom


def _area(sheet: Sheet, shape: Shape, area: Box) -> None:
    left, top, right, _ = _frame(sheet, shape, area, "", clear=False)
    write(sheet, left + 2, top, cells.cut(f" {shape.node.name} ", right - left - 3), "")


def _node(sheet: Sheet, shape: Shape, area: Box, course: Course) -> None:
    node = shape.node
    state = course.state(node.name) if node.kind in ("inputData", "decision") else ""
    left, top, right, bottom = _frame(sheet, shape, area, state, clear=True)
    room, rows = right - left - 3, bottom - top - 1
    value = brief(course.values.get(node.name, "")) if state else ""
    for_name = max(1, rows - 1 if value else rows)
    lines = cells.wrap(unicodedata.normalize("NFC", node.name), room)
    if len(lines) > for_name:
        lines = [*lines[: for_name - 1], cells.cut(" ".join(lines[for_name - 1 :]), room)]
    if value and rows > 1:
        lines.append(cells.cut(f"= {value}", room))
    elif value:
        lines = [cells.cut(f"{lines[0]} = {value}", room)]
    start = top + 1 + (rows - len(lines)) // 2
    for row, line in enumerate(lines):
        write(sheet, left + 2 + (room - cells.width(line)) // 2, start + row, line, state)
    if state:
        sheet.put(left + 1, top, f" {_MARKS[state]} ", state)


def _edge(sheet: Sheet, edge: Edge, area: Box) -> None:
    points = [_cell(each, area) for each in edge.points]
    for (x, y), (u, v) in itertools.pairwise(points):
        middle = (y + v) // 2
        if x == u or y == v:
            sheet.line((x, y), (u, v))
        else:  # A slope becomes a step, so that it ends upright.
            sheet.line((x, middle), (u, middle))
            sheet.line((x, y), (x, middle))
            sheet.line((u, middle), (u, v))
    if edge.link.kind != "association":
        (x, y), (u, v) = points[-2:]
        tip, at = ("▲", (u, v + 1)) if v < y else ("▼", (u, v - 1))
        if v == y:
            tip, at = ("▶", (u - 1, v)) if u >= x else ("◀", (u + 1, v))
        sheet.put(*at, tip)


# -- tables ---------------------------------------------------------------------------------------


def _table(grid: Grid, columns: int | None) -> list[list[Run]]:
    rows = [_head(grid), *grid.rows]
    widths = _widths(rows, len(grid.heads), columns)
    first = len(str(len(grid.rows))) + 2
    lines = [_rule_off(grid, first, widths, "┌─┬╥┐")]
    lines += _lines(grid, grid.policy, rows[0], first, widths, "")
    lines.append(_rule_off(grid, first, widths, "╞═╪╬╡"))
    for at, row in enumerate(grid.rows):
        state = "done" if at in grid.matched else ""
        name = f"{'✔' if state else ' '} {at + 1:>{first - 2}}"
        lines += _lines(grid, name, row, first, widths, state)
    return [*lines, _rule_off(grid, first, widths, "└─┴╨┘")]


def _head(grid: Grid) -> tuple[str, ...]:
    values = [*(f"= {each}" for each in grid.values), *[""] * len(grid.heads)]
    return tuple(
        "\n".join(filter(None, (label, *notes, value)))
        for (label, notes), value in zip(grid.heads, values, strict=False)
    )


def _widths(rows: list[tuple[str, ...]], count: int, columns: int | None) -> list[int]:
    """Return the widths of the columns; the widest give way where the terminal is narrow."""
    found = [
        min(
            _MOST,
            max((cells.width(line) for row in rows for line in row[at].splitlines()), default=1),
        )
        for at in range(count)
    ]
    found = [max(each, _LEAST) for each in found]
    room = None if columns is None else columns - 3 * count - len(str(len(rows))) - 6
    while room is not None and sum(found) > room and max(found, default=0) > _LEAST:
        found[found.index(max(found))] -= 1
    return found


def _rule_off(grid: Grid, first: int, widths: list[int], signs: str) -> list[Run]:
    left, line, cross, double, right = tuple(signs)
    parts = [left + line * (first + 2)]
    for at, wide in enumerate(widths):
        parts.append((double if _is_divided(grid, at) else cross) + line * (wide + 2))
    return [("".join(parts) + right, "")]


def _is_divided(grid: Grid, at: int) -> bool:
    """Return whether a double line is before a column."""
    return at in (grid.inputs, grid.inputs + grid.outputs)


def _lines(
    grid: Grid, name: str, row: tuple[str, ...], first: int, widths: list[int], state: str
) -> list[list[Run]]:
    wrapped = [cells.wrap(text, wide) for text, wide in zip(row, widths, strict=True)]
    lines: list[list[Run]] = []
    for at in range(max((len(each) for each in wrapped), default=1)):
        line: list[Run] = [("│ ", ""), (cells.pad(name if at == 0 else "", first), state)]
        for column, (texts, wide) in enumerate(zip(wrapped, widths, strict=True)):
            line.append((" ║ " if _is_divided(grid, column) else " │ ", ""))
            line.append((cells.pad(texts[at] if at < len(texts) else "", wide), state))
        lines.append([*line, (" │", "")])
    return lines
