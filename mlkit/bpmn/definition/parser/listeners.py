"""Read the listeners of vendors: what is evaluated or done as a node or a task goes on."""

from __future__ import annotations

from collections.abc import Iterator

from mlkit.bpmn.definition.model import Callable, Listener, Script
from mlkit.bpmn.definition.parser import scripts, xml
from mlkit.bpmn.definition.parser.reader import Reader
from mlkit.bpmn.definition.parser.xml import Element
from mlkit.bpmn.expressions import Expression

_EVENTS = {
    "executionListener": ("start", "end", "take"),
    "taskListener": ("create", "assignment", "complete", "delete"),
}


# At these moments a token can wait for what a worker does.
_WORKED = ("start", "end", "take", "create", "complete")


def read(reader: Reader, element: Element) -> tuple[Listener, ...]:
    """Read the listeners of a process, flow node or flow; one that cannot be run is a problem."""
    return tuple(_all(reader, element))


def _all(reader: Reader, element: Element) -> Iterator[Listener]:
    for kind, events in _EVENTS.items():
        for each in xml.extensions(element, kind):
            event = str(each.get("event") or ("take" if kind == "executionListener" else "all"))
            wanted = events if event == "all" and kind == "taskListener" else (event,)
            if not set(wanted) <= set(events):
                message = f"{kind} {event!r}: listeners are run at {', '.join(events)}"
                reader.problem("listener.code", element, message)
                continue
            yield from _one(reader, element, each, wanted)


def _one(
    reader: Reader, element: Element, listener: Element, events: tuple[str, ...]
) -> Iterator[Listener]:
    of_task = xml.local(listener) == "taskListener"
    expression, work = _expression(reader, listener), None
    if expression is None:
        work = _work(reader, listener)
        if work is None:
            reader.problem("listener.code", element, f"{events[0]!r}: the listener does nothing")
            return
    problem = _unheard(element, events) if work is None else _explain_misplacement(element, events)
    if problem:
        reader.problem("listener.code", element, problem)
        return
    yield from (Listener(name, expression, of_task, work) for name in events)


def _explain_misplacement(element: Element, events: tuple[str, ...]) -> str:
    """Return why a listener that a worker runs cannot be where it is; empty where it can."""
    late = [each for each in events if each not in _WORKED]
    if late:
        advice = "use an expression or JavaScript"
        return f"{late[0]!r}: a task does not wait for callables and scripts: {advice}"
    return _unheard(element, events)


def _unheard(element: Element, events: tuple[str, ...]) -> str:
    """Return why nothing comes to a listener where it is; empty where something does."""
    kind = xml.local(element)
    if kind == "sequenceFlow" and events[0] != "take":
        return f"{events[0]!r}: a sequence flow knows only 'take'"
    if kind != "sequenceFlow" and events[0] == "take":
        return "'take': only a sequence flow is taken"
    if kind == "eventBasedGateway" and "end" in events:
        return "'end': listeners of an event gateway are run at 'start'"
    return ""


def _expression(reader: Reader, listener: Element) -> Expression | None:
    """Read what the engine evaluates: an expression, or a script in JavaScript or JUEL."""
    written = listener.get("expression")
    if written:
        return reader.value(str(written), listener)
    script = _script(listener)
    if script is None or scripts.format_of(script) not in ("javascript", "juel"):
        return None
    source = scripts.source(reader, script)
    return None if source is None else reader.expression(source, script, plain="python")


def _work(reader: Reader, listener: Element) -> Script | Callable | None:
    """Read what a worker does: a script in Python or R, or a callable."""
    script = _script(listener)
    if script is not None:
        program, source = scripts.program(reader, script), scripts.source(reader, script)
        return None if program is None or source is None else Script(program, source)
    name = listener.get("class") or listener.get("delegateExpression")
    return None if name is None else Callable(scripts.plain_name(str(name)))


def _script(listener: Element) -> Element | None:
    return next((each for each in listener if xml.local(each) == "script"), None)
