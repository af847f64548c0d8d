"""Draw a picture with the characters of a terminal."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping

from mlkit.bpmn.definition.parser import xml
from mlkit.bpmn.render import shapes
from mlkit.bpmn.render.page import extent
from mlkit.bpmn.render.picture import Edge, Picture, Point, Shape, name_of
from mlkit.bpmn.render.progress import Progress

COLUMN, ROW = 7.0, 16.0
_NORTH, _EAST, _SOUTH, _WEST = 1, 2, 4, 8
_LINES = " ╵╶└╷│┌├╴┘─┴┐┤┬┼"
_SIGNS = {"done": "✔", "running": "▶", "waiting": "…", "failed": "✘", "ended": "■"}
_EVENT_SIGNS = {
    "none": "", "message": "✉", "timer": "◷", "error": "↯", "escalation": "▲", "signal": "△",
    "conditional": "≡", "compensate": "«", "link": "→", "cancel": "✕", "terminate": "●",
    "multiple": "⬠", "parallelMultiple": "+",
}  # fmt: skip
_GATEWAY_SIGNS = {
    "exclusiveGateway": "✕", "parallelGateway": "+", "inclusiveGateway": "○",
    "eventBasedGateway": "⬠", "complexGateway": "*",
}  # fmt: skip
MOST_CELLS = 4_000_000
Run = tuple[str, str]
Cell = tuple[int, int]
Place = Callable[[Point], Cell]


class Sheet:
    """Cells with a character and the state that colours it."""

    def __init__(self, columns: int, rows: int) -> None:
        self.cells = [[" "] * columns for _ in range(rows)]
        self.states = [[""] * columns for _ in range(rows)]
        self.lines: dict[Cell, int] = {}

    def put(self, column: int, row: int, text: str, state: str = "") -> None:
        """Write text; what is outside is cut."""
        for place, character in enumerate(text, column):
            if 0 <= row < len(self.cells) and 0 <= place < len(self.cells[0]):
                self.cells[row][place] = character
                self.states[row][place] = state

    def join(self, column: int, row: int, ways: int, state: str = "") -> None:
        """Add lines to a cell; together with those that are there they give its character."""
        ways |= self.lines.get((column, row), 0)
        self.lines[column, row] = ways
        self.put(column, row, _LINES[ways], state)

    def line(self, start: Cell, end: Cell) -> None:
        """Draw a level line, then an upright one."""
        (x, y), (u, v) = start, end
        for each in range(min(x, u), max(x, u)):
            self.join(each, y, _EAST)
            self.join(each + 1, y, _WEST)
        for each in range(min(y, v), max(y, v)):
            self.join(u, each, _SOUTH)
            self.join(u, each + 1, _NORTH)

    def frame(self, left: int, top: int, right: int, bottom: int, state: str, clear: bool) -> None:
        """Draw a rectangle; `clear` empties it first."""
        for row in range(top, bottom + 1) if clear else ():
            for column in range(left, right + 1):
                self.lines.pop((column, row), None)
                self.put(column, row, " ")
        corners = ((left, top, "╭"), (right, top, "╮"), (left, bottom, "╰"), (right, bottom, "╯"))
        for column in range(left + 1, right):
            self.put(column, top, "─", state)
            self.put(column, bottom, "─", state)
        for row in range(top + 1, bottom):
            self.put(left, row, "│", state)
            self.put(right, row, "│", state)
        for column, row, corner in corners:
            self.put(column, row, corner, state)

    def runs(self) -> list[list[Run]]:
        """Return each line as pieces of one state each, without blanks at its end."""
        found = []
        for cells, states in zip(self.cells, self.states, strict=True):
            # The second cell of a wide character is empty.
            width = max((at for at, each in enumerate(cells, 1) if each.strip()), default=0)
            found.append(list(_group(cells[:width], states)))
        return found


def _group(cells: list[str], states: list[str]) -> Iterable[Run]:
    start = 0
    for place in range(1, len(cells) + 1):
        if place == len(cells) or states[place] != states[start]:
            yield "".join(cells[start:place]), states[start]
            start = place


def text(picture: Picture, progress: Mapping[str, Progress] | None = None) -> list[list[Run]]:
    """Draw a picture as lines of (text, state) pieces; the state is empty without an instance."""
    known, area = progress or {}, extent(picture)
    columns, rows = int(area.width / COLUMN) + 2, int(area.height / ROW) + 2
    if columns * rows > MOST_CELLS:
        return outline(picture, known)
    sheet = Sheet(columns, rows)

    def place(point: Point) -> Cell:
        return round((point.x - area.x) / COLUMN), round((point.y - area.y) / ROW)

    for each in picture.shapes:
        if shapes.is_container(each):
            _container(sheet, each, place(_corner(each)), place(_far(each)), known)
    _edges(sheet, picture, place)
    for each in picture.shapes:
        if not shapes.is_container(each):
            _node(sheet, each, place, known)
    lines = sheet.runs()
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    return lines


def outline(picture: Picture, progress: Mapping[str, Progress]) -> list[list[Run]]:
    """List the flow nodes from left to right, with what follows each, for narrow terminals."""
    names = {str(s.element.get("id")): _label(s) for s in picture.shapes}
    found = []
    for shape in sorted(picture.shapes, key=lambda each: (each.box.x, each.box.y)):
        kind = xml.local(shape.element)
        if kind not in (*shapes.EVENTS, *shapes.ACTIVITIES, *_GATEWAY_SIGNS):
            continue
        state = _state(shape, progress)
        line = [(f"{_sign(state)} {_label(shape)}", state)]
        own = shape.element.get("id")
        for edge in picture.edges:
            if edge.element.get("sourceRef") == own:
                target = names.get(str(edge.element.get("targetRef")), "")
                by = f" {name_of(edge.element)}:" if name_of(edge.element) else ""
                line.append((f" →{by} {target}", ""))
        found.append(line)
    return found


def _label(shape: Shape) -> str:
    return name_of(shape.element) or str(shape.element.get("id"))


def _state(shape: Shape, progress: Mapping[str, Progress]) -> str:
    found = progress.get(str(shape.element.get("id")))
    return found.state if found else ""


def _sign(state: str) -> str:
    return _SIGNS.get(state, "·")


def _corner(shape: Shape) -> Point:
    return Point(shape.box.x, shape.box.y)


def _far(shape: Shape) -> Point:
    return Point(shape.box.right, shape.box.bottom)


def _container(
    sheet: Sheet, shape: Shape, start: Cell, end: Cell,
    known: Mapping[str, Progress],
) -> None:  # fmt: skip
    state = _state(shape, known)
    sheet.frame(*start, *end, state, clear=False)
    sheet.put(start[0] + 2, start[1], f" {_title(shape, known)} ", state)


def _title(shape: Shape, known: Mapping[str, Progress]) -> str:
    """Return a shape's name with the sign of its state."""
    state = _state(shape, known)
    return f"{_sign(state)} {name_of(shape.element)}".strip() if state else name_of(shape.element)


def _is_small(shape: Shape) -> bool:
    """Return whether a shape is three characters wide, however large its box is."""
    kind = xml.local(shape.element)
    return kind in shapes.EVENTS or kind in _GATEWAY_SIGNS


def _ends(edge: Edge, small: Mapping[str, Point], place: Place) -> list[Cell | None]:
    """Return the cells of an edge's source and target where these are small."""
    found = [small.get(str(edge.element.get(each))) for each in ("sourceRef", "targetRef")]
    return [None if each is None else place(each) for each in found]


def _edges(sheet: Sheet, picture: Picture, place: Place) -> None:
    """Draw all edges, and then their labels: a line may pass where a label is."""
    small = {str(s.element.get("id")): s.box.center for s in picture.shapes if _is_small(s)}
    drawn = [
        (edge, _edge(sheet, edge, list(map(place, edge.points)), *_ends(edge, small, place)))
        for edge in picture.edges
    ]
    for edge, points in drawn:
        if name := name_of(edge.element):
            _name(sheet, name, points)


def _edge(
    sheet: Sheet, edge: Edge, points: list[Cell], source: Cell | None, target: Cell | None
) -> list[Cell]:
    """Draw an edge without its label; return the cells at which it bends."""
    if source is not None:
        points = [source, *points[1:]]
    if target is not None:
        points = [*points[:-1], target]
    for start, end in itertools.pairwise(points):
        sheet.line(start, end)
    (x, y), (u, v) = points[-2], points[-1]
    if abs(u - x) >= abs(v - y):
        reach = 1 if target is None else 2
        tip, at = ("▶", (u - reach, v)) if u >= x else ("◀", (u + reach, v))
    else:
        tip, at = ("▼", (u, v - 1)) if v > y else ("▲", (u, v + 1))
    if not xml.local(edge.element).endswith("ssociation"):
        sheet.put(*at, tip)
    return points


def _name(sheet: Sheet, name: str, points: list[Cell]) -> None:
    """Write an edge's label into its longest level part, or beside its longest upright one."""
    parts = list(itertools.pairwise(points))
    (x, y), (u, _) = max(parts, key=lambda each: abs(each[0][0] - each[1][0]))
    if abs(u - x) > len(name) + 2:
        sheet.put(max((x + u - len(name)) // 2, min(x, u) + 1), y, name)
    else:
        (_, y), (u, v) = max(parts, key=lambda each: abs(each[0][1] - each[1][1]))
        sheet.put(u + 2, (y + v) // 2, name)


def _node(sheet: Sheet, shape: Shape, place: Place, known: Mapping[str, Progress]) -> None:
    kind, state = xml.local(shape.element), _state(shape, known)
    x, y = place(shape.box.center)
    if kind in shapes.EVENTS or kind in _GATEWAY_SIGNS:
        sign = _round(shape.element) if kind in shapes.EVENTS else f"◇{_GATEWAY_SIGNS[kind]}◇"
        sheet.put(x - 1, y, sign, state)
        title = _title(shape, known)
        _caption(sheet, title, place(shapes.external_label(shape).center), x, y, state)
    else:
        (left, top), (right, bottom) = place(_corner(shape)), place(_far(shape))
        sheet.frame(left, top, right, bottom, state, clear=True)
        body = _wrap(_text(shape), right - left - 2, bottom - top - 1)
        for row, line in enumerate(body):
            start = (top + bottom + 1 - len(body)) // 2 + row
            sheet.put(left + 1 + (right - left - 1 - len(line)) // 2, start, line, state)
        found = known.get(str(shape.element.get("id")))
        if found is not None:
            sheet.put(left + 1, top, f" {_sign(state)} {found.text} ".replace("  ", " "), state)


def _text(shape: Shape) -> str:
    note = xml.child(shape.element, "text")
    return name_of(shape.element) if note is None else xml.text(note)


def _caption(sheet: Sheet, title: str, at: Cell, x: int, y: int, state: str) -> None:
    row = at[1] if at[1] != y else y + 1
    sheet.put(max(0, at[0] - len(title) // 2), row, title, state)


def _round(element: xml.Element) -> str:
    sign = _EVENT_SIGNS.get(shapes.event_symbol(element), "")
    ends = {"startEvent": "()", "endEvent": "⦅⦆"}.get(xml.local(element), "⟨⟩")
    return f"{ends[0]}{sign or ' '}{ends[1]}"


def _wrap(text: str, columns: int, rows: int) -> list[str]:
    """Break a label into lines of characters; what does not fit ends in an ellipsis."""
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= columns:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    lines = [each if len(each) <= columns else each[: columns - 1] + "…" for each in lines]
    if len(lines) > rows > 0:
        lines = [*lines[: rows - 1], lines[rows - 1][: columns - 1] + "…"]
    return lines
