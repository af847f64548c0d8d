"""The icons of task types, on a field of 18 by 18, and the markers at an activity's foot."""

from __future__ import annotations

import math
from collections.abc import Callable

from mlkit.bpmn.definition.parser import xml
from mlkit.bpmn.definition.parser.xml import Element
from mlkit.bpmn.render.drawing import Drawing, polygon, polyline
from mlkit.bpmn.render.picture import Box, Point
from mlkit.bpmn.render.symbols import envelope

FOOT = 14.0


def user(drawing: Drawing) -> None:
    """Draw a head above shoulders."""
    drawing.path("M2 17 V13.5 C2 10.5 5 9.5 9 9.5 C13 9.5 16 10.5 16 13.5 V17 Z", 1.1)
    drawing.circle(Point(9, 5.2), 3.9, 1.1)
    drawing.solid(
        "M5.1 5 C5.1 -0.4 12.9 -0.4 12.9 5 C11 5 10 4.4 9.2 3.4 C8.2 4.6 6.6 5 5.1 5 Z", 0.6
    )
    drawing.line("M5.2 17 V13.6 M12.8 17 V13.6", 1)


def service(drawing: Drawing) -> None:
    """Draw two gear wheels, one before the other."""
    _gear(drawing, 7, 7, 6.6)
    _gear(drawing, 11, 11, 6.6)


def _gear(drawing: Drawing, x: float, y: float, radius: float) -> None:
    points = []
    for tooth in range(8):
        for offset, reach in ((-13, 0.76), (-9, 1.0), (9, 1.0), (13, 0.76)):
            angle = math.radians(tooth * 45 + offset)
            points.append(
                (x + radius * reach * math.cos(angle), y + radius * reach * math.sin(angle))
            )
    drawing.path(polygon(*points), 1)
    drawing.circle(Point(x, y), radius * 0.36, 1)


def script(drawing: Drawing) -> None:
    """Draw a curled sheet with lines."""
    sheet = "M4.5 17 C0.5 12 8.5 9.5 5 4.5 C4 3 5 1.4 6.4 1 H16 C13 3.5 13.6 5.4 15 8"
    drawing.path(sheet + " C16.6 11 15.4 14.6 12.4 17 Z", 1.1)
    for y, x in ((4.2, 6.8), (7.4, 7.2), (10.6, 6.2), (13.8, 5)):
        drawing.line(polyline((x, y), (x + 6.4, y)), 1)


def manual(drawing: Drawing) -> None:
    """Draw a hand that points to the right."""
    hand = (
        "M1 7.2 C2.2 5.6 4 3.2 5.4 2.4 H10.2 C11.8 2.4 11.8 4.8 10.2 4.8 H8.2"
        " H15.6 C17.4 4.8 17.4 7.4 15.6 7.4 H16 C17.6 7.4 17.6 9.9 16 9.9 H15.2"
        " C16.6 9.9 16.6 12.4 15.2 12.4 H13.8 C15.2 12.4 15.2 14.8 13.8 14.8 H4.6 L1 13.2 Z"
    )
    drawing.path(hand, 1.1)
    drawing.line("M10.4 7.4 H15.6 M10.4 9.9 H15.6 M10.4 12.4 H14.4", 1)


def send(drawing: Drawing) -> None:
    """Draw a full envelope."""
    envelope(drawing, Box(0.5, 2.5, 18, 12.5), True)


def receive(drawing: Drawing) -> None:
    """Draw an empty envelope."""
    envelope(drawing, Box(0.5, 2.5, 18, 12.5), False)


def business_rule(drawing: Drawing) -> None:
    """Draw a table with a head."""
    drawing.rectangle(Box(0.5, 2.5, 18, 13.5), 1)
    drawing.solid("M0.5 2.5 H18.5 V6 H0.5 Z", 1)
    drawing.line("M0.5 11 H18.5 M6 6 V16", 1)


TASKS: dict[str, Callable[[Drawing], None]] = {
    "userTask": user, "serviceTask": service, "scriptTask": script, "manualTask": manual,
    "sendTask": send, "receiveTask": receive, "businessRuleTask": business_rule,
    "globalUserTask": user, "globalScriptTask": script, "globalManualTask": manual,
    "globalBusinessRuleTask": business_rule,
}  # fmt: skip


def _loop(drawing: Drawing) -> None:
    drawing.line("M4.4 12.3 A5.6 5.6 0 1 1 9.2 12.5", 1.5)
    drawing.line("M1.2 12.7 L4.8 12.9 L5 9.4", 1.5)


def _bars(drawing: Drawing) -> None:
    drawing.line("M3 2 V12 M7 2 V12 M11 2 V12", 2.2)


def _rows(drawing: Drawing) -> None:
    drawing.line("M2 3 H12 M2 7 H12 M2 11 H12", 2.2)


def _back(drawing: Drawing) -> None:
    drawing.path(polygon((7, 2.5), (7, 11.5), (1, 7)) + polygon((13, 2.5), (13, 11.5), (7, 7)), 1.2)


def _tilde(drawing: Drawing) -> None:
    drawing.line("M1.5 9 C3.5 3.6 6 5.6 7 7 C8 8.4 10.5 10.4 12.5 5", 2)


def _plus(drawing: Drawing) -> None:
    drawing.rectangle(Box(0, 0, FOOT, FOOT), 1.3)
    drawing.line("M7 2.5 V11.5 M2.5 7 H11.5", 1.5)


MARKERS: dict[str, Callable[[Drawing], None]] = {
    "loop": _loop, "parallel": _bars, "sequential": _rows, "compensation": _back,
    "adhoc": _tilde, "collapsed": _plus,
}  # fmt: skip


def markers_of(element: Element, expanded: bool) -> list[str]:
    """Return which markers stand at the foot of an activity, from left to right."""
    found = []
    if element.get("isForCompensation") == "true":
        found.append("compensation")
    multiple = xml.child(element, "multiInstanceLoopCharacteristics")
    if multiple is not None:
        found.append("sequential" if multiple.get("isSequential") == "true" else "parallel")
    if xml.child(element, "standardLoopCharacteristics") is not None:
        found.append("loop")
    if not expanded:
        found.append("collapsed")
    if xml.local(element) == "adHocSubProcess":
        found.append("adhoc")
    return found


def draw_markers(drawing: Drawing, names: list[str], box: Box) -> None:
    """Draw markers in a row at the foot of a box."""
    room = FOOT + 4
    left = box.center.x - (len(names) * room - 4) / 2
    for place, name in enumerate(names):
        MARKERS[name](drawing.move(left + place * room, box.bottom - FOOT - 4, symbol=name))
