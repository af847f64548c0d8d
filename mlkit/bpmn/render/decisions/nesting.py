"""Where boxes inside of boxes are, whatever their unit is: pixels, or the cells of a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from mlkit.bpmn.render.decisions.boxes import Block, Rows, Text

# The width that a text wants, and the height that it needs in a width.
Width = Callable[[str], float]
Height = Callable[[str, float], float]


class Placed(NamedTuple):
    """A text in its box."""

    text: Text
    x: float
    y: float
    width: float
    height: float


class Measure(NamedTuple):
    """How texts are measured."""

    width: Width
    height: Height


def place(block: Block, measure: Measure) -> list[Placed]:
    """Return the texts of a block with their boxes; the first corner is at 0, 0."""
    width = _width(block, measure)
    return list(_place(block, measure, 0, 0, width, _height(block, measure, width)))


def _columns(rows: Rows, measure: Measure) -> list[float]:
    """Return the widths of the columns; the last box of each row has none of its own."""
    count = max(len(row) for row in rows.rows) - 1
    return [
        max(_width(row[at], measure) for row in rows.rows if at < len(row) - 1)
        for at in range(count)
    ]


def _width(block: Block, measure: Measure) -> float:
    if isinstance(block, Text):
        return measure.width(block.text)
    columns = _columns(block, measure)
    return max(sum(columns[: len(row) - 1]) + _width(row[-1], measure) for row in block.rows)


def _widths(row: tuple[Block, ...], columns: list[float], width: float) -> list[float]:
    own = columns[: len(row) - 1]
    return [*own, width - sum(own)]


def _row_height(
    row: tuple[Block, ...], columns: list[float], measure: Measure, width: float
) -> float:
    pairs = zip(row, _widths(row, columns, width), strict=True)
    return max(_height(each, measure, room) for each, room in pairs)


def _height(block: Block, measure: Measure, width: float) -> float:
    if isinstance(block, Text):
        return measure.height(block.text, width)
    columns = _columns(block, measure)
    return sum(_row_height(row, columns, measure, width) for row in block.rows)


def _place(
    block: Block, measure: Measure, x: float, y: float, width: float, height: float
) -> Iterator[Placed]:
    if isinstance(block, Text):
        yield Placed(block, x, y, width, height)
        return
    columns, bottom = _columns(block, measure), y + height
    for number, row in enumerate(block.rows, 1):
        is_last = number == len(block.rows)
        # The last row reaches down to where the box beside it does.
        high = bottom - y if is_last else _row_height(row, columns, measure, width)
        left = x
        for each, room in zip(row, _widths(row, columns, width), strict=True):
            yield from _place(each, measure, left, y, room, high)
            left += room
        y += high
