"""Read a BPMN 2.0 file into definitions; what cannot be executed becomes a problem."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlkit.bpmn.model import Definitions, FlowNode, Process, Scope, SequenceFlow
from mlkit.bpmn.parser import activities, inert, xml
from mlkit.bpmn.parser.reader import Reader
from mlkit.bpmn.parser.xml import Element

__all__ = ["parse", "parse_text"]

_EVENTS = {
    "startEvent", "endEvent", "intermediateCatchEvent", "intermediateThrowEvent", "boundaryEvent",
}  # fmt: skip
_TASKS = {
    "task", "scriptTask", "serviceTask", "userTask", "manualTask", "sendTask", "receiveTask",
}  # fmt: skip
_GATEWAYS = {"exclusiveGateway", "parallelGateway", "inclusiveGateway", "eventBasedGateway"}
_INERT = {
    "documentation", "extensionElements", "laneSet", "textAnnotation", "association", "group",
    "category", "sequenceFlow", "auditing", "monitoring", "dataObject", "artifact",
}  # fmt: skip
_DRAWN_DATA = {"dataObjectReference", "dataStoreReference"}
_UNSUPPORTED = {
    "businessRuleTask", "callActivity", "transaction", "adHocSubProcess", "complexGateway",
}  # fmt: skip


def parse(path: Path) -> Definitions:
    """Read a file.

    Raises:
        InputMissing: It cannot be read.
        BadData: It is no BPMN document, or a hostile one.
    """
    root, sha256 = xml.read(path)
    return _definitions(root, path, sha256, {})


def parse_text(
    content: bytes, path: Path, resources: Mapping[str, str] | None = None
) -> Definitions:
    """Read a document that is already in memory, as if from `path`.

    Args:
        content: The XML.
        path: Where it came from, for messages and for the files beside it.
        resources: The texts of those files, where they are known already.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    return _definitions(xml.parse(content, str(path)), path, sha256, resources or {})


def _definitions(
    root: Element, path: Path, sha256: str, resources: Mapping[str, str]
) -> Definitions:
    reader = Reader(root, path, resources)
    inert.check(reader, root)
    found = xml.children(root, "process")
    processes = tuple(_process(reader, each) for each in found)
    problems = tuple(reader.problems)
    return Definitions(path.name, sha256, processes, problems, reader.resources)


def _process(reader: Reader, element: Element) -> Process:
    executable = element.get("isExecutable") != "false"
    if not executable:
        reader.warn("process.executable", element, 'isExecutable="false" is ignored')
    _read_lanes(reader, element)
    body = _scope(reader, element)
    identifier = str(element.get("id") or "")
    if not identifier:
        reader.problem("id.missing", element, "the process has no id")
    name = str(element.get("name") or identifier)
    return Process(identifier, name, executable, body, xml.line(element))


def _read_lanes(reader: Reader, process: Element) -> None:
    for lane in process.iter(f"{{{xml.BPMN}}}lane"):
        name = lane.get("name")
        for reference in xml.children(lane, "flowNodeRef"):
            if name:
                reader.groups[xml.text(reference)] = str(name)


def _scope(reader: Reader, element: Element) -> Scope:
    flows = _flows(reader, element)
    incoming, outgoing = defaultdict(list), defaultdict(list)
    for flow in flows.values():
        incoming[flow.target].append(flow.id)
        outgoing[flow.source].append(flow.id)
    nodes: dict[str, FlowNode] = {}
    for each in element:
        fields = _node(reader, each) if xml.is_bpmn(each) else None
        if fields is None:
            continue
        identifier = str(each.get("id") or "")
        if not identifier or identifier in nodes:
            reader.problem("id.missing", each, "the id is missing or taken")
            continue
        nodes[identifier] = FlowNode(
            id=identifier,
            type=xml.local(each),
            name=str(each.get("name") or ""),
            line=xml.line(each),
            incoming=tuple(incoming[identifier]),
            outgoing=tuple(outgoing[identifier]),
            default=None if each.get("default") is None else str(each.get("default")),
            **fields,
        )
    return Scope(str(element.get("id") or ""), nodes, flows)


def _flows(reader: Reader, element: Element) -> dict[str, SequenceFlow]:
    flows: dict[str, SequenceFlow] = {}
    for each in xml.children(element, "sequenceFlow"):
        condition = xml.child(each, "conditionExpression")
        identifier = str(each.get("id") or f"flow-{xml.line(each)}-{len(flows)}")
        if identifier in flows:
            reader.problem("id.missing", each, "the id is taken")
        flows[identifier] = SequenceFlow(
            id=identifier,
            source=str(each.get("sourceRef") or ""),
            target=str(each.get("targetRef") or ""),
            condition=None if condition is None else reader.condition(condition),
            line=xml.line(each),
        )
    return flows


def _node(reader: Reader, element: Element) -> dict[str, Any] | None:
    """Read the particular fields of a flow node; None for what is no flow node."""
    kind = xml.local(element)
    if kind in _INERT or kind in ("ioSpecification", "property", "standardLoopCharacteristics"):
        return None
    if kind in _DRAWN_DATA:
        reader.warn("data.drawn", element, "data is drawn only: variables carry data")
        return None
    if kind in _UNSUPPORTED or kind not in _EVENTS | _TASKS | _GATEWAYS | {"subProcess"}:
        _refuse(reader, element, kind)
        return {} if kind in _UNSUPPORTED else None
    for attribute in ("startQuantity", "completionQuantity"):
        if str(element.get(attribute) or "1") != "1":
            reader.problem("token.quantity", element, f"{attribute} is not supported yet")
    if kind in _EVENTS:
        return _event(reader, element)
    if kind in _GATEWAYS:
        return _gateway(reader, element)
    return _activity(reader, element)


# Parts of an activity, which stand among the flow nodes of a sub-process.
_PARTS = {
    "incoming", "outgoing", "multiInstanceLoopCharacteristics", "dataInputAssociation",
    "dataOutputAssociation", "resourceRole", "performer", "humanPerformer", "potentialOwner",
    "supportedInterfaceRef", "correlationSubscription",
}  # fmt: skip


def _refuse(reader: Reader, element: Element, kind: str) -> None:
    if kind not in _PARTS:
        reader.problem("element.unsupported", element, f"{kind} is not supported yet")


def _event(reader: Reader, element: Element) -> dict[str, Any]:
    attached = element.get("attachedToRef")
    passive = "cancelActivity" if xml.local(element) == "boundaryEvent" else "isInterrupting"
    if element.get("parallelMultiple") == "true":
        reader.problem("event.multiple", element, "parallel multiple events: not supported yet")
    if activities.mappings(reader, element, "input") or activities.mappings(
        reader, element, "output"
    ):
        reader.problem("io.event", element, "mappings on events are not supported yet")
    if xml.extension(element, "formData") is not None or xml.vendor(element, "formKey"):
        reader.warn("form.start", element, "a start form is not asked: --var gives the values")
    return {
        "event": reader.event(element),
        "attached_to": None if attached is None else str(attached),
        "interrupting": element.get(passive) != "false",
    }


def _gateway(reader: Reader, element: Element) -> dict[str, Any]:
    if element.get("instantiate") == "true":
        reader.problem("gateway.instantiate", element, "instantiating gateways: not supported yet")
    if str(element.get("eventGatewayType") or "Exclusive") != "Exclusive":
        reader.problem("gateway.parallel", element, "parallel event gateways: not supported yet")
    return {}


def _activity(reader: Reader, element: Element) -> dict[str, Any]:
    if element.get("isForCompensation") == "true":
        reader.problem("compensation", element, "compensation is not supported yet")
    fields = activities.work(reader, element)
    if xml.local(element) == "subProcess":
        if element.get("triggeredByEvent") == "true":
            reader.problem("subprocess.event", element, "event sub-processes: not supported yet")
        fields["body"] = _scope(reader, element)
    return fields
