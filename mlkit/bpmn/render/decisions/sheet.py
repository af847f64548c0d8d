"""Draw a decision table: rules as rows, a double line before the outputs."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from mlkit.bpmn.render.decisions.grid import Grid
from mlkit.bpmn.render.drawing import Drawing, polyline
from mlkit.bpmn.render.page import PALETTE
from mlkit.bpmn.render.picture import Box, Point
from mlkit.bpmn.render.text_measurement import LEADING, SIZE, SMALL, WIDER, width, wrap
from mlkit.bpmn.render.themes import RULE, SHADE

_PAD = 8.0
_MOST = 260.0
_LEAST = 56.0
_NUMBER = 48.0


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table with its measures, in pixels.

    Attributes:
        widths: Of the columns; the first has the numbers of the rules.
        heights: Of the rows; the first is the head.
    """

    grid: Grid
    widths: tuple[float, ...]
    heights: tuple[float, ...]

    @property
    def box(self) -> Box:
        """The area that it covers."""
        return Box(0, 0, sum(self.widths), sum(self.heights))


def measure(grid: Grid) -> Sheet:
    """Return a table with the places of its rows and columns."""
    columns = [_NUMBER, *(_column(grid, at) for at in range(len(grid.heads)))]
    head = max(
        (_head_height(grid, at, columns[at + 1]) for at in range(len(grid.heads))), default=0
    )
    rows = [_row(row, columns[1:]) for row in grid.rows]
    return Sheet(grid, tuple(columns), (max(head, SIZE * LEADING + 2 * _PAD), *rows))


def _column(grid: Grid, at: int) -> float:
    label, notes = grid.heads[at]
    texts = [(label, SIZE), *((each, SMALL) for each in (*notes, _value(grid, at)))]
    texts += [(line, SIZE) for row in grid.rows for line in row[at].splitlines()]
    widest = max(width(text, size) for text, size in texts)
    return min(max(widest * WIDER + 2 * _PAD + 2, _LEAST), _MOST)


def _inner(room: float) -> float:
    """Return how wide lines may be, as they are measured, in a column."""
    return (room - 2 * _PAD) / WIDER


def _value(grid: Grid, at: int) -> str:
    return f"= {grid.values[at]}" if at < len(grid.values) else ""


def _head_lines(grid: Grid, at: int, room: float) -> tuple[list[str], list[str], list[str]]:
    label, notes = grid.heads[at]
    inner = _inner(room)
    small = [line for each in notes for line in wrap(each, inner, SMALL)]
    value = _value(grid, at)
    return wrap(label, inner), small, wrap(value, inner, SMALL) if value else []


def _head_height(grid: Grid, at: int, room: float) -> float:
    label, small, value = _head_lines(grid, at, room)
    return (len(label) * SIZE + (len(small) + len(value)) * SMALL) * LEADING + 2 * _PAD


def _row(cells: tuple[str, ...], columns: list[float]) -> float:
    pairs = zip(cells, columns, strict=True)
    lines = max((len(wrap(text, _inner(room))) for text, room in pairs), default=1)
    return max(lines, 1) * SIZE * LEADING + _PAD


def draw(drawing: Drawing, sheet: Sheet) -> None:
    """Draw a table; rules that matched are coloured and ticked."""
    grid = sheet.grid
    group = drawing.group(data_element=grid.element, data_type="decisionTable")
    xs = [0.0, *itertools.accumulate(sheet.widths)]
    ys = [0.0, *itertools.accumulate(sheet.heights)]
    group.rectangle(Box(0, 0, xs[-1], ys[1]), 0, fill=SHADE, stroke="none")
    _head(group, sheet, xs, ys[1])
    for at in range(len(grid.rows)):
        _rule(group, sheet, at, xs, ys[at + 1])
    _lines(group, sheet, xs, ys)


def _head(group: Drawing, sheet: Sheet, xs: list[float], height: float) -> None:
    grid = sheet.grid
    group.text([grid.policy], Point(xs[1] / 2, height / 2 + 5), 14, 14)
    for at in range(len(grid.heads)):
        label, small, value = _head_lines(grid, at, sheet.widths[at + 1])
        x, y = xs[at + 1] + _PAD, _PAD + SIZE - 1
        group.text(label, Point(x, y), SIZE, SIZE * LEADING, "start")
        y += len(label) * SIZE * LEADING - 1
        group.text(small, Point(x, y), SMALL, SMALL * LEADING, "start")
        y += len(small) * SMALL * LEADING
        stroke = PALETTE["done"].stroke
        group.group(stroke).text(value, Point(x, y), SMALL, SMALL * LEADING, "start")


def _rule(group: Drawing, sheet: Sheet, at: int, xs: list[float], top: float) -> None:
    grid, height = sheet.grid, sheet.heights[at + 1]
    matched = at in grid.matched
    marks = {"data_rule": str(at + 1), **({"data_state": "matched"} if matched else {})}
    row = group.group(**marks)
    if matched:
        row.rectangle(Box(0, top, xs[-1], height), 0, fill=PALETTE["done"].fill, stroke="none")
        tick = row.move(6, top + height / 2 - 5, symbol="matched")
        tick.line("M0 5l4 5l7-10", 2, stroke=PALETTE["done"].stroke)
    base = top + _PAD / 2 + SIZE - 0.5
    row.text([str(at + 1)], Point(xs[1] - _PAD, base), SIZE, SIZE, "end")
    for column, text in enumerate(grid.rows[at]):
        lines = wrap(text, _inner(sheet.widths[column + 1]))
        row.text(lines, Point(xs[column + 1] + _PAD, base), SIZE, SIZE * LEADING, "start")


def _lines(group: Drawing, sheet: Sheet, xs: list[float], ys: list[float]) -> None:
    grid, right, bottom = sheet.grid, xs[-1], ys[-1]
    thin = group.group(RULE)
    for y in ys[2:-1]:
        thin.line(polyline((0, y), (right, y)), 1)
    doubles = {grid.inputs + 1, grid.inputs + grid.outputs + 1} - {len(xs) - 1}
    for at in {*range(1, len(xs) - 1)} - doubles:
        thin.line(polyline((xs[at], 0), (xs[at], bottom)), 1)
    for y in (ys[1] - 1.5, ys[1] + 1.5):
        group.line(polyline((0, y), (right, y)), 1)
    for at in doubles:
        group.line("".join(polyline((xs[at] + d, 0), (xs[at] + d, bottom)) for d in (-1.5, 1.5)), 1)
    group.rectangle(Box(0, 0, right, bottom), 1.8, fill="none")


def heading(grid: Grid) -> str:
    """Return a table's name with its hit policy in words, and how often it was read."""
    policy = _POLICIES[grid.policy[0]] + _AGGREGATIONS.get(grid.policy[1:], "")
    reads = f", read {grid.reads} times" if grid.reads > 1 else ""
    return f"{grid.name} ({policy}{reads})"


_POLICIES = {
    "U": "unique", "A": "any", "P": "priority", "F": "first", "R": "rule order",
    "O": "output order", "C": "collect",
}  # fmt: skip
_AGGREGATIONS = {"+": ", sum", "#": ", count", "<": ", minimum", ">": ", maximum"}
