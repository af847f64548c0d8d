"""Read call activities, and find the processes that they call: in the file or beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mlkit.bpmn.definition.model import Call
from mlkit.bpmn.definition.parser import data, xml
from mlkit.bpmn.definition.parser.reader import Reader
from mlkit.bpmn.definition.parser.xml import Element
from mlkit.bpmn.expressions import Expression

Mapping = tuple[tuple[str, Expression], ...]
CALLABLE = {
    "process", "globalTask", "globalScriptTask", "globalUserTask", "globalManualTask",
    "globalBusinessRuleTask",
}  # fmt: skip


def read(reader: Reader, element: Element) -> dict[str, Any]:
    """Read the fields of a call activity."""
    zeebe = xml.extension(element, "calledElement")
    wanted = str((None if zeebe is None else zeebe.get("processId")) or "")
    wanted = wanted or str(element.get("calledElement") or "")
    if not wanted:
        reader.problem("call.missing", element, "no process is chosen")
    elif wanted.startswith("=") or "{" in wanted:
        chosen = reader.value(wanted, element)
        if chosen is not None:
            call = _call(reader, element, "", zeebe)
            return {"work": replace(call, chosen=chosen, choices=_choices(reader, element))}
    else:
        process = _place(reader, element, wanted.rpartition(":")[2])
        if process is not None:
            return {"work": _call(reader, element, process, zeebe)}
    return {}


def _place(reader: Reader, element: Element, wanted: str) -> str | None:
    """Return the name under which a process will be found among all that are called."""
    own = reader.declared.get(wanted)
    if own is not None and xml.local(own) in CALLABLE:
        reader.calls.add(reader.name(wanted))
        return reader.name(wanted)
    files = reader.library.files_with(wanted)
    if len(files) == 1:
        reader.library.wanted.append(files[0])
        return f"{files[0]}#{wanted}"
    problem = f"several files beside it have {wanted!r}: {', '.join(files)}"
    if not files:
        problem = f"there is no process {wanted!r} in this file or in one beside it"
    reader.problem("call.missing", element, problem)
    return None


def _choices(reader: Reader, element: Element) -> dict[str, str]:
    """Return where each process lies that an expression may choose: in the file or beside it."""
    caller = next((each for each in element.iterancestors() if xml.local(each) == "process"), None)
    found = {}
    for name, other in reader.declared.items():
        if xml.local(other) in CALLABLE and other is not caller:
            found[name] = reader.name(name)
    reader.calls.update(found.values())
    beside: dict[str, list[str]] = {}
    for file, name in reader.library.callable_beside():
        beside.setdefault(name, []).append(file)
    for name, files in beside.items():
        if name not in found and len(files) == 1:
            found[name] = f"{files[0]}#{name}"
            reader.library.wanted.append(files[0])
    return found


def _call(reader: Reader, element: Element, process: str, zeebe: Element | None) -> Call:
    if zeebe is not None or reader.zeebe:
        return _zeebe(reader, element, process, zeebe)
    inputs, all_in = _mappings(reader, element, "in")
    outputs, all_out = _mappings(reader, element, "out")
    if reader.camunda:
        local = all_in and _is_local(element)
        all_in = (all_in and not local) or xml.vendor(element, "inheritVariables") == "true"
        return Call(process, inputs, outputs, all_in, all_out, local, reader.maps_after_error)
    return Call(process, inputs, outputs, True, True)


def _is_local(element: Element) -> bool:
    """Return whether only the variables of the call activity itself are meant by all."""
    everything = [e for e in xml.extensions(element, "in") if e.get("variables") == "all"]
    return all(each.get("local") == "true" for each in everything)


def _zeebe(reader: Reader, element: Element, process: str, zeebe: Element | None) -> Call:
    all_in = zeebe is None or zeebe.get("propagateAllParentVariables") != "false"
    all_out = zeebe is None or zeebe.get("propagateAllChildVariables") != "false"
    given = () if all_in else data.mappings(reader, element, "input")
    inputs = tuple((name, data.variable(name)) for name, _ in given)
    returned = data.mappings(reader, element, "output")
    return Call(process, inputs, (), all_in, all_out or bool(returned))


def payload(reader: Reader, event: Element) -> Mapping:
    """Read the variables that a thrown signal carries, as Camunda's `in` elements name them."""
    found: Mapping = ()
    for each in xml.children(event, "signalEventDefinition"):
        inputs, everything = _mappings(reader, each, "in")
        found += inputs
        if everything:
            message = "a signal carries single variables: name each"
            reader.problem("signal.mapping", event, message)
    return found


def _mappings(reader: Reader, element: Element, kind: str) -> tuple[Mapping, bool]:
    """Read `in` or `out` elements: the single variables, and whether all are meant."""
    result: list[tuple[str, Expression]] = []
    everything = False
    for each in xml.extensions(element, kind):
        source, expression = each.get("source"), each.get("sourceExpression")
        target = str(each.get("target") or "")
        if each.get("variables") == "all":
            everything = True
        elif source and target:
            result.append((target, data.variable(str(source), xml.line(each))))
        elif expression and target:
            value = reader.value(str(expression), each)
            result += [] if value is None else [(target, value)]
        elif each.get("businessKey") is None:
            reader.problem("call.mapping", element, f"{kind}: it needs a source and a target")
        elif "processBusinessKey" not in str(each.get("businessKey")):
            reader.warn(
                "call.key", element, "the called process has the business key of its caller"
            )
    return tuple(result), everything
