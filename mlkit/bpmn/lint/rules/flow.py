"""Rules about flows, gateways and reachability."""

from __future__ import annotations

from collections.abc import Iterator

from mlkit.bpmn.definition.model import FlowNode, Scope
from mlkit.bpmn.definition.problem import Problem
from mlkit.bpmn.engine.behaviors.inclusive import is_link, link_name
from mlkit.bpmn.engine.behaviors.subprocess import begins_alone, entry_nodes
from mlkit.bpmn.lint.rules.place import Place, wrong

_WAITING = {"intermediateCatchEvent", "receiveTask"}


def starts(place: Place) -> Iterator[Problem]:
    """Return where a process or sub-process does not begin as it must."""
    body, owner, process = place
    found = [each for each in body.nodes.values() if each.type == "startEvent"]
    yield from _entries(body, found)
    instantiates = any(each.instantiate and not each.incoming for each in body.nodes.values())
    if owner is None:
        if not found and not instantiates and not any(map(begins_alone, body.nodes.values())):
            yield Problem("process.start", "error", process.id, process.line, "nothing starts")
    elif owner.triggered:
        yield from _check_triggered(owner, found)
    elif owner.type == "adHocSubProcess":
        for node in body.nodes.values():
            if node.type in ("startEvent", "endEvent"):
                yield wrong("adhoc.event", node, "it is not allowed in an ad-hoc sub-process")
    elif not body.nodes:
        message = "nothing is inside: tokens pass through it"
        yield Problem("subprocess.empty", "warning", owner.id, owner.line, message)
    elif not entry_nodes(body):
        yield wrong("subprocess.start", owner, "nothing starts inside")


def _entries(body: Scope, found: list[FlowNode]) -> Iterator[Problem]:
    plain = [each for each in found if each.event is not None and each.event.kind == "none"]
    for node in plain[1:]:
        yield wrong(
            "process.starts", node, f"only one none start event is allowed here: {plain[0].id!r}"
        )
    for node in body.nodes.values():
        if node.instantiate and node.loop is not None:
            yield wrong("process.starts", node, "what begins a process cannot be repeated")


def _check_triggered(owner: FlowNode, found: list[FlowNode]) -> Iterator[Problem]:
    if len(found) != 1:
        yield wrong("subprocess.event", owner, f"it needs one start event, not {len(found)}")
    if owner.loop is not None:
        yield wrong("subprocess.event", owner, "an event sub-process cannot be repeated")
    if owner.incoming or owner.outgoing:
        yield wrong("subprocess.event", owner, "no flow may touch an event sub-process")


def flows(place: Place) -> Iterator[Problem]:
    """Return which flows lead from or to where none can."""
    body = place.body
    for flow in body.flows.values():
        for end, name in (("source", flow.source), ("target", flow.target)):
            node = body.nodes.get(name)
            problem = None
            if node is None:
                problem = f"its {end} {name!r} is not in the same process or sub-process"
            elif end == "target" and node.type in ("startEvent", "boundaryEvent"):
                problem = f"it leads into {name!r}, which begins flows"
            elif end == "source" and node.type == "endEvent":
                problem = f"it leaves {name!r}, which ends flows"
            elif node.compensates:
                problem = f"{name!r} is a compensation handler, which no flow touches"
            if problem:
                yield Problem("flow.dangling", "error", flow.id, flow.line, problem)


def conditions(place: Place) -> Iterator[Problem]:
    """Return which conditions and default flows stand where they mean nothing."""
    body = place.body
    for flow in body.flows.values():
        source = body.nodes.get(flow.source)
        if flow.condition is None or source is None:
            continue
        begins = source.type == "startEvent" and not source.shares
        if begins or source.type in ("parallelGateway", "eventBasedGateway"):
            message = f"a condition is not allowed after a {source.type}"
            yield Problem("flow.condition", "error", flow.id, flow.line, message)
        elif source.default == flow.id:
            message = "the condition of a default flow is ignored"
            yield Problem("flow.default", "warning", flow.id, flow.line, message)
    for node in body.nodes.values():
        if node.default is not None and node.default not in node.outgoing:
            yield wrong(
                "flow.default", node, f"its default flow {node.default!r} does not leave it"
            )


def gateways(place: Place) -> Iterator[Problem]:
    """Return which gateways cannot decide."""
    body = place.body
    for node in body.nodes.values():
        if node.type in ("exclusiveGateway", "inclusiveGateway") and len(node.outgoing) > 1:
            bare = [
                each
                for each in node.outgoing
                if body.flows[each].condition is None and each != node.default
            ]
            for each in bare:
                message = f"the flow has no condition, so it always holds after {node.id!r}"
                yield Problem("flow.unconditional", "warning", each, body.flows[each].line, message)
        if node.type == "complexGateway" and len(node.incoming) > 1 and node.activation is None:
            yield wrong("gateway.complex", node, "it has no activation condition")
        if node.type == "eventBasedGateway":
            yield from _event_gateway(node, body)
        if node.type == "eventBasedGateway" and not node.outgoing:
            yield wrong("gateway.event", node, "no event follows the gateway")
        if node.type == "eventBasedGateway" and node.parallel and not node.instantiate:
            yield wrong("gateway.parallel", node, "only an instantiating one can be parallel")
        if node.instantiate and node.incoming and node.type == "eventBasedGateway":
            yield wrong("gateway.instantiate", node, "it begins the process: no flow leads in")


def _event_gateway(node: FlowNode, body: Scope) -> Iterator[Problem]:
    for flow in node.outgoing:
        target = body.nodes.get(body.flows[flow].target)
        if target is not None and target.type not in _WAITING:
            yield wrong("gateway.event", target, "an event gateway leads to events that wait only")
        elif target is not None and len(target.incoming) > 1:
            yield wrong("gateway.event", target, "only the event gateway may lead here")
        elif target is not None and (target.reads or target.writes):
            yield wrong("data.store", target, "it uses no data store behind an event gateway")


def reachable(place: Place) -> Iterator[Problem]:
    """Return which nodes no token can reach."""
    body = place.body
    queue = [each.id for each in body.nodes.values() if _begins(each)]
    if not queue or (place.owner is not None and place.owner.type == "adHocSubProcess"):
        queue = [each.id for each in body.nodes.values() if begins_alone(each)]
    queue += [each.id for each in body.nodes.values() if each.triggered]
    after = _after(body)
    seen: set[str] = set()
    while queue:
        name = queue.pop()
        node = body.nodes.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        queue += [body.flows[each].target for each in node.outgoing]
        queue += [node.handler] if node.handler else []
        queue += after.get(node.id, ())
    for node in body.nodes.values():
        if node.id not in seen:
            yield wrong("node.unreachable", node, "no token can reach it")


def _begins(node: FlowNode) -> bool:
    return node.type == "startEvent" or (node.instantiate and not node.incoming)


def _after(body: Scope) -> dict[str, list[str]]:
    """Return what follows nodes without a flow: boundary events, and the targets of links."""
    found: dict[str, list[str]] = {}
    links = [each for each in body.nodes.values() if is_link(each)]
    targets = {link_name(e): e.id for e in links if e.type == "intermediateCatchEvent"}
    for node in body.nodes.values():
        if node.attached_to:
            found.setdefault(node.attached_to, []).append(node.id)
    for node in links:
        if node.type == "intermediateThrowEvent" and link_name(node) in targets:
            found.setdefault(node.id, []).append(targets[link_name(node)])
    return found
