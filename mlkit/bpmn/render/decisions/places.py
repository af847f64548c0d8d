"""Where a requirement graph is drawn: by the file's DMNDI, or laid out from the inputs upwards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mlkit.bpmn.decisions.xml import Node as Element
from mlkit.bpmn.decisions.xml import attribute, local
from mlkit.bpmn.render.decisions.graph import Graph, Link, Node, clean
from mlkit.bpmn.render.diagram_interchange import coordinate
from mlkit.bpmn.render.layers import Arrow, assign_layers
from mlkit.bpmn.render.picture import Box, Point, move_points
from mlkit.bpmn.render.routes import Columns, Obstacles, route

SIZES = {
    "inputData": (140.0, 48.0),
    "decision": (180.0, 80.0),
    "businessKnowledgeModel": (150.0, 64.0),
    "knowledgeSource": (130.0, 64.0),
    "decisionService": (180.0, 80.0),
    "textAnnotation": (160.0, 64.0),
    "group": (180.0, 80.0),
}
_BEHIND = ("group", "decisionService")
_GAP = 40.0
# Between a node and the nearest bend, beside what routes keep: a row for the arrowhead in text.
_AIR = 14.0
_BESIDE = 24.0
_WIDEST = 1100.0


@dataclass(frozen=True, slots=True)
class Shape:
    """A node with its place.

    Attributes:
        divider: The height at which a decision service is divided; its outputs are above.
        is_collapsed: Whether what a decision service holds is hidden.
    """

    node: Node
    box: Box
    divider: float | None = None
    is_collapsed: bool = False


@dataclass(frozen=True, slots=True)
class Edge:
    """A requirement with its bends."""

    link: Link
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Diagram:
    """A drawing of the graph; shapes are in the order of drawing, what is behind first.

    Attributes:
        element: The id of the diagram, or of the model where the file draws none.
    """

    shapes: tuple[Shape, ...]
    edges: tuple[Edge, ...]
    element: str
    name: str


def diagrams(root: Element, graph: Graph, file: str) -> list[Diagram]:
    """Return the diagrams of a file, or one that is laid out; none of a file without elements.

    Raises:
        BadData: A coordinate is not a number, or far out of any picture.
    """
    drawn = [_read(each, graph, file) for each in _inside(root, "DMNDiagram")]
    found = [each for each in drawn if each.shapes]
    if found or not graph.nodes:
        return found
    return [arrange(graph, attribute(root, "id"), clean(attribute(root, "name")))]


def _inside(root: Element, name: str) -> Iterator[Element]:
    return (each for each in root.iter(f"{{*}}{name}") if "DMNDI" in str(each.tag))


def _read(diagram: Element, graph: Graph, file: str) -> Diagram:
    links = {each.id: each for each in graph.links if each.id}
    # What is imported is `namespace#id` in the graph, and `prefix:id` in a diagram.
    nodes = {key.rpartition("#")[2]: each for key, each in graph.nodes.items()} | graph.nodes
    shapes: list[Shape] = []
    edges: list[Edge] = []
    for each in diagram:
        wanted = attribute(each, "dmnElementRef").rpartition(":")[2]
        node, link = nodes.get(wanted), links.get(wanted)
        if local(each) == "DMNShape" and node is not None:
            shapes += _shape(each, node, file)
        elif local(each) == "DMNEdge" and link is not None:
            edges += _edge(each, link, file)
    shapes.sort(key=_depth)
    name = clean(attribute(diagram, "name"))
    return Diagram(tuple(shapes), tuple(edges), attribute(diagram, "id"), name)


def _depth(shape: Shape) -> tuple[bool, float]:
    behind = shape.node.kind in _BEHIND and not shape.is_collapsed
    return not behind, -shape.box.width * shape.box.height if behind else 0.0


def _shape(drawn: Element, node: Node, file: str) -> Iterator[Shape]:
    bounds = next((each for each in drawn if local(each) == "Bounds"), None)
    if bounds is None:
        return
    x, y, width, height = (coordinate(bounds, key, file) for key in ("x", "y", "width", "height"))
    waypoints = [
        each
        for holder in drawn
        if local(holder) == "DMNDecisionServiceDividerLine"
        for each in holder
        if local(each) == "waypoint"
    ]
    divider = coordinate(waypoints[0], "y", file) if waypoints else None
    collapsed = drawn.get("isCollapsed") in ("true", "1")
    yield Shape(node, Box(x, y, max(width, 1.0), max(height, 1.0)), divider, collapsed)


def _edge(drawn: Element, link: Link, file: str) -> Iterator[Edge]:
    points = tuple(
        Point(coordinate(each, "x", file), coordinate(each, "y", file))
        for each in drawn
        if local(each) == "waypoint"
    )
    if len(points) > 1:
        yield Edge(link, points)


# -- without coordinates in the file --------------------------------------------------------------


def arrange(graph: Graph, element: str, name: str) -> Diagram:
    """Return a diagram in layers, what is required below; parts without links are side by side."""
    shapes: list[Shape] = []
    edges: list[Edge] = []
    left = top = bottom = 0.0
    for each in _components(graph):
        part = _lay_out(each)
        box = extent(part)
        if left and left + box.width > _WIDEST:
            left, top = 0.0, bottom + _GAP
        found = _move(part, left - box.x, top - box.y)
        shapes += found.shapes
        edges += found.edges
        left, bottom = left + box.width + _GAP, max(bottom, top + box.height)
    return Diagram(tuple(shapes), tuple(edges), element, name)


def _components(graph: Graph) -> list[Graph]:
    """Return the parts of a graph that no link connects, single nodes last."""
    near: dict[str, set[str]] = {key: set() for key in graph.nodes}
    for each in graph.links:
        near[each.source].add(each.target)
        near[each.target].add(each.source)
    part: dict[str, int] = {}
    for key in graph.nodes:
        if key not in part:
            part |= dict.fromkeys(_find_reachable(key, near), len(part))
    nodes: dict[int, dict[str, Node]] = defaultdict(dict)
    links: dict[int, list[Link]] = defaultdict(list)
    for key, node in graph.nodes.items():
        nodes[part[key]][key] = node
    for each in graph.links:
        links[part[each.source]].append(each)
    found = [Graph(inside, tuple(links[number])) for number, inside in nodes.items()]
    return sorted(found, key=lambda each: not each.links)


def _find_reachable(start: str, near: dict[str, set[str]]) -> set[str]:
    reached, queue = {start}, [start]
    while queue:
        fresh = near[queue.pop()] - reached
        reached |= fresh
        queue += fresh
    return reached


def _move(diagram: Diagram, x: float, y: float) -> Diagram:
    shapes = tuple(replace(each, box=each.box.move(x, y)) for each in diagram.shapes)
    edges = tuple(Edge(each.link, move_points(each.points, x, y)) for each in diagram.edges)
    return Diagram(shapes, edges, "", "")


def _lay_out(graph: Graph) -> Diagram:
    """Lay nodes out from left to right, and turn the whole to be read from below."""
    sizes = {key: SIZES[each.kind] for key, each in graph.nodes.items()}
    links = {str(number): each for number, each in enumerate(graph.links)}
    arrows = [Arrow(key, each.source, each.target) for key, each in links.items()]
    layers = assign_layers(
        {key: size[0] for key, size in sizes.items()}, dict.fromkeys(sizes, 0), arrows
    )
    air = {key: size[1] + 2 * _AIR for key, size in sizes.items()}
    columns = Columns(layers, air, {}, arrows)
    lying = {
        key: Box(
            columns.center(cell.rank) - sizes[key][1] / 2,
            cell.y - sizes[key][0] / 2,
            sizes[key][1],
            sizes[key][0],
        )
        for key, cell in layers.nodes.items()
    }
    free = Obstacles(columns, lying).free
    edges = []
    for each in arrows:
        points = route(each, columns, lying, None, free, lambda _: False)
        edges.append(Edge(links[each.id], tuple(Point(y, -x) for x, y in points)))
    boxes = {key: Box(b.y, -b.right, b.height, b.width) for key, b in lying.items()}
    shapes = (Shape(graph.nodes[key], box, None, True) for key, box in boxes.items())
    return Diagram(tuple(shapes), tuple(_spread(edges)), "", "")


def _spread(edges: list[Edge]) -> Iterator[Edge]:
    """Let the edges that enter a node arrive side by side, in the order of where they are from."""
    entering: dict[str, list[Edge]] = defaultdict(list)
    for each in sorted(edges, key=lambda edge: edge.points[-min(3, len(edge.points))].x):
        entering[each.link.target].append(each)
    for found in entering.values():
        step = min(_BESIDE, _BESIDE * 4 / len(found))
        for place, each in enumerate(found):
            yield _shift_end(each, (place - (len(found) - 1) / 2) * step)


def _shift_end(edge: Edge, by: float) -> Edge:
    kept = edge.points[:-2]
    return Edge(edge.link, (*kept, *(Point(x + by, y) for x, y in edge.points[-2:])))


def extent(diagram: Diagram) -> Box:
    """Return the area that a diagram covers."""
    boxes = [each.box for each in diagram.shapes]
    boxes += [Box(x, y, 0, 0) for each in diagram.edges for x, y in each.points]
    left, top = min(each.x for each in boxes), min(each.y for each in boxes)
    right, bottom = max(each.right for each in boxes), max(each.bottom for each in boxes)
    return Box(left, top, right - left, bottom - top)
