"""Read the listeners of vendors: expressions that are evaluated as a node or a task goes on."""

from __future__ import annotations

from collections.abc import Iterator

from mlkit.bpmn.definition.model import Listener
from mlkit.bpmn.definition.parser import xml
from mlkit.bpmn.definition.parser.reader import Reader
from mlkit.bpmn.definition.parser.xml import Element

_EVENTS = {
    "executionListener": ("start", "end", "take"),
    "taskListener": ("create", "assignment", "complete", "delete"),
}


def read(reader: Reader, element: Element) -> tuple[Listener, ...]:
    """Read the listeners of a process, flow node or flow; one that calls code is a problem."""
    return tuple(_all(reader, element))


def _all(reader: Reader, element: Element) -> Iterator[Listener]:
    for kind, events in _EVENTS.items():
        for each in xml.extensions(element, kind):
            event = str(each.get("event") or ("take" if kind == "executionListener" else "all"))
            expression = each.get("expression")
            wanted = events if event == "all" and kind == "taskListener" else (event,)
            if not expression or not set(wanted) <= set(events):
                message = f"{kind} {event!r}: only listeners with an expression are run"
                reader.problem("listener.code", element, message + f", at {', '.join(events)}")
                continue
            value = reader.value(str(expression), each)
            if value is not None:
                yield from (Listener(name, value, kind == "taskListener") for name in wanted)
