"""Place the nodes of a graph in layers from left to right.

After Sugiyama, Tagawa and Toda (1981): turn back edges round, give each node the rank of its
longest path, let long edges hold a place in the ranks between, order the ranks by the means of
their neighbours, then choose heights that are near the neighbours' without overlap.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

ROW_GAP = 40.0
WIRE = 12.0
_SWEEPS = 7


class Arrow(NamedTuple):
    """An edge of the graph; `drop` is how much lower it leaves its source."""

    id: str
    source: str
    target: str
    drop: float = 0.0


@dataclass(slots=True)
class Cell:
    """A place in a rank: of a node, or of an edge that passes.

    Attributes:
        band: The lane that it is in.
        y: Where its middle is.
    """

    height: float
    rank: int
    band: int = 0
    index: int = 0
    y: float = 0.0
    links: list[tuple[Cell, float]] = field(default_factory=list)


@dataclass(slots=True)
class Layers:
    """Nodes and edges with their places.

    Attributes:
        ranks: The cells of each rank, from top to bottom.
        nodes: The cell of each node.
        chains: By edge, the cells that it passes between its ends, in its own direction.
        back: The edges that lead to an earlier rank, or to their own.
        bands: The upper and lower end of each lane.
    """

    ranks: list[list[Cell]]
    nodes: dict[str, Cell]
    chains: dict[str, list[Cell]]
    back: set[str]
    bands: list[tuple[float, float]]


def assign_layers(heights: dict[str, float], bands: dict[str, int], arrows: list[Arrow]) -> Layers:
    """Return nodes their ranks and heights.

    Args:
        heights: The height of each node, in the order of the document.
        bands: The lane of each node, counted from 0.
        arrows: The edges between them.
    """
    back = _back_edges(heights, arrows)
    rank = _ranks(heights, arrows, back)
    nodes = {key: Cell(height, rank[key], bands[key]) for key, height in heights.items()}
    ranks: list[list[Cell]] = [[] for _ in range(max(rank.values(), default=0) + 1)]
    for cell in nodes.values():
        ranks[cell.rank].append(cell)
    chains = {each.id: _chain(each, nodes, ranks, each.id in back) for each in arrows}
    _order(ranks)
    extents = []
    top = 0.0
    for band in range(max(bands.values(), default=0) + 1):
        bottom = _settle(ranks, band, top)
        extents.append((top, bottom))
        top = bottom
    return Layers(ranks, nodes, chains, back, extents)


def _back_edges(nodes: Iterable[str], arrows: list[Arrow]) -> set[str]:
    """Find the edges that close a circle, seen from where nothing comes in."""
    out: dict[str, list[Arrow]] = defaultdict(list)
    for each in arrows:
        out[each.source].append(each)
    entered = {each.target for each in arrows if each.source != each.target}
    back: set[str] = set()
    colour: dict[str, str] = {}
    for root in sorted(nodes, key=lambda each: each in entered):
        if root in colour:
            continue
        colour[root] = "open"
        stack = [(root, iter(out[root]))]
        while stack:
            node, rest = stack[-1]
            arrow = next(rest, None)
            if arrow is None:
                colour[node] = "done"
                stack.pop()
            elif colour.get(arrow.target) == "open":
                back.add(arrow.id)
            elif arrow.target not in colour:
                colour[arrow.target] = "open"
                stack.append((arrow.target, iter(out[arrow.target])))
    return back


def _ranks(nodes: Iterable[str], arrows: list[Arrow], back: set[str]) -> dict[str, int]:
    rank = dict.fromkeys(nodes, 0)
    missing = dict.fromkeys(rank, 0)
    out: dict[str, list[str]] = defaultdict(list)
    for each in arrows:
        if each.id not in back:
            out[each.source].append(each.target)
            missing[each.target] += 1
    ready = [key for key, count in missing.items() if not count]
    for key in ready:
        for target in out[key]:
            rank[target] = max(rank[target], rank[key] + 1)
            missing[target] -= 1
            if not missing[target]:
                ready.append(target)
    return rank


def _chain(arrow: Arrow, nodes: dict[str, Cell], ranks: list[list[Cell]], back: bool) -> list[Cell]:
    source, target = nodes[arrow.source], nodes[arrow.target]
    between = range(source.rank + 1, target.rank)
    if back:
        # It leaves at the right and arrives at the left, so it passes both ends' own ranks.
        between = range(source.rank, target.rank - 1, -1)
    cells = [Cell(WIRE, rank, target.band if back else source.band) for rank in between]
    for cell in cells:
        ranks[cell.rank].append(cell)
    path = [source, *cells, target]
    for place, (one, other) in enumerate(itertools.pairwise(path)):
        drop = arrow.drop if place == 0 else 0.0
        one.links.append((other, -drop))
        other.links.append((one, drop))
    return cells


def _order(ranks: list[list[Cell]]) -> None:
    for rank in ranks:
        _number(rank)
    for sweep in range(_SWEEPS):
        step = 1 if sweep % 2 == 0 else -1
        for rank in ranks[::step]:
            rank.sort(key=lambda cell: (cell.band, _mean_index(cell, step)))
            _number(rank)


def _number(rank: list[Cell]) -> None:
    for index, cell in enumerate(rank):
        cell.index = index


def _mean_index(cell: Cell, step: int) -> float:
    found = [
        other.index + drop / 1000
        for other, drop in cell.links
        if (cell.rank - other.rank) * step > 0
    ]
    return sum(found) / len(found) if found else cell.index


def _settle(ranks: list[list[Cell]], band: int, top: float) -> float:
    """Choose the heights of a lane's cells; return its lower end."""
    rows = [[cell for cell in rank if cell.band == band] for rank in ranks]
    for sweep in range(_SWEEPS):
        step = 1 if sweep % 2 == 0 else -1
        for row in rows[::step]:
            _spread(row, [_wish(cell, step) for cell in row])
    cells = [cell for row in rows for cell in row]
    if not cells:
        return top + 3 * ROW_GAP
    shift = top + ROW_GAP / 2 - min(cell.y - cell.height / 2 for cell in cells)
    for cell in cells:
        cell.y += shift
    return max(cell.y + cell.height / 2 for cell in cells) + ROW_GAP / 2


def _wish(cell: Cell, step: int) -> float:
    found = [
        other.y + drop
        for other, drop in cell.links
        if (cell.rank - other.rank) * step > 0 and other.band == cell.band
    ]
    return sum(found) / len(found) if found else cell.y


def _spread(row: list[Cell], wishes: list[float]) -> None:
    """Put cells as near to their wishes as their order and sizes allow, in least squares.

    By pooling adjacent violators: cells that collide move together, to their mean.
    """
    offset, offsets = 0.0, []
    for before, cell in zip([None, *row], row, strict=False):
        if before is not None:
            gap = ROW_GAP if cell.height > WIRE or before.height > WIRE else WIRE
            offset += (before.height + cell.height) / 2 + gap
        offsets.append(offset)
    blocks: list[tuple[float, int]] = []
    for wish, offset in zip(wishes, offsets, strict=True):
        mean, size = wish - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, more = blocks.pop()
            mean = (mean * size + other * more) / (size + more)
            size += more
        blocks.append((mean, size))
    means = [mean for mean, size in blocks for _ in range(size)]
    for cell, mean, offset in zip(row, means, offsets, strict=True):
        cell.y = mean + offset
