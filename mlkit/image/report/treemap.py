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
        """Give its area."""
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
        placed, box = _place(areas[:row], box)
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


def _place(areas: Sequence[float], box: Box) -> tuple[list[Box], Box]:
    """Lay a row along the shorter side, and give what is left."""
    total, placed, at = sum(areas), [], 0.0
    if box.width >= box.height:
        across = min(total / box.height, box.width) if box.height else 0.0
        for area in areas:
            length = box.height * area / total
            placed.append(Box(box.x, box.y + at, across, length))
            at += length
        return placed, Box(box.x + across, box.y, max(box.width - across, 0.0), box.height)
    down = min(total / box.width, box.height) if box.width else 0.0
    for area in areas:
        length = box.width * area / total
        placed.append(Box(box.x + at, box.y, length, down))
        at += length
    return placed, Box(box.x, box.y + down, box.width, max(box.height - down, 0.0))
