"""Read what activities do: scripts, callables, people, multi-instance, retries."""

from __future__ import annotations

from collections.abc import Callable as Function
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mlkit.bpmn.definition import retries
from mlkit.bpmn.definition.model import Callable, Computed, EventDefinition, Person, Retry, Script
from mlkit.bpmn.definition.parser import (
    calls,
    data,
    decisions,
    events,
    external,
    forms,
    loops,
    scripts,
    xml,
)
from mlkit.bpmn.definition.parser.reader import Reader
from mlkit.bpmn.definition.parser.xml import Element
from mlkit.bpmn.definition.retries import MAX_ATTEMPTS
from mlkit.bpmn.expressions import Composite, Expression
from mlkit.errors import BadData

_GENERAL = ("Exception", "RuntimeException", "Throwable")


def work(reader: Reader, element: Element, kind: str) -> dict[str, Any]:
    """Read the fields of a `FlowNode` that define what an activity of a kind does."""
    fields: dict[str, Any] = {
        "loop": loops.read(reader, element),
        "retry": _retry(reader, element),
        "inputs": (*data.mappings(reader, element, "input"), *_headers(reader, element)),
        "outputs": data.mappings(reader, element, "output"),
        **data.read_stores(reader, element),
        "skip": reader.value(xml.vendor(element, "skipExpression"), element),
        "errors": tuple(_errors(reader, element)),
        "failures": tuple(_failures(element)),
    }
    read = _KINDS.get(kind)
    return fields if read is None else {**fields, **read(reader, element)}


def _errors(reader: Reader, element: Element) -> Iterator[tuple[Expression, EventDefinition]]:
    """Read when the work of an external task counts as an error, and as which."""
    for each in xml.extensions(element, "errorEventDefinition"):
        value = reader.value(str(each.get("expression") or ""), each)
        event = events.error(reader, each)
        if value is None or event is None:
            reader.problem("error.mapping", each, "it needs an error and an expression")
        else:
            yield value, event


def _failures(element: Element) -> Iterator[tuple[str, str]]:
    """Read which exceptions count as which errors, by the last part of the exception's name.

    With their children, Java's general ones are every exception.
    """
    for each in xml.extensions(element, "mapException"):
        name = xml.text(each).rpartition(".")[2]
        every = name in _GENERAL and each.get("includeChildExceptions") == "true"
        yield "" if every else name, str(each.get("errorCode") or "")


def _headers(reader: Reader, element: Element) -> Iterator[tuple[str, Expression]]:
    """Read the headers of a zeebe task: its callable gets them as `headers`."""
    holder = xml.extension(element, "taskHeaders")
    if holder is not None:
        parts = tuple(
            (str(each.get("key")), Expression(str(each.get("value") or ""), "text", xml.line(each)))
            for each in holder
            if xml.local(each) == "header"
        )
        yield "headers", Composite("map", "map", xml.line(holder), parts)


def _script(reader: Reader, element: Element) -> dict[str, Any]:
    if xml.extension(element, "taskDefinition") is not None:
        return _service(reader, element)
    zeebe = xml.extension(element, "script")
    if zeebe is not None and zeebe.get("expression"):
        value = reader.value(str(zeebe.get("expression")), element)
        result = zeebe.get("resultVariable")
        return {"work": value and Computed(value, None if result is None else str(result))}
    program = scripts.program(reader, element)
    source = scripts.source(reader, element)
    if program is None or source is None:
        return {}
    result = xml.vendor(element, "resultVariable", "resultVariableName")
    if program == "juel":  # an expression, where vendors take it for a script
        value = reader.value(source.strip(), element)
        return {"work": value and Computed(value, result)}
    offered = external.read(reader, element)
    if offered is not None and xml.extension(element, "failedJobRetryTimeCycle") is not None:
        offered = replace(offered, retries=_retry(reader, element).attempts)
    return {"work": Script(program, source, result, offered)}


def _service(reader: Reader, element: Element) -> dict[str, Any]:
    if xml.vendor(element, "type") == "dmn":
        return decisions.flowable(reader, element)
    result = xml.vendor(element, "resultVariable", "resultVariableName")
    expression = xml.vendor(element, "expression")
    if expression is not None:
        value = reader.value(expression, element)
        return {"work": value and Computed(value, result)}
    name = _callable(element)
    if name is None:
        reader.problem("task.unbound", element, "no Python callable is named")
        return {}
    return {"work": Callable(name, result, external=external.read(reader, element))}


def calling(reader: Reader, element: Element) -> dict[str, Any] | None:
    """Read the fields of a throwing message event that calls code, as vendors have it.

    The code sends the message; the event is otherwise what a service task is. None for any other.
    """
    thrown = [each for each in element if xml.local(each).endswith("EventDefinition")]
    if [xml.local(each) for each in thrown] != ["messageEventDefinition"]:
        return None
    for place in (element, *thrown):
        if _callable(place) is not None or xml.vendor(place, "expression") is not None:
            fields = {"event": EventDefinition("none"), "retry": _retry(reader, element)}
            return {**fields, **_service(reader, place)}
    return None


def _callable(element: Element) -> str | None:
    definition = xml.extension(element, "taskDefinition")
    if definition is not None and definition.get("type"):
        return str(definition.get("type"))
    for attribute in ("topic", "class", "delegateExpression", "type"):
        name = xml.vendor(element, attribute)
        if name is not None and (attribute, name) != ("type", "external"):
            return scripts.plain_name(name)
    name = element.get("implementation")
    return None if name is None or str(name).startswith("##") else str(name)


def _send(reader: Reader, element: Element) -> dict[str, Any]:
    if _callable(element) is not None or xml.vendor(element, "expression") is not None:
        return _service(reader, element)
    return {"event": events.message(reader, element)}


def _receive(reader: Reader, element: Element) -> dict[str, Any]:
    instantiate = element.get("instantiate") == "true"
    return {"event": events.message(reader, element), "instantiate": instantiate}


def _rule(reader: Reader, element: Element) -> dict[str, Any]:
    zeebe = xml.extension(element, "calledDecision")
    decision = xml.vendor(element, "decisionRef")
    result = xml.vendor(element, "resultVariable", "resultVariableName")
    if zeebe is not None:
        decision, result = str(zeebe.get("decisionId") or ""), zeebe.get("resultVariable")
    if decision is None:
        return _service(reader, element)
    if not decision:
        reader.problem("task.decision", element, "no decision is chosen")
        return {}
    result = None if result is None else str(result)
    mapping = "" if zeebe is not None else xml.vendor(element, "mapDecisionResult") or "resultList"
    unmet, tag = decisions.binding(element), decisions.version_tag(element)
    call = decisions.read(reader, element, decision, mapping, unmet, tag)
    if call is not None:
        return {"work": Computed(call, result)}
    return {"work": Callable(decision, result, decision=True)}


def _user(reader: Reader, element: Element) -> dict[str, Any]:
    kinds = ("assignmentDefinition", "taskSchedule", "priorityDefinition")
    zeebe = [each for kind in kinds for each in xml.extensions(element, kind)]

    def read(name: str) -> Expression | None:
        found = xml.vendor(element, name)
        if found is None:
            found = next((str(each.get(name)) for each in zeebe if each.get(name)), None)
        return reader.value(found, element)

    around = (element, *element.iterancestors())
    lane = next(filter(None, (reader.groups.get(str(each.get("id"))) for each in around)), None)
    person = Person(
        assignee=read("assignee") or _resource_name(reader, element, "humanPerformer"),
        users=read("candidateUsers"),
        groups=read("candidateGroups")
        or _resource_name(reader, element, "potentialOwner")
        or (None if lane is None else Expression(lane, "text", xml.line(element))),
        due=read("dueDate"),
        priority=read("priority"),
        form=forms.read(reader, element),
        title=_title(reader, element),
        attach=_read_attachments(reader, element),
    )
    return {"work": person}


def _read_attachments(reader: Reader, element: Element) -> tuple[str, ...]:
    """Read the names of the documents of a task, separated by commas; each once."""
    listed = (each.strip() for each in (xml.vendor(element, "attach") or "").split(","))
    names = tuple(dict.fromkeys(each for each in listed if each))
    for each in names:
        if each.startswith("/") or not {"..", "."}.isdisjoint(each.split("/")):
            message = f"mlkit:attach: {each!r} is not a name inside the working folder"
            reader.problem("attach.path", element, message)
    return names


def _title(reader: Reader, element: Element) -> Expression | None:
    """Read a name that is computed; Camunda 8 shows names as they are written."""
    name = str(element.get("name") or "")
    computed = not reader.zeebe and ("${" in name or "#{" in name)
    return reader.value(name, element) if computed else None


def _resource_name(reader: Reader, element: Element, role: str) -> Expression | None:
    holder = xml.child(element, role)
    if holder is None:
        return None
    formal = next(iter(holder.iter(f"{{{xml.BPMN}}}formalExpression")), None)
    return None if formal is None else reader.value(xml.text(formal), formal)


def _retry(reader: Reader, element: Element) -> Retry:
    after_crash = element.get(f"{{{xml.MLKIT}}}retry") != "never"
    loop = xml.child(element, "multiInstanceLoopCharacteristics")
    places = (element,) if loop is None else (element, loop)
    written = (xml.extension(each, "failedJobRetryTimeCycle") for each in places)
    cycle = next((each for each in written if each is not None), None)
    if cycle is None:
        attempts = _zeebe_attempts(reader, element)
        return Retry(attempts, ("PT0S",) * (attempts - 1), after_crash)
    source = xml.text(cycle)
    if "{" in source:
        return Retry(after_crash=after_crash, cycle=reader.value(source, cycle))
    try:
        return retries.read(source, after_crash)
    except BadData as error:
        reader.problem("retry.cycle", element, f"{source!r}: {error.message}")
        return Retry(after_crash=after_crash)


def _zeebe_attempts(reader: Reader, element: Element) -> int:
    definition = xml.extension(element, "taskDefinition")
    written = None if definition is None else definition.get("retries")
    if written is None:
        return 1
    if not str(written).isdigit() or not int(written) <= MAX_ATTEMPTS:
        reader.problem("retry.cycle", element, f"retries {written!r}: no number that is known here")
        return 1
    return max(1, int(written))


_KINDS: dict[str, Function[[Reader, Element], dict[str, Any]]] = {
    "scriptTask": _script,
    "serviceTask": _service,
    "sendTask": _send,
    "receiveTask": _receive,
    "userTask": _user,
    "businessRuleTask": _rule,
    "callActivity": calls.read,
}
