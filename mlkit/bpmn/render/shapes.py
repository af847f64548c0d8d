"""Draw flow nodes, pools, lanes, data and artifacts."""

from __future__ import annotations

from collections.abc import Callable

from mlkit.bpmn.definition.parser import xml
from mlkit.bpmn.definition.parser.xml import Element
from mlkit.bpmn.render import icons, symbols, text_measurement
from mlkit.bpmn.render.drawing import Drawing, number, polygon
from mlkit.bpmn.render.picture import Box, Shape, name_of

BAND = 30.0
_HEAD = 24.0  # what the icon of a task takes
SUBPROCESSES = ("subProcess", "transaction", "adHocSubProcess")
COLLAPSIBLE = (*SUBPROCESSES, "callActivity")
ACTIVITIES = (*icons.TASKS, "task", "globalTask", "callActivity", *SUBPROCESSES)
EVENTS = (
    "startEvent",
    "intermediateCatchEvent",
    "boundaryEvent",
    "intermediateThrowEvent",
    "endEvent",
)
_CONTAINERS = ("participant", "lane", "group")
_THROWING = ("intermediateThrowEvent", "endEvent")
_DOUBLE = ("intermediateCatchEvent", "boundaryEvent", "intermediateThrowEvent")


def is_container(shape: Shape) -> bool:
    """Return whether a shape has others inside it: a pool, a lane, an activity that is open."""
    kind = xml.local(shape.element)
    return kind in _CONTAINERS or (kind in COLLAPSIBLE and shape.expanded)


def draw(drawing: Drawing, shape: Shape) -> None:
    """Draw a shape with its label; what has no symbol of its own is a box with its name."""
    kind = xml.local(shape.element)
    DRAWERS.get(kind, _box)(drawing, shape)


def event_symbol(element: Element) -> str:
    """Return what an event waits for or throws: `none`, `timer`, ..., `parallelMultiple`."""
    kinds = [xml.local(each) for each in element if xml.is_bpmn(each)]
    found = [each for each in kinds if each.endswith(("EventDefinition", "eventDefinitionRef"))]
    if len(found) > 1:
        return "parallelMultiple" if element.get("parallelMultiple") == "true" else "multiple"
    if found and found[0] == "eventDefinitionRef":
        return _find_referenced(element)
    return found[0].removesuffix("EventDefinition") if found else "none"


def _find_referenced(element: Element) -> str:
    wanted = xml.text(xml.child(element, "eventDefinitionRef")).rpartition(":")[2]
    root = element.getroottree().getroot()
    kinds = (xml.local(each) for each in root if each.get("id") == wanted)
    return next(kinds, "none").removesuffix("EventDefinition")


def interrupts(element: Element) -> bool:
    """Return whether an event's circle is closed rather than dashed."""
    return "false" not in (element.get("cancelActivity"), element.get("isInterrupting"))


def external_label(shape: Shape) -> Box:
    """Return the place of a label outside of its shape."""
    if shape.label is None:
        room = text_measurement.room(label_of(shape.element))
        return Box(shape.box.center.x - room / 2, shape.box.bottom + 6, room, 14)
    label = shape.label
    room = max(label.width, text_measurement.room(label_of(shape.element)))
    return Box(label.center.x - room / 2, label.y, room, label.height)


def label_of(element: Element) -> str:
    """Return a label that is outside of its shape; data have their state below their name."""
    state = xml.child(element, "dataState")
    found = name_of(element), "" if state is None else f"[{name_of(state)}]"
    return "\n".join(each for each in found if each not in ("", "[]"))


def _outside(drawing: Drawing, shape: Shape) -> None:
    if name := label_of(shape.element):
        text_measurement.outside(drawing, name, external_label(shape))


def _event(drawing: Drawing, shape: Shape) -> None:
    element, kind = shape.element, xml.local(shape.element)
    dashes = {} if interrupts(element) else {"stroke_dasharray": "5 3.5"}
    radius = min(shape.box.width, shape.box.height) / 2
    scale = radius / 18
    drawing.circle(shape.box.center, radius, 4 if kind == "endEvent" else 1.6, **dashes)
    if kind in _DOUBLE:
        drawing.circle(shape.box.center, radius - 3 * scale, 1.6, **dashes)
    name = event_symbol(element)
    symbol = symbols.EVENTS.get(name)
    if symbol is not None:
        at = shape.box.center
        field = drawing.move(at.x - radius, at.y - radius, scale, name)
        symbol(field, kind in _THROWING)
    _outside(drawing, shape)


def _gateway(drawing: Drawing, shape: Shape) -> None:
    box, kind, element = shape.box, xml.local(shape.element), shape.element
    x, y = box.center
    drawing.path(polygon((x, box.y), (box.right, y), (x, box.bottom), (box.x, y)))
    scale = min(box.width, box.height) / 50
    both = element.get("eventGatewayType") == "Parallel"
    shown = kind != "exclusiveGateway" or shape.marked
    name = (f"{kind}:parallel" if both else kind) if shown else ""
    field = drawing.move(x - 18 * scale, y - 18 * scale, scale, name)
    if kind == "eventBasedGateway":
        symbols.event_based(field, element.get("instantiate") == "true", both)
    elif shown:
        symbols.GATEWAYS[kind](field)
    _outside(drawing, shape)


def _activity(drawing: Drawing, shape: Shape) -> None:
    element, box, kind = shape.element, shape.box, xml.local(shape.element)
    triggered = element.get("triggeredByEvent") == "true"
    dashes = {"stroke_dasharray": "1.5 4", "stroke_linecap": "round"} if triggered else {}
    drawing.rectangle(box, 4.5 if kind == "callActivity" else 2, 10, **dashes)
    if kind == "transaction":
        drawing.rectangle(
            Box(box.x + 3.5, box.y + 3.5, box.width - 7, box.height - 7), 1.5, 7, fill="none"
        )
    called = _find_called_task(element) if kind == "callActivity" else ""
    icon = icons.TASKS.get(called or kind)
    if icon is not None:
        icon(drawing.move(box.x + 6, box.y + 6, symbol=called or kind))
    closed = kind in COLLAPSIBLE and not shape.expanded and not called
    icons.draw_markers(drawing, icons.markers_of(element, not closed), box)
    if is_container(shape):
        text_measurement.topmost(drawing, name_of(element), box.move(0, 8))
    else:
        text_measurement.draw_centred(drawing, name_of(element), box, _HEAD if icon else 0.0)


def _find_called_task(element: Element) -> str:
    """Return as which task a call of a global task is drawn, empty for any other call."""
    wanted = str(element.get("calledElement") or "").rpartition(":")[2]
    root = element.getroottree().getroot()
    kinds = (xml.local(each) for each in root if wanted and each.get("id") == wanted)
    kind = next((each for each in kinds if each.startswith("global")), "")
    return f"{kind[6:7].lower()}{kind[7:]}"


def _participant(drawing: Drawing, shape: Shape) -> None:
    box, element = shape.box, shape.element
    drawing.rectangle(box)
    if element.get("processRef") is None or not shape.expanded:
        text_measurement.draw_centred(drawing, name_of(element), box)
    else:
        _band(drawing, shape)
    if xml.child(element, "participantMultiplicity") is not None:
        icons.draw_markers(drawing, ["parallel"], box)


def _band(drawing: Drawing, shape: Shape) -> None:
    box = shape.box
    if shape.horizontal:
        drawing.line(f"M{number(box.x + BAND)} {number(box.y)}V{number(box.bottom)}")
        text_measurement.upwards(
            drawing, name_of(shape.element), Box(box.x, box.y, BAND, box.height)
        )
    else:
        drawing.line(f"M{number(box.x)} {number(box.y + BAND)}H{number(box.right)}")
        text_measurement.draw_centred(
            drawing, name_of(shape.element), Box(box.x, box.y, box.width, BAND)
        )


def _lane(drawing: Drawing, shape: Shape) -> None:
    drawing.rectangle(shape.box, 1.5, fill_opacity="0.4")
    box = shape.box
    if shape.horizontal:
        text_measurement.upwards(
            drawing, name_of(shape.element), Box(box.x, box.y, BAND, box.height)
        )
    else:
        text_measurement.draw_centred(
            drawing, name_of(shape.element), Box(box.x, box.y, box.width, BAND)
        )


def _data_object(drawing: Drawing, shape: Shape) -> None:
    x, y, w, h = shape.box
    fold = min(w, h) * 0.28
    sheet = polygon((x, y), (x + w - fold, y), (x + w, y + fold), (x + w, y + h), (x, y + h))
    drawing.path(sheet)
    corner = f"M{number(x + w - fold)} {number(y)}v{number(fold)}h{number(fold)}"
    drawing.line(corner, 1.5)
    kind = xml.local(shape.element)
    if kind in ("dataInput", "dataOutput"):
        arrow = symbols.EVENTS["link"]
        arrow(drawing.move(x - 3, y - 3, 0.6, kind), kind == "dataOutput")
    if _is_collection(shape.element):
        icons.draw_markers(drawing, ["parallel"], shape.box)
    _outside(drawing, shape)


def _is_collection(element: Element) -> bool:
    reference = element.get("dataObjectRef")
    root = element.getroottree().getroot()
    found = [element]
    if reference:
        found += [each for each in root.iter(f"{{{xml.BPMN}}}dataObject")
                  if each.get("id") == reference]  # fmt: skip
    return any(each.get("isCollection") == "true" for each in found)


def _data_store(drawing: Drawing, shape: Shape) -> None:
    x, y, w, h = shape.box
    lid = h * 0.14
    bow = f"a{number(w / 2)} {number(lid)} 0 0 0 {number(w)} 0"
    top = f"M{number(x)} {number(y + lid)}"
    outline = f"{top}a{number(w / 2)} {number(lid)} 0 0 1 {number(w)} 0v{number(h - 2 * lid)}"
    drawing.path(outline + f"a{number(w / 2)} {number(lid)} 0 0 1 {number(-w)} 0Z")
    for step in (0, 0.1, 0.2):
        drawing.line(f"M{number(x)} {number(y + lid + step * h)}{bow}", 1.5)
    _outside(drawing, shape)


def _annotation(drawing: Drawing, shape: Shape) -> None:
    box = shape.box
    bracket = f"M{number(box.x + 10)} {number(box.y)}H{number(box.x)}V{number(box.bottom)}h10"
    drawing.line(bracket, 1.5)
    text = xml.text(xml.child(shape.element, "text"))
    text_measurement.leftmost(drawing, text, box, text_measurement.SIZE)


def _group(drawing: Drawing, shape: Shape) -> None:
    drawing.rectangle(shape.box, 1.5, 10, fill="none", stroke_dasharray="10 6 1 6")
    wanted = str(shape.element.get("categoryValueRef") or "").rpartition(":")[2]
    root = shape.element.getroottree().getroot()
    for each in root.iter(f"{{{xml.BPMN}}}categoryValue"):
        if wanted and each.get("id") == wanted:
            where = shape.label or Box(shape.box.x, shape.box.y - 16, shape.box.width, 14)
            text_measurement.topmost(drawing, str(each.get("value") or ""), where)


def _box(drawing: Drawing, shape: Shape) -> None:
    drawing.rectangle(shape.box)
    text_measurement.draw_centred(drawing, name_of(shape.element), shape.box)


DRAWERS: dict[str, Callable[[Drawing, Shape], None]] = {
    **dict.fromkeys(EVENTS, _event),
    **dict.fromkeys((*symbols.GATEWAYS, "eventBasedGateway"), _gateway),
    **dict.fromkeys(ACTIVITIES, _activity),
    **dict.fromkeys(("dataObjectReference", "dataInput", "dataOutput"), _data_object),
    "dataStoreReference": _data_store,
    "textAnnotation": _annotation,
    "participant": _participant,
    "lane": _lane,
    "group": _group,
}
