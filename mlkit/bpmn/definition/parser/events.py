"""Read what events wait for and throw."""

from __future__ import annotations

from collections.abc import Callable

from mlkit.bpmn.definition.model import EventDefinition
from mlkit.bpmn.definition.parser import xml
from mlkit.bpmn.definition.parser.reader import Reader
from mlkit.bpmn.definition.parser.xml import Element
from mlkit.bpmn.definition.timers import READ_AT, Calendar, schedule, zone_of
from mlkit.bpmn.expressions import Expression
from mlkit.errors import BadData


def event(reader: Reader, element: Element) -> EventDefinition | None:
    """Read the event definitions inside an event; None notes a problem."""
    found = [each for each in element if xml.local(each).endswith("EventDefinition")]
    parts = [_definition(reader, each, element) for each in found]
    for each in xml.children(element, "eventDefinitionRef"):
        parts.append(read_declared(reader, xml.text(each), element))
    known = tuple(each for each in parts if each is not None)
    if len(known) < len(parts):
        return None
    if len(known) > 1:
        parallel = element.get("parallelMultiple") == "true"
        return EventDefinition("multiple", parts=known, parallel=parallel)
    return known[0] if known else EventDefinition("none")


def read_declared(reader: Reader, wanted: str, owner: Element) -> EventDefinition | None:
    """Read an event definition of the whole file; None notes a problem."""
    found = reader.declared.get(wanted.rpartition(":")[2])
    if found is None or not xml.local(found).endswith("EventDefinition"):
        reader.problem("reference.missing", owner, f"there is no event definition {wanted!r}")
        return None
    return _definition(reader, found, owner)


def _definition(reader: Reader, element: Element, owner: Element) -> EventDefinition | None:
    kind = xml.local(element).removesuffix("EventDefinition")
    read = _DEFINITIONS.get(kind)
    if read is None:
        reader.problem("event.unsupported", owner, f"{kind} events are not supported")
        return None
    return read(reader, element)


def _timer(reader: Reader, element: Element) -> EventDefinition | None:
    for kind in ("date", "duration", "cycle"):
        part = xml.child(element, f"time{kind.capitalize()}")
        if part is not None:
            source = xml.text(part)
            if not source:
                reader.problem("timer.empty", element, f"the {kind} is empty")
                return None
            expression = reader.value(source, part)
            calendar = _calendar(reader, element)
            _check_timer(reader, element, kind, expression, calendar)
            return EventDefinition("timer", timer=kind, expression=expression, calendar=calendar)
    reader.problem("timer.empty", element, "the timer has no date, duration or cycle")
    return None


def _calendar(reader: Reader, element: Element) -> Calendar:
    """Return how the timers of a process count: in its zone, with the cron of the file's vendor."""
    numbering = "spring" if reader.spring else "quartz"
    process = next(iter(element.iterancestors(f"{{{xml.BPMN}}}process")), None)
    zone = None if process is None else _zone(process)
    try:
        zone_of(str(zone or "UTC"))
    except BadData as error:
        reader.problem("timer.zone", element, error.message)
        return Calendar(cron=numbering)
    return Calendar(str(zone or "UTC"), numbering)


def _zone(process: Element) -> str | None:
    names = (f"{{{xml.MLKIT}}}{each}" for each in ("timeZone", "timezone"))
    return next((str(process.get(each)) for each in names if process.get(each)), None)


def _check_timer(
    reader: Reader, element: Element, kind: str, value: Expression | None, calendar: Calendar
) -> None:
    """Report a constant that is not a time; a computed value is checked once it is known."""
    if value is not None and value.language == "text":
        try:
            schedule(kind, value.text, READ_AT, calendar)
        except BadData as error:
            reader.problem("timer.value", element, error.message)


def message(reader: Reader, element: Element) -> EventDefinition | None:
    """Read a message event definition, or the message of a receive task."""
    if xml.local(element) == "messageEventDefinition" and _is_implemented(element):
        reader.problem(
            "event.implementation",
            element,
            "only throwing events of one message can call code: use a send task",
        )
        return None
    holder = element.getparent() if xml.local(element) == "messageEventDefinition" else element
    drawn = reader.flow_names.get("" if holder is None else str(holder.get("id")))
    if element.get("messageRef") is None and drawn:
        return EventDefinition("message", name=Expression(drawn, "text", xml.line(element)))
    waiter = element if holder is None else holder
    if element.get("messageRef") is None and xml.local(waiter) in _PLAIN_WAITS:
        # A plain wait: its own id is the name of what ends it.
        itself = Expression(str(waiter.get("id")), "text", xml.line(element))
        return EventDefinition("message", name=itself)
    name, target = reader.read_name(element, "message")
    if name is None or target is None:
        return None
    subscription = xml.extension(target, "subscription")
    key = None if subscription is None else subscription.get("correlationKey")
    if key is not None:
        expression = reader.value(str(key), target)
        keys: tuple[Expression, ...] = () if expression is None else (expression,)
    else:
        keys = _correlation(reader, target, element if holder is None else holder)
    return EventDefinition("message", name=name, keys=keys)


_PLAIN_WAITS = {"receiveTask", "intermediateCatchEvent"}
_SENDERS = {"endEvent", "intermediateThrowEvent", "sendTask"}


def _correlation(reader: Reader, message: Element, owner: Element) -> tuple[Expression, ...]:
    """Read the keys of a message out of its correlation properties, if it has any.

    A sender looks into the message; a receiver into its own data, as the process binds it.
    """
    found = []
    for name, path in _properties(reader, message).items():
        place = path if xml.local(owner) in _SENDERS else _find_binding(owner, name, path)
        if place is not None:
            found.append(reader.condition(place))
    return tuple(each for each in found if each is not None)


def _properties(reader: Reader, message: Element) -> dict[str, Element | None]:
    """Return the correlation properties of a message, by id, with their place in the message.

    They are those of the first correlation key that the message has whole, in its order;
    without one, all that name the message.
    """
    paths: dict[str, Element | None] = {}
    for name, declared in reader.declared.items():
        for each in xml.children(declared, "correlationPropertyRetrievalExpression"):
            if str(each.get("messageRef")).rpartition(":")[2] == message.get("id"):
                paths[name] = xml.child(each, "messagePath")
    for key in reader.root.iter(f"{{{xml.BPMN}}}correlationKey"):
        listed = xml.children(key, "correlationPropertyRef")
        names = [xml.text(each).rpartition(":")[2] for each in listed]
        if names and paths.keys() >= set(names):
            return {name: paths[name] for name in names}
    return paths


def _find_binding(owner: Element, wanted: str, otherwise: Element | None) -> Element | None:
    process = next(iter(owner.iterancestors(f"{{{xml.BPMN}}}process")), owner)
    for each in process.iter(f"{{{xml.BPMN}}}correlationPropertyBinding"):
        if str(each.get("correlationPropertyRef")).rpartition(":")[2] == wanted:
            return xml.child(each, "dataPath")
    return otherwise


def _is_implemented(element: Element) -> bool:
    return xml.vendor(element, "class", "topic", "delegateExpression", "expression") is not None


def _signal(reader: Reader, element: Element) -> EventDefinition | None:
    name, _ = reader.read_name(element, "signal")
    return None if name is None else EventDefinition("signal", name=name)


def _make_coded_reader(kind: str) -> Callable[[Reader, Element], EventDefinition | None]:
    def read(reader: Reader, element: Element) -> EventDefinition | None:
        wanted = element.get(f"{kind}Ref")
        if kind == "error" and reader.camunda and wanted and str(wanted) not in reader.declared:
            # Such an error is its own code.
            return _make_definition(kind, element, str(wanted), None)
        target = reader.reference(element, f"{kind}Ref", kind)
        if target is None and wanted is not None:
            return None
        code = None if target is None else target.get(f"{kind}Code") or target.get("name")
        if target is not None and _is_computed(reader, str(code)):
            reader.problem("code.dynamic", target, f"the code {code!r} must be a constant")
        text = None if target is None else xml.vendor(target, f"{kind}Message")
        message = None if target is None else reader.value(text, target)
        return _make_definition(kind, element, None if code is None else str(code), message)

    return read


def _make_definition(
    kind: str, element: Element, code: str | None, message: Expression | None
) -> EventDefinition:
    return EventDefinition(
        kind,
        code=code,
        message=message,
        code_variable=xml.vendor(element, f"{kind}CodeVariable"),
        message_variable=xml.vendor(element, f"{kind}MessageVariable"),
    )


def _is_computed(reader: Reader, code: str) -> bool:
    return "${" in code or "#{" in code or (reader.zeebe and code.startswith("="))


def _link(reader: Reader, element: Element) -> EventDefinition | None:
    name = element.get("name")
    if not name:
        reader.problem("link.unnamed", element, "the link has no name")
        return None
    return EventDefinition("link", name=Expression(str(name), "text"))


def _conditional(reader: Reader, element: Element) -> EventDefinition | None:
    condition = xml.child(element, "condition")
    if condition is None:
        reader.problem("expression.empty", element, "the event has no condition")
        return None
    expression = reader.condition(condition)
    return None if expression is None else EventDefinition("conditional", expression=expression)


def _compensate(reader: Reader, element: Element) -> EventDefinition:
    activity = reader.name(str(element.get("activityRef") or "").rpartition(":")[2])
    if element.get("waitForCompletion") == "false":
        reader.warn("compensation.wait", element, "the event waits for the compensation anyway")
    return EventDefinition("compensate", activity=activity or None)


def _terminate(reader: Reader, element: Element) -> EventDefinition:
    if xml.vendor(element, "terminateMultiInstance") == "true":
        return EventDefinition("terminate", reach="iterations")
    everything = xml.vendor(element, "terminateAll") == "true"
    return EventDefinition("terminate", reach="process" if everything else "")


error = _make_coded_reader("error")
"""Read the definition of a BPMN error; None notes a problem."""

_DEFINITIONS: dict[str, Callable[[Reader, Element], EventDefinition | None]] = {
    "timer": _timer,
    "message": message,
    "signal": _signal,
    "error": error,
    "escalation": _make_coded_reader("escalation"),
    "link": _link,
    "conditional": _conditional,
    "compensate": _compensate,
    "cancel": lambda reader, element: EventDefinition("cancel"),
    "terminate": _terminate,
}
