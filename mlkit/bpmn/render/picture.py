"""What is drawn and where, apart from how: shapes and edges with their places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from mlkit.bpmn.definition.parser.xml import Element


class Point(NamedTuple):
    """A place in the diagram, in pixels; y grows downwards."""

    x: float
    y: float


class Box(NamedTuple):
    """A rectangle by its upper left corner and its size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Return the x of its right side."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Return the y of its lower side."""
        return self.y + self.height

    @property
    def center(self) -> Point:
        """Return its middle."""
        return Point(self.x + self.width / 2, self.y + self.height / 2)

    def move(self, x: float, y: float) -> Box:
        """Return the same rectangle at another place."""
        return Box(self.x + x, self.y + y, self.width, self.height)


class Colours(NamedTuple):
    """Colours that the file gives a shape or edge; empty where it gives none."""

    stroke: str = ""
    fill: str = ""


NO_COLOURS = Colours()


@dataclass(frozen=True, slots=True)
class Shape:
    """A flow node, pool, lane, data element or artifact with its place.

    Attributes:
        label: Where its label is, if the file places it.
        expanded: Whether the inside of a sub-process, or a pool, is shown.
        horizontal: Whether a pool or lane has its name at the left, instead of on top.
        marked: Whether an exclusive gateway shows its cross.
    """

    element: Element
    box: Box
    label: Box | None = None
    expanded: bool = True
    horizontal: bool = True
    marked: bool = True
    colours: Colours = NO_COLOURS


@dataclass(frozen=True, slots=True)
class Edge:
    """A flow or association with its bends.

    Attributes:
        message: Whether a message flow shows its message: `initiating` or `non_initiating`.
    """

    element: Element
    points: tuple[Point, ...]
    label: Box | None = None
    colours: Colours = NO_COLOURS
    message: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A diagram; shapes are in the order of drawing, what is behind first.

    Attributes:
        element: The id of the process, collaboration or sub-process that it shows.
        name: What the file calls it; else the name of that element.
    """

    shapes: tuple[Shape, ...]
    edges: tuple[Edge, ...]
    element: str = ""
    name: str = ""


def name_of(element: Element) -> str:
    """Return the label of an element."""
    return str(element.get("name") or "").strip()


def move_points(points: tuple[Point, ...], x: float, y: float) -> tuple[Point, ...]:
    """Return the same line at another place."""
    return tuple(Point(each.x + x, each.y + y) for each in points)
