"""Lead edges between placed nodes: right angles, each in a channel between two ranks."""

from __future__ import annotations

import itertools
from bisect import bisect_right as bisect
from collections import defaultdict
from collections.abc import Callable, Mapping

from mlkit.bpmn.render.layers import WIRE, Arrow, Cell, Layers
from mlkit.bpmn.render.picture import Box, Point

COLUMN_GAP = 56.0
CHANNEL = 10.0


class Columns:
    """Where the ranks and the channels between them are.

    Args:
        layers: The ranks.
        widths: The width of each node.
        labels: By edge, the width of its label.
        arrows: All edges.
    """

    def __init__(
        self, layers: Layers, widths: Mapping[str, float], labels: Mapping[str, float],
        arrows: list[Arrow],
    ) -> None:  # fmt: skip
        self.layers = layers
        self.channels: dict[tuple[int, int], int] = {}
        self._count: dict[int, int] = defaultdict(int)
        room: dict[int, float] = defaultdict(lambda: COLUMN_GAP)
        for each in arrows:
            self._reserve(each)
            gap = layers.nodes[each.source].rank + 1
            room[gap] = max(room[gap], labels.get(each.id, 0.0) + 34)
        size = [0.0] * len(layers.ranks)
        for key, cell in layers.nodes.items():
            size[cell.rank] = max(size[cell.rank], widths[key])
        self.width = size
        self.left: list[float] = []
        x = CHANNEL * self._count[0]
        for rank, wide in enumerate(size):
            self.left.append(x)
            x += wide + room[rank + 1] + CHANNEL * max(0, self._count[rank + 1] - 1)

    def _reserve(self, arrow: Arrow) -> None:
        """Reserve a channel for each bend of an edge; edges from one place share it."""
        layers = self.layers
        source, target = layers.nodes[arrow.source], layers.nodes[arrow.target]
        path = [source, *layers.chains[arrow.id], target]
        for one, other in itertools.pairwise(path):
            if one.rank != other.rank or arrow.id in layers.back:
                gap = gap_between(one, other, source)
                key = (gap, id(one))
                if key not in self.channels:
                    self.channels[key] = self._count[gap]
                    self._count[gap] += 1

    def right(self, rank: int) -> float:
        """Return the right side of a rank."""
        return self.left[rank] + self.width[rank]

    def center(self, rank: int) -> float:
        """Return the middle of a rank."""
        return self.left[rank] + self.width[rank] / 2

    def channel(self, gap: int, one: Cell) -> float:
        """Return the x where an edge that comes from a cell bends in a gap."""
        number = self.channels[gap, id(one)]
        if gap >= len(self.left):
            return self.right(gap - 1) + 20 + CHANNEL * number
        return self.left[gap] - 24 - CHANNEL * number


class Obstacles:
    """The nodes, as what vertical lines must not cross.

    Args:
        columns: The ranks; they are further apart than lines keep away from nodes.
        boxes: Where the nodes are.
    """

    def __init__(self, columns: Columns, boxes: Mapping[str, Box]) -> None:
        self.left = columns.left
        self.ranks: list[list[tuple[float, str, Box]]] = [[] for _ in columns.left]
        for key, cell in columns.layers.nodes.items():
            self.ranks[cell.rank].append((boxes[key].bottom, key, boxes[key]))
        for each in self.ranks:
            each.sort(key=lambda node: node[0])

    def free(self, x: float, here: float, there: float, leaving: str) -> bool:
        """Return whether a line at x from y to y, leaving a node, crosses no other."""
        low, high = min(here, there) - 15, max(here, there) + 15
        rank = self.ranks[max(0, bisect(self.left, x + 10) - 1)]
        # The nodes of a rank lie one below the other: what ends above the line is passed over.
        for at in range(bisect(rank, low, key=lambda node: node[0]), len(rank)):
            _, key, box = rank[at]
            if box.y >= high:
                return True
            if key != leaving and box.x - 10 < x < box.right + 10:
                return False
        return True


def gap_between(one: Cell, other: Cell, source: Cell) -> int:
    """Return the number of the gap in which an edge bends; gap n is left of rank n."""
    if one.rank != other.rank:
        return max(one.rank, other.rank)
    return one.rank + 1 if one is source else one.rank


def route(
    arrow: Arrow, columns: Columns, boxes: Mapping[str, Box], start: Point | None,
    free: Callable[[float, float, float, str], bool], turns: Callable[[str], bool],
) -> tuple[Point, ...]:  # fmt: skip
    """Return the points of an edge.

    Args:
        arrow: The edge.
        columns: Ranks and channels.
        boxes: Where the nodes are.
        start: Where it leaves, for boundary events: downwards.
        free: Returns whether a vertical line at x from y to y, leaving a node, crosses no other.
        turns: Returns whether a node (a gateway) can be left and entered from above and below.
    """
    layers = columns.layers
    source, target = boxes[arrow.source], boxes[arrow.target]
    first, last = layers.nodes[arrow.source], layers.nodes[arrow.target]
    path = [first, *layers.chains[arrow.id], last]
    points = [start or Point(source.right, source.center.y)]
    if start is not None:
        points.append(Point(start.x, max(path[1].y, start.y + 18)))
    for one, other in itertools.pairwise(path):
        here = points[-1].y
        there = target.center.y if other is last else other.y
        if abs(here - there) < (0.5 if other is last else WIRE / 2):
            continue
        x = columns.channel(gap_between(one, other, first), one)
        points += [Point(x, here), Point(x, there)]
    points.append(Point(target.x, target.center.y))
    found = straighten(points)
    return _through_corners(arrow, found, source, target, free, turns, start is not None)


def _through_corners(
    arrow: Arrow, points: list[Point], source: Box, target: Box,
    free: Callable[[float, float, float, str], bool], turns: Callable[[str], bool], down: bool,
) -> tuple[Point, ...]:  # fmt: skip
    """Let gateways be left and entered at their upper and lower corners where nothing is near."""
    if len(points) >= 4 and not down and turns(arrow.source):
        x, y = source.center.x, points[2].y
        if free(x, source.center.y, y, arrow.source):
            edge = source.bottom if y > source.center.y else source.y
            if abs(y - source.center.y) > source.height / 2:
                points = [Point(x, edge), Point(x, y), *points[3:]]
    if len(points) >= 4 and turns(arrow.target):
        x, y = target.center.x, points[-3].y
        if free(x, target.center.y, y, arrow.target) and abs(y - target.center.y) > 25:
            edge = target.bottom if y > target.center.y else target.y
            points = [*points[:-3], Point(x, y), Point(x, edge)]
    return tuple(straighten(points))


def straighten(points: list[Point]) -> list[Point]:
    """Leave out points that are not bends."""
    kept = points[:1]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        level = abs(before.y - here.y) < 0.5 and abs(here.y - after.y) < 0.5
        upright = abs(before.x - here.x) < 0.5 and abs(here.x - after.x) < 0.5
        if here != before and not level and not upright:
            kept.append(here)
    return [*kept, points[-1]]
