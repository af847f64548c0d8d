"""Lay out a file without coordinates: scopes, lanes and pools, from the inside out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mlkit.bpmn.definition.parser import xml
from mlkit.bpmn.definition.parser.xml import Element
from mlkit.bpmn.render import artifacts, shapes, symbols, text_measurement
from mlkit.bpmn.render.layers import Arrow, Layers, assign_layers
from mlkit.bpmn.render.picture import (
    Box,
    Edge,
    Picture,
    Point,
    Shape,
    move_points,
    name_of,
)
from mlkit.bpmn.render.routes import Columns, Obstacles, route

_EVENT, _GATEWAY, _TASK = (36.0, 36.0), (50.0, 50.0), (100.0, 80.0)
_LABELLED = 44.0
_PAD = 30.0
_GATEWAYS = (*symbols.GATEWAYS, "eventBasedGateway")
_POOL_GAP = 60.0


def arrange(root: Element) -> Picture:
    """Return a readable picture of all processes of a document."""
    collaboration = xml.child(root, "collaboration")
    processes = {str(each.get("id")): each for each in xml.children(root, "process")}
    if collaboration is None:
        return _stack([_process(each, None) for each in processes.values()])
    pools = []
    for each in xml.children(collaboration, "participant"):
        process = processes.pop(str(each.get("processRef")).rpartition(":")[2], None)
        pools.append(_process(process, each))
    pools += [_process(each, None) for each in processes.values()]
    found = _even(_stack(pools))
    messages = artifacts.message_flows(collaboration, found)
    return artifacts.add(Picture(found.shapes, (*found.edges, *messages)), collaboration)


def _stack(pictures: list[Picture]) -> Picture:
    placed, top = [], 0.0
    for each in pictures:
        if each.shapes:
            box = artifacts.extent(each)
            placed.append(move(each, -box.x, top - box.y))
            top += box.height + _POOL_GAP
    return Picture(
        tuple(shape for each in placed for shape in each.shapes),
        tuple(edge for each in placed for edge in each.edges),
    )


def _even(picture: Picture) -> Picture:
    """Make all pools, and their lanes, as wide as the widest."""
    pools = [each for each in picture.shapes if xml.local(each.element) == "participant"]
    right = max((each.box.right for each in pools), default=0.0)

    def stretched(shape: Shape) -> Shape:
        if xml.local(shape.element) not in ("participant", "lane"):
            return shape
        return replace(shape, box=shape.box._replace(width=right - shape.box.x))

    return Picture(tuple(map(stretched, picture.shapes)), picture.edges)


def _process(process: Element | None, pool: Element | None) -> Picture:
    inner = Picture((), ()) if process is None else scope(process)
    lanes = [] if process is None else _leaves(process)
    if pool is None and not lanes:
        return inner
    box = artifacts.extent(inner) if inner.shapes else Box(0, 0, 400, 60)
    around = Box(box.x - _PAD, box.y - _PAD, box.width + 2 * _PAD, box.height + 2 * _PAD)
    around = around if inner.shapes else box
    back = []
    for lane, (top, bottom) in zip(lanes, _bands(process, around), strict=False):
        back.append(Shape(lane, Box(around.x - 30, top, around.width + 30, bottom - top)))
    left = around.x - (30 if lanes else 0) - (30 if process is not None else 0)
    if pool is not None:
        whole = Box(left, around.y, around.right - left, around.height)
        back.insert(0, Shape(pool, whole))
    return Picture((*back, *inner.shapes), inner.edges)


def _bands(process: Element | None, around: Box) -> list[tuple[float, float]]:
    """Return the upper and lower ends of the lanes; the outer ones reach the pool's sides."""
    if process is None:
        return []
    found = _layers(process, _nodes(process), {}, _arrows(process)).bands
    inner = [bottom for _, bottom in found[:-1]]
    return list(zip([around.y, *inner], [*inner, around.bottom], strict=True))


def _leaves(process: Element) -> list[Element]:
    lanes = process.iter(f"{{{xml.BPMN}}}lane")
    return [each for each in lanes if xml.child(each, "childLaneSet") is None]


def scope(element: Element) -> Picture:
    """Lay out the inside of a process or sub-process."""
    nodes = _nodes(element)
    if not nodes:
        return artifacts.add(Picture((), ()), element)
    inner = {key: _inside(each) for key, each in nodes.items()}
    sizes = {key: _size(each, inner[key]) for key, each in nodes.items()}
    arrows = _arrows(element)
    layers = _layers(element, nodes, sizes, arrows)
    widths = {key: size[0] for key, size in sizes.items()}
    flows = {str(each.get("id")): each for each in xml.children(element, "sequenceFlow")}
    labels = {key: min(90.0, text_measurement.width(name_of(each))) for key, each in flows.items()}
    columns = Columns(layers, widths, labels, arrows)
    boxes = {
        key: Box(columns.center(cell.rank) - sizes[key][0] / 2, cell.y - sizes[key][1] / 2,
                 *sizes[key])
        for key, cell in layers.nodes.items()
    }  # fmt: skip
    attached = _boundary_events(element, boxes)
    drawn = [_shape(nodes[key], box, inner[key]) for key, box in boxes.items()]
    contents = [
        move(picture, boxes[key].x + _PAD - artifacts.extent(picture).x,
              boxes[key].y + _PAD + 14 - artifacts.extent(picture).y)
        for key, picture in inner.items() if picture.shapes
    ]  # fmt: skip
    obstacles, turns = Obstacles(columns, boxes), _gateway(nodes)
    edges = [
        _edge(flows[each.id], each, columns, boxes, attached, obstacles, turns) for each in arrows
    ]
    events = [
        Shape(each, box, artifacts.boundary_event_label(each, box))
        for each, box in attached.values()
    ]
    picture = Picture(
        (*drawn, *(shape for each in contents for shape in each.shapes), *events),
        (*(edge for each in contents for edge in each.edges), *edges),
    )
    return artifacts.add(picture, element)


def _gateway(nodes: dict[str, Element]) -> Callable[[str], bool]:
    return lambda key: key in nodes and xml.local(nodes[key]) in _GATEWAYS


def move(picture: Picture, x: float, y: float) -> Picture:
    """Return the same picture at another place."""
    return Picture(
        tuple(
            replace(each, box=each.box.move(x, y), label=each.label and each.label.move(x, y))
            for each in picture.shapes
        ),
        tuple(
            replace(each, points=move_points(each.points, x, y),
                    label=each.label and each.label.move(x, y))
            for each in picture.edges
        ),
    )  # fmt: skip


def _nodes(element: Element) -> dict[str, Element]:
    kinds = ({*shapes.EVENTS} - {"boundaryEvent"}) | {*_GATEWAYS, *shapes.ACTIVITIES}
    found = [each for each in element if xml.is_bpmn(each) and xml.local(each) in kinds]
    return {str(each.get("id") or f"#{number}"): each for number, each in enumerate(found)}


def _inside(element: Element) -> Picture:
    nested = xml.local(element) in shapes.SUBPROCESSES
    return scope(element) if nested else Picture((), ())


def _size(element: Element, inner: Picture) -> tuple[float, float]:
    if inner.shapes:
        box = artifacts.extent(inner)
        return max(box.width, 100.0) + 2 * _PAD, box.height + 2 * _PAD + 14
    kind = xml.local(element)
    if kind in shapes.EVENTS:
        return _EVENT
    return _GATEWAY if kind in _GATEWAYS else _TASK


def _shape(element: Element, box: Box, inner: Picture) -> Shape:
    label = artifacts.gateway_label(element, box) if xml.local(element) in _GATEWAYS else None
    return Shape(element, box, label, expanded=bool(inner.shapes))


def _arrows(element: Element) -> list[Arrow]:
    """Return the flows between nodes; those of a boundary event leave its activity, lower."""
    nodes = _nodes(element)
    hosts = {
        str(each.get("id")): str(each.get("attachedToRef"))
        for each in xml.children(element, "boundaryEvent")
    }
    found = []
    for each in xml.children(element, "sequenceFlow"):
        source, target = str(each.get("sourceRef")), str(each.get("targetRef"))
        host = hosts.get(source, source)
        if host in nodes and target in nodes and each.get("id"):
            drop = 130.0 if source in hosts else 0.0
            found.append(Arrow(str(each.get("id")), host, target, drop))
    return found


def _layers(
    element: Element, nodes: dict[str, Element], sizes: dict[str, tuple[float, float]],
    arrows: list[Arrow],
) -> Layers:  # fmt: skip
    if not sizes:
        sizes = {key: _size(each, _inside(each)) for key, each in nodes.items()}
    hosts = {str(each.get("attachedToRef")) for each in xml.children(element, "boundaryEvent")}
    heights = {}
    for key, (_, height) in sizes.items():
        below = xml.local(nodes[key]) not in shapes.ACTIVITIES and name_of(nodes[key])
        heights[key] = height + (_LABELLED if below or key in hosts else 0.0)
    bands = dict.fromkeys(nodes, 0)
    for number, lane in enumerate(_leaves(element)):
        members = {xml.text(each) for each in xml.children(lane, "flowNodeRef")}
        bands.update(dict.fromkeys(members & set(nodes), number))
    return assign_layers(heights, bands, arrows)


def _boundary_events(element: Element, boxes: dict[str, Box]) -> dict[str, tuple[Element, Box]]:
    """Place the boundary events on the lower sides of their activities, from the right."""
    found: dict[str, tuple[Element, Box]] = {}
    taken: dict[str, int] = {}
    for each in xml.children(element, "boundaryEvent"):
        host = str(each.get("attachedToRef"))
        if host not in boxes:
            continue
        place = taken.get(host, 0)
        taken[host] = place + 1
        box = boxes[host]
        x = max(box.right - 38 - 48 * place, box.x - 18)
        found[str(each.get("id"))] = each, Box(x, box.bottom - 18, *_EVENT)
    return found


def _edge(
    flow: Element, arrow: Arrow, columns: Columns, boxes: dict[str, Box],
    attached: dict[str, tuple[Element, Box]], obstacles: Obstacles, turns: Callable[[str], bool],
) -> Edge:  # fmt: skip
    event = attached.get(str(flow.get("sourceRef")))
    start = None if event is None else Point(event[1].center.x, event[1].bottom)

    points = route(arrow, columns, boxes, start, obstacles.free, turns)
    return Edge(flow, points, artifacts.edge_label(flow, points))
