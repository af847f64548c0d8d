"""Draw boxed expressions with the characters of a terminal."""

from __future__ import annotations

from mlkit.bpmn.render.decisions import cells
from mlkit.bpmn.render.decisions.boxes import Boxes, lines
from mlkit.bpmn.render.decisions.nesting import Measure, Placed, place
from mlkit.bpmn.render.terminal import MOST_CELLS, Run, Sheet

_LEAST, _MOST = 6, 60


def _measure_width(text: str) -> float:
    widest = max((cells.width(line) for line in text.splitlines()), default=0)
    return min(max(widest, _LEAST), _MOST) + 3


def _measure_height(text: str, room: float) -> float:
    return len(cells.wrap(text, int(room) - 3)) + 1


def text(boxes: Boxes, columns: int | None) -> list[list[Run]]:
    """Return the lines of an expression; without boxes where the terminal is too narrow."""
    placed = place(boxes.block, Measure(_measure_width, _measure_height))
    wide = int(max(each.x + each.width for each in placed)) + 1
    high = int(max(each.y + each.height for each in placed)) + 1
    if wide * high > MOST_CELLS or (columns is not None and wide > columns):
        return [[(line, "")] for each in lines(boxes.block) for line in each.splitlines() or [""]]
    sheet = Sheet(wide, high)
    for each in placed:
        _box(sheet, each)
    return sheet.runs()


def _box(sheet: Sheet, placed: Placed) -> None:
    left, top = int(placed.x), int(placed.y)
    right, bottom = int(placed.x + placed.width), int(placed.y + placed.height)
    sheet.line((left, top), (right, bottom))
    sheet.line((right, bottom), (left, bottom))
    sheet.line((left, top), (left, bottom))
    for at, line in enumerate(cells.wrap(placed.text.text, right - left - 3)):
        write(sheet, left + 2, top + 1 + at, line, "")


def write(sheet: Sheet, column: int, row: int, line: str, state: str) -> None:
    """Write a line; a wide character leaves the cell after it empty, marks are left out."""
    for each in line:
        wide = cells.width(each)
        if wide:
            sheet.put(column, row, each, state)
        if wide == 2 and 0 <= row < len(sheet.cells) and 0 <= column + 1 < len(sheet.cells[row]):
            sheet.cells[row][column + 1] = ""
            sheet.states[row][column + 1] = state
        column += wide
