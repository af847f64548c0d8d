"""The symbols inside events and gateways, on a field of 36 by 36 around (18, 18)."""

from __future__ import annotations

import math
from collections.abc import Callable

from mlkit.bpmn.render.drawing import Drawing, polygon, polyline
from mlkit.bpmn.render.picture import Box, Point

CENTER = Point(18, 18)


def ring(radius: float, corners: int, turn: float = -90.0) -> list[tuple[float, float]]:
    """Return the corners of a regular polygon around the middle."""
    angles = (math.radians(turn + 360 * each / corners) for each in range(corners))
    return [(18 + radius * math.cos(each), 18 + radius * math.sin(each)) for each in angles]


def cross(arm: float, half: float) -> list[tuple[float, float]]:
    """Return the outline of a plus sign around the middle."""
    a, h = arm, half
    points = [(-h, -a), (h, -a), (h, -h), (a, -h), (a, h), (h, h)]
    points += [(h, a), (-h, a), (-h, h), (-a, h), (-a, -h), (-h, -h)]
    return [(18 + x, 18 + y) for x, y in points]


def rotate(points: list[tuple[float, float]], degrees: float) -> list[tuple[float, float]]:
    """Turn points around the middle."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [(18 + (x - 18) * c - (y - 18) * s, 18 + (x - 18) * s + (y - 18) * c) for x, y in points]


def message(drawing: Drawing, thrown: bool) -> None:
    """Draw an envelope."""
    envelope(drawing, Box(9, 12, 18, 12), thrown)


def envelope(drawing: Drawing, box: Box, filled: bool) -> None:
    """Draw an envelope that fills a box."""
    flap = polyline((box.x, box.y), (box.center.x, box.center.y + 1), (box.right, box.y))
    if filled:
        drawing.rectangle(box, 1, fill=drawing.stroke)
        drawing.line(flap, 1.3, stroke=drawing.fill)
    else:
        drawing.rectangle(box, 1.3)
        drawing.line(flap, 1.3)


def timer(drawing: Drawing, thrown: bool) -> None:
    """Draw a clock."""
    drawing.circle(CENTER, 10.5, 1.5)
    for (x, y), (u, v) in zip(ring(10.5, 12), ring(8.5, 12), strict=True):
        drawing.line(polyline((x, y), (u, v)), 1)
    drawing.line(polyline((19.5, 10.5), (18, 18), (22.5, 18)), 1.3)


def _area(*points: tuple[float, float]) -> Callable[[Drawing, bool], None]:
    commands = polygon(*points)

    def draw(drawing: Drawing, thrown: bool) -> None:
        if thrown:
            drawing.solid(commands)
        else:
            drawing.path(commands, 1.3)

    return draw


def conditional(drawing: Drawing, thrown: bool) -> None:
    """Draw a page with lines."""
    drawing.rectangle(Box(11.5, 9.5, 13, 17), 1.3)
    for y in (13, 16.3, 19.6, 22.9):
        drawing.line(polyline((13.8, y), (22.2, y)), 1.1)


def compensate(drawing: Drawing, thrown: bool) -> None:
    """Draw a double arrow back."""
    both = polygon((17, 12), (17, 24), (9, 18)) + polygon((25.5, 12), (25.5, 24), (17.5, 18))
    drawing.path(both, 1.2, fill=drawing.stroke if thrown else drawing.fill)


def terminate(drawing: Drawing, thrown: bool) -> None:
    """Draw a full circle."""
    drawing.circle(CENTER, 10, 1, fill=drawing.stroke)


EVENTS: dict[str, Callable[[Drawing, bool], None]] = {
    "message": message,
    "timer": timer,
    "error": _area((10, 26), (14.6, 10.5), (20.6, 18.4), (26, 10), (21.6, 25.6), (15.6, 18.6)),
    "escalation": _area((18, 9), (25, 26.5), (18, 20.4), (11, 26.5)),
    "signal": _area((18, 9.6), (26, 24.2), (10, 24.2)),
    "conditional": conditional,
    "compensate": compensate,
    "link": _area((9, 14.8), (19.5, 14.8), (19.5, 10.4), (27.5, 18), (19.5, 25.6),
                  (19.5, 21.2), (9, 21.2)),
    "cancel": _area(*rotate(cross(11, 2.6), 45)),
    "terminate": terminate,
    "multiple": _area(*ring(10, 5)),
    "parallelMultiple": _area(*cross(9.5, 2.6)),
}  # fmt: skip


def exclusive(drawing: Drawing) -> None:
    """Draw the cross of an exclusive gateway."""
    drawing.solid(polygon(*rotate(cross(10.5, 1.7), 45)))


def parallel(drawing: Drawing) -> None:
    """Draw the plus of a parallel gateway."""
    drawing.solid(polygon(*cross(12, 1.9)))


def inclusive(drawing: Drawing) -> None:
    """Draw the circle of an inclusive gateway."""
    drawing.circle(CENTER, 11, 2.5)


def complex_(drawing: Drawing) -> None:
    """Draw the star of a complex gateway."""
    drawing.solid(polygon(*cross(11.5, 1.5)))
    drawing.solid(polygon(*rotate(cross(10.5, 1.5), 45)))


GATEWAYS: dict[str, Callable[[Drawing], None]] = {
    "exclusiveGateway": exclusive,
    "parallelGateway": parallel,
    "inclusiveGateway": inclusive,
    "complexGateway": complex_,
}


def event_based(drawing: Drawing, instantiates: bool, all_of_them: bool) -> None:
    """Draw the event inside an event-based gateway."""
    drawing.circle(CENTER, 11, 1)
    if not instantiates:
        drawing.circle(CENTER, 9, 1)
    drawing.path(polygon(*(cross(6, 1.8) if all_of_them else ring(6, 5))), 1.2)
