"""Read processes: their flow nodes, sequence flows and sub-processes."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, TypeVar

from mlkit.bpmn.definition.model import (
    MISFIRES,
    OVERLAPS,
    AdHoc,
    FlowNode,
    Process,
    Scope,
    SequenceFlow,
)
from mlkit.bpmn.definition.parser import (
    activities,
    calls,
    data,
    events,
    forms,
    listeners,
    unsupported,
    xml,
)
from mlkit.bpmn.definition.parser.reader import Reader
from mlkit.bpmn.definition.parser.xml import Element

Word = TypeVar("Word", bound=str)
MAX_TOKENS = 1_000
_EVENTS = {
    "startEvent", "endEvent", "intermediateCatchEvent", "intermediateThrowEvent", "boundaryEvent",
}  # fmt: skip
_THROWING = {"endEvent", "intermediateThrowEvent"}
_TASKS = {
    "task", "scriptTask", "serviceTask", "userTask", "manualTask", "sendTask", "receiveTask",
    "businessRuleTask", "callActivity",
}  # fmt: skip
_SUB_PROCESSES = {*unsupported.SUB_PROCESSES}
_GATEWAYS = {
    "exclusiveGateway", "parallelGateway", "inclusiveGateway", "eventBasedGateway",
    "complexGateway",
}  # fmt: skip
_INERT = {
    "documentation", "extensionElements", "laneSet", "textAnnotation", "association", "group",
    "category", "sequenceFlow", "auditing", "monitoring", "dataObject", "dataObjectReference",
    "property", "ioSpecification", "artifact", "standardLoopCharacteristics",
}  # fmt: skip


def process(reader: Reader, element: Element) -> Process:
    """Read a process definition."""
    executable = element.get("isExecutable") != "false"
    if not executable:
        reader.warn("process.executable", element, 'isExecutable="false" is ignored')
    _read_lanes(reader, element)
    if not reader.takes(reader.name(element.get("id"))):
        reader.problem("id.missing", element, "the id of the process is missing or taken")
    body = _scope(reader, element)
    name = str(element.get("name") or body.id)
    tag = xml.vendor(element, "versionTag") or _zeebe_version_tag(element)
    return Process(
        body.id, name, executable, body, xml.line(element), tag,
        _policy(reader, element, "misfire", MISFIRES),
        _policy(reader, element, "overlap", OVERLAPS),
    )  # fmt: skip


def _policy(reader: Reader, element: Element, name: str, known: tuple[Word, ...]) -> Word:
    """Return a process's setting for its timer start events; by default the first choice."""
    found = element.get(f"{{{xml.MLKIT}}}{name}", known[0])
    for each in known:
        if each == found:
            return each
    reader.problem(
        "process.policy", element, f"mlkit:{name} is one of {', '.join(known)}, not {found!r}"
    )
    return known[0]


def _zeebe_version_tag(element: Element) -> str | None:
    found = xml.extension(element, "versionTag")
    return None if found is None else str(found.get("value") or "") or None


def global_task(reader: Reader, element: Element) -> Process:
    """Read a global task as a process of one task."""
    kind = xml.local(element).removeprefix("global")
    kind = kind[0].lower() + kind[1:]
    identifier = reader.name(element.get("id"))
    name = str(element.get("name") or identifier)
    fields = activities.work(reader, element, kind)
    line = xml.line(element)
    node = FlowNode(identifier, kind, name, line, shares=reader.camunda, **fields)
    return Process(identifier, name, True, Scope(identifier, {node.id: node}, {}), node.line)


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
    listed = {} if reader.camunda else _number_flows(reader, element)
    nodes: dict[str, FlowNode] = {}
    for each in element:
        fields = _node(reader, each) if xml.is_bpmn(each) else None
        if fields is None:
            continue
        identifier = reader.name(each.get("id"))
        if not reader.takes(identifier):
            reader.problem("id.missing", each, "the id is missing or taken")
            continue
        nodes[identifier] = FlowNode(
            id=identifier,
            type=xml.local(each),
            name=str(each.get("name") or ""),
            line=xml.line(each),
            incoming=tuple(incoming[identifier]),
            outgoing=tuple(sorted(outgoing[identifier], key=lambda e: listed.get(e, len(flows)))),
            default=reader.name(each.get("default")) or None,
            recipients=tuple(reader.flows.get(str(each.get("id")), ())),
            shares=reader.camunda,
            listeners=listeners.read(reader, each),
            **fields,
        )
    inside = xml.local(element) != "process"
    declared = data.find_declared(reader, element) if inside else _initiators(element)
    values = data.initial(reader, element)
    heard = () if inside else listeners.read(reader, element)
    return Scope(reader.name(element.get("id")), nodes, flows, declared, values, heard)


def _number_flows(reader: Reader, element: Element) -> dict[str, int]:
    """Return the places of flows among the `outgoing` elements of their nodes.

    Camunda 7, Activiti and Flowable go by the order of the flows in the file instead.
    """
    nodes = (xml.children(each, "outgoing") for each in element if xml.is_bpmn(each))
    return {
        reader.name(xml.text(each).rpartition(":")[2]): number
        for outgoing in nodes
        for number, each in enumerate(outgoing)
    }


def _initiators(process: Element) -> tuple[str, ...]:
    """Return the variables for who began the process: null, where `--var` does not set it."""
    found = (xml.vendor(each, "initiator") for each in xml.children(process, "startEvent"))
    return tuple(each for each in found if each)


def _flows(reader: Reader, element: Element) -> dict[str, SequenceFlow]:
    flows: dict[str, SequenceFlow] = {}
    for each in xml.children(element, "sequenceFlow"):
        condition = xml.child(each, "conditionExpression")
        identifier = reader.name(each.get("id") or f"flow-{xml.line(each)}-{len(flows)}")
        if not reader.takes(identifier):
            reader.problem("id.missing", each, "the id is taken")
        flows[identifier] = SequenceFlow(
            id=identifier,
            source=reader.name(each.get("sourceRef")),
            target=reader.name(each.get("targetRef")),
            condition=None if condition is None else reader.condition(condition),
            line=xml.line(each),
            listeners=listeners.read(reader, each),
        )
    return flows


def _node(reader: Reader, element: Element) -> dict[str, Any] | None:
    """Read the particular fields of a flow node; None for what is not a flow node."""
    kind = xml.local(element)
    if kind in _INERT:
        return None
    if kind == "dataStoreReference":
        if not reader.stores.get(str(element.get("id"))):
            reader.warn("data.drawn", element, "drawn only: its name is not that of a variable")
        return None
    if kind not in _EVENTS | _TASKS | _GATEWAYS | _SUB_PROCESSES:
        _refuse(reader, element, kind)
        return None
    if kind in _EVENTS:
        return _event(reader, element)
    if kind in _GATEWAYS:
        return _gateway(reader, element)
    return _activity(reader, element)


# Parts of an activity, which stand among the flow nodes of a sub-process.
_PARTS = {
    "incoming", "outgoing", "multiInstanceLoopCharacteristics", "dataInputAssociation",
    "dataOutputAssociation", "resourceRole", "performer", "humanPerformer", "potentialOwner",
    "supportedInterfaceRef", "correlationSubscription", "completionCondition", "categoryValueRef",
    "supports", "rendering", "dataState",
}  # fmt: skip


def _refuse(reader: Reader, element: Element, kind: str) -> None:
    if kind not in _PARTS:
        reader.problem("element.unsupported", element, f"{kind} is not an element that can be run")


def _event(reader: Reader, element: Element) -> dict[str, Any]:
    kind = xml.local(element)
    passive = "cancelActivity" if kind == "boundaryEvent" else "isInterrupting"
    form = forms.start(reader, element) if kind == "startEvent" else ()
    data.refuse_stores(reader, element)
    handler = reader.handlers.get(str(element.get("id"))) if kind == "boundaryEvent" else None
    calling = activities.calling(reader, element) if kind in _THROWING else None
    return {
        **(calling or {"event": events.event(reader, element)}),
        "attached_to": reader.name(element.get("attachedToRef")) or None,
        "interrupting": element.get(passive) != "false",
        "handler": reader.name(handler) or None,
        "inputs": (*data.mappings(reader, element, "input"), *calls.payload(reader, element)),
        "outputs": data.mappings(reader, element, "output"),
        "form": form,
    }


def _gateway(reader: Reader, element: Element) -> dict[str, Any]:
    condition = xml.child(element, "activationCondition")
    return {
        "instantiate": element.get("instantiate") == "true",
        "parallel": element.get("eventGatewayType") == "Parallel",
        "activation": None if condition is None else reader.condition(condition),
    }


def _activity(reader: Reader, element: Element) -> dict[str, Any]:
    kind = xml.local(element)
    fields = activities.work(reader, element, kind)
    fields["needs"] = _quantity(reader, element, "startQuantity")
    fields["gives"] = _quantity(reader, element, "completionQuantity")
    fields["compensates"] = element.get("isForCompensation") == "true"
    if kind in _SUB_PROCESSES:
        fields["triggered"] = element.get("triggeredByEvent") == "true"
        fields["body"] = _scope(reader, element)
    if kind == "adHocSubProcess":
        fields["ad_hoc"] = _ad_hoc(reader, element)
    return fields


def _quantity(reader: Reader, element: Element, attribute: str) -> int:
    written = str(element.get(attribute) or "1")
    if written.isdigit() and 1 <= int(written) <= MAX_TOKENS:
        return int(written)
    message = f"{attribute} {written!r}: expected a number from 1 to {MAX_TOKENS}"
    reader.problem("token.quantity", element, message)
    return 1


def _ad_hoc(reader: Reader, element: Element) -> AdHoc:
    zeebe = xml.extension(element, "adHoc")
    listed = None if zeebe is None else zeebe.get("activeElementsCollection")
    if zeebe is not None and zeebe.get("outputCollection"):
        reader.problem("adhoc.output", element, "it cannot collect the results of its activities")
    condition = xml.child(element, "completionCondition")
    return AdHoc(
        active=reader.expression(str(listed), element, plain="python") if listed else None,
        completion=None if condition is None else reader.condition(condition),
        cancels=element.get("cancelRemainingInstances") != "false",
        sequential=element.get("ordering") == "Sequential",
    )
