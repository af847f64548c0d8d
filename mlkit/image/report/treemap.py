"""Treemaps: rectangles whose areas are sizes, as square as may be.

Squarified treemaps: M. Bruls, K. Huizing, J. J. van Wijk, "Squarified Treemaps", Proceedings of
the Joint Eurographics and IEEE TCVG Symposium on Visualization, 2000.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A rectangle.

    Attributes:
        x: Its left edge.
        y: Its upper edge.
        width: Its width.
        height: Its height.
    """

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """Return its area."""
        return self.width * self.height


def squarify(sizes: Sequence[float], box: Box) -> list[Box]:
    """Divide a rectangle by sizes.

    Args:
        sizes: Above 0, the largest first.
        box: What is divided; its area stands for the sum of the sizes.
    """
    scale = box.area / sum(sizes) if sizes else 0.0
    areas = [size * scale for size in sizes]
    found: list[Box] = []
    while areas:
        row = _row(areas, min(box.width, box.height))
        placed, box = _place(areas[:row], sum(areas[row:]), box)
        found += placed
        areas = areas[row:]
    return found


def _row(areas: Sequence[float], side: float) -> int:
    """Count the areas that make the best first row along a side."""
    count, total, before = 0, 0.0, float("inf")
    for area in areas:
        total += area
        worst = max(side * side * areas[0] / (total * total), total * total / (side * side * area))
        if worst > before:
            break
        count, before = count + 1, worst
    return max(count, 1)


def _place(row: Sequence[float], rest: float, box: Box) -> tuple[list[Box], Box]:
    """Lay a row along the shorter side; return what is left for the rest of the areas.

    By shares of the box, so that what rounding did to the box before is not magnified.
    """
    total, placed, at = sum(row), [], 0.0
    share = total / (total + rest)
    if box.width >= box.height:
        across = box.width * share
        for area in row:
            length = box.height * area / total
            placed.append(Box(box.x, box.y + at, across, length))
            at += length
        return placed, Box(box.x + across, box.y, box.width - across, box.height)
    down = box.height * share
    for area in row:
        length = box.width * area / total
        placed.append(Box(box.x + at, box.y, length, down))
        at += length
    return placed, Box(box.x, box.y + down, box.width, box.height - down)
