"""Read what activities do: scripts, callables, people, multi-instance, retries."""

from __future__ import annotations

import re
from collections.abc import Callable as Function
from typing import Any

from mlkit.bpmn.expressions import Expression
from mlkit.bpmn.model import Callable, Computed, FormField, Loop, Person, Retry, Script
from mlkit.bpmn.parser import reader as readers
from mlkit.bpmn.parser import xml
from mlkit.bpmn.parser.reader import Reader
from mlkit.bpmn.parser.xml import Element
from mlkit.bpmn.timers import duration
from mlkit.errors import BadData

_PYTHON = ("", "python", "python3", "text/x-python", "application/x-python")
_R = ("r", "text/x-r", "application/x-r")
_FIELD_TYPES = {"string", "long", "double", "boolean", "date", "enum"}
MAX_ATTEMPTS = 1_000
_RETRY = re.compile(r"R(\d+)/(P.+)")


def work(reader: Reader, element: Element) -> dict[str, Any]:
    """Read the fields of a `FlowNode` that say what an activity does."""
    kind = xml.local(element)
    fields: dict[str, Any] = {
        "loop": _loop(reader, element),
        "retry": _retry(reader, element),
        "inputs": mappings(reader, element, "input"),
        "outputs": mappings(reader, element, "output"),
    }
    read = _KINDS.get(kind)
    return fields if read is None else {**fields, **read(reader, element)}


def _script(reader: Reader, element: Element) -> dict[str, Any]:
    zeebe = xml.extension(element, "script")
    if zeebe is not None and zeebe.get("expression"):
        value = reader.value(str(zeebe.get("expression")), element)
        result = zeebe.get("resultVariable")
        return {"work": value and Computed(value, None if result is None else str(result))}
    program = _format(reader, element)
    source = _source(reader, element)
    if program is None or source is None:
        return {}
    return {
        "work": Script(program, source, xml.vendor(element, "resultVariable", "resultVariableName"))
    }


def _format(reader: Reader, element: Element) -> str | None:
    written = str(element.get("scriptFormat") or "").strip().lower()
    if written in _PYTHON:
        return "python"
    if written in _R:
        return "r"
    reader.problem("script.format", element, f"scripts in {written!r} cannot be run")
    return None


def _source(reader: Reader, element: Element) -> str | None:
    resource = xml.vendor(element, "resource")
    if resource is not None:
        return _resource(reader, element, resource)
    inner = xml.child(element, "script")
    source = "" if inner is None else "".join(map(str, inner.itertext()))
    if not source.strip():
        reader.problem("script.empty", element, "the script is empty")
        return None
    return source


def _resource(reader: Reader, element: Element, resource: str) -> str | None:
    if resource not in reader.resources:
        source = reader.stored.get(resource) or _read_beside(reader, element, resource)
        if source is None:
            return None
        reader.resources[resource] = source
    return reader.resources[resource]


def _read_beside(reader: Reader, element: Element, resource: str) -> str | None:
    folder = reader.path.parent.resolve()
    path = (folder / re.sub(r"^\w+://", "", resource)).resolve()
    if not path.is_relative_to(folder):
        reader.problem("script.resource", element, f"{resource!r} is not beside the diagram")
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reader.problem("script.resource", element, f"{resource!r} cannot be read: {error}")
        return None


def _service(reader: Reader, element: Element) -> dict[str, Any]:
    result = xml.vendor(element, "resultVariable", "resultVariableName")
    expression = xml.vendor(element, "expression")
    if expression is not None:
        value = reader.value(expression, element)
        return {"work": value and Computed(value, result)}
    name = _callable(element)
    if name is None:
        reader.problem("task.unbound", element, "no Python callable is named")
        return {}
    return {"work": Callable(name, result)}


def _callable(element: Element) -> str | None:
    definition = xml.extension(element, "taskDefinition")
    if definition is not None and definition.get("type"):
        return str(definition.get("type"))
    for attribute in ("topic", "class", "delegateExpression", "type"):
        name = xml.vendor(element, attribute)
        if name is not None and (attribute, name) != ("type", "external"):
            return re.sub(r"^[$#]\{\s*(.*?)\s*\}$", r"\1", name)
    name = element.get("implementation")
    return None if name is None or str(name).startswith("##") else str(name)


def _send(reader: Reader, element: Element) -> dict[str, Any]:
    if _callable(element) is not None or xml.vendor(element, "expression") is not None:
        return _service(reader, element)
    return {"event": readers.message(reader, element)}


def _receive(reader: Reader, element: Element) -> dict[str, Any]:
    if element.get("instantiate") == "true":
        reader.problem(
            "task.instantiate", element, "instantiating receive tasks: not supported yet"
        )
    return {"event": readers.message(reader, element)}


def _user(reader: Reader, element: Element) -> dict[str, Any]:
    zeebe = xml.extension(element, "assignmentDefinition")

    def read(*names: str) -> Expression | None:
        found = xml.vendor(element, *names)
        if found is None and zeebe is not None:
            found = next((str(zeebe.get(name)) for name in names if zeebe.get(name)), None)
        return reader.value(found, element)

    lane = reader.groups.get(str(element.get("id")))
    person = Person(
        assignee=read("assignee") or _resource_name(reader, element, "humanPerformer"),
        users=read("candidateUsers"),
        groups=read("candidateGroups")
        or _resource_name(reader, element, "potentialOwner")
        or (None if lane is None else Expression(lane, "text", xml.line(element))),
        due=read("dueDate"),
        priority=read("priority"),
        form=_form(reader, element),
    )
    return {"work": person}


def _resource_name(reader: Reader, element: Element, role: str) -> Expression | None:
    holder = xml.child(element, role)
    if holder is None:
        return None
    formal = next(iter(holder.iter(f"{{{xml.BPMN}}}formalExpression")), None)
    return None if formal is None else reader.value(xml.text(formal), formal)


def _form(reader: Reader, element: Element) -> tuple[FormField, ...]:
    key = xml.vendor(element, "formKey", "formRef")
    if xml.extension(element, "formDefinition") is not None or (key or "").endswith(".form"):
        reader.problem("form.external", element, "form-js forms are not supported yet")
    elif key is not None:
        reader.warn("form.key", element, f"the form {key!r} is not shown; --set gives values")
    data = xml.extension(element, "formData")
    fields = [] if data is None else [each for each in data if xml.local(each) == "formField"]
    fields += xml.extensions(element, "formProperty")
    return tuple(_field(reader, element, each) for each in fields)


def _field(reader: Reader, task: Element, element: Element) -> FormField:
    kind = str(element.get("type") or "string")
    if kind not in _FIELD_TYPES:
        reader.problem("form.type", task, f"field {element.get('id')!r}: no type {kind!r}")
    constraints = {
        str(each.get("name")): str(each.get("config") or "")
        for each in element.iter("{*}constraint")
    }
    if "validator" in constraints:
        reader.problem("form.validator", task, "custom validators are not supported")
    default = element.get("defaultValue") or element.get("default")
    return FormField(
        id=str(element.get("id")),
        label=str(element.get("label") or element.get("name") or element.get("id")),
        type=kind,
        default=reader.value(None if default is None else str(default), element),
        required="required" in constraints or element.get("required") == "true",
        readonly="readonly" in constraints or element.get("writable") == "false",
        options={
            str(v.get("id")): str(v.get("name") or v.get("id")) for v in element.iter("{*}value")
        },
        limits=_limits(reader, task, constraints),
    )


def _limits(reader: Reader, task: Element, constraints: dict[str, str]) -> dict[str, float]:
    limits: dict[str, float] = {}
    for name in ("min", "max", "minlength", "maxlength"):
        if name in constraints:
            try:
                limits[name] = float(constraints[name])
            except ValueError:
                reader.problem(
                    "form.constraint", task, f"{name} {constraints[name]!r} is no number"
                )
    return limits


def _loop(reader: Reader, element: Element) -> Loop | None:
    if xml.child(element, "standardLoopCharacteristics") is not None:
        reader.problem("loop.standard", element, "standard loops are not supported yet")
    loop = xml.child(element, "multiInstanceLoopCharacteristics")
    if loop is None:
        return None
    for name in ("loopDataInputRef", "loopDataOutputRef", "complexBehaviorDefinition"):
        if xml.child(loop, name) is not None:
            reader.problem("loop.unsupported", loop, f"{name} is not supported yet")
    if str(loop.get("behavior") or "All") != "All":
        reader.problem("loop.unsupported", loop, "event behaviour is not supported yet")
    return _multi_instance(reader, loop)


def _multi_instance(reader: Reader, loop: Element) -> Loop:
    zeebe = xml.extension(loop, "loopCharacteristics")
    cardinality = xml.child(loop, "loopCardinality")
    completion = xml.child(loop, "completionCondition")

    def read(vendor: str, other: str) -> str | None:
        found = xml.vendor(loop, vendor)
        if found is None and zeebe is not None and zeebe.get(other):
            found = str(zeebe.get(other))
        return found

    collection = read("collection", "inputCollection")
    output = read("outputElement", "outputElement")
    result = Loop(
        sequential=loop.get("isSequential") == "true",
        cardinality=None if cardinality is None else reader.condition(cardinality),
        collection=reader.expression(collection, loop, plain="python") if collection else None,
        element=read("elementVariable", "inputElement"),
        completion=None if completion is None else reader.condition(completion),
        output_collection=read("outputCollection", "outputCollection"),
        output_element=reader.expression(output, loop, plain="python") if output else None,
    )
    if result.cardinality is None and result.collection is None:
        reader.problem("loop.size", loop, "neither a collection nor a cardinality says how many")
    return result


def _retry(reader: Reader, element: Element) -> Retry:
    after_crash = element.get(f"{{{xml.MLKIT}}}retry") != "never"
    cycle = xml.extension(element, "failedJobRetryTimeCycle")
    if cycle is None:
        attempts = _zeebe_attempts(reader, element)
        return Retry(attempts, ("PT0S",) * (attempts - 1), after_crash)
    source = xml.text(cycle)
    try:
        match = _RETRY.fullmatch(source)
        if match is not None:
            duration(match[2])
            attempts = min(max(1, int(match[1])), MAX_ATTEMPTS)
            return Retry(attempts, (match[2],) * (attempts - 1), after_crash)
        pauses = tuple(each.strip() for each in source.split(","))
        for pause in pauses:
            duration(pause)
    except BadData as error:
        reader.problem("retry.cycle", element, f"{source!r}: {error.message}")
        return Retry(after_crash=after_crash)
    return Retry(len(pauses) + 1, pauses, after_crash)


def _zeebe_attempts(reader: Reader, element: Element) -> int:
    definition = xml.extension(element, "taskDefinition")
    written = None if definition is None else definition.get("retries")
    if written is None:
        return 1
    if not str(written).isdigit() or not int(written) <= MAX_ATTEMPTS:
        reader.problem("retry.cycle", element, f"retries {written!r}: no number that is known here")
        return 1
    return max(1, int(written))


def mappings(
    reader: Reader, element: Element, direction: str
) -> tuple[tuple[str, Expression], ...]:
    """Read the input or output mappings of a node."""
    result = []
    mapping = xml.extension(element, "ioMapping")
    for each in [] if mapping is None else mapping:
        if xml.local(each) == direction:
            value = reader.value(str(each.get("source") or ""), each)
            result.append((str(each.get("target")), value))
    holder = xml.extension(element, "inputOutput")
    for each in [] if holder is None else holder:
        if xml.local(each) == f"{direction}Parameter":
            if len(each):
                reader.problem(
                    "io.nested", element, f"{each.get('name')!r}: only text is supported"
                )
                continue
            result.append((str(each.get("name")), reader.value(xml.text(each), each)))
    return tuple((name, value) for name, value in result if value is not None)


_KINDS: dict[str, Function[[Reader, Element], dict[str, Any]]] = {
    "scriptTask": _script,
    "serviceTask": _service,
    "sendTask": _send,
    "receiveTask": _receive,
    "userTask": _user,
}
