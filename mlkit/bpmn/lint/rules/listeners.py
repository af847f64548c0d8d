"""Rules about listeners that workers run: what ends early does not wait for them."""

from __future__ import annotations

from collections.abc import Iterator

from mlkit.bpmn.definition.model import FlowNode, Loop, Process, Scope
from mlkit.bpmn.definition.problem import Problem
from mlkit.bpmn.engine.graph import scopes
from mlkit.bpmn.lint.rules.data import branches
from mlkit.bpmn.lint.rules.place import Place

_PASSED = ("startEvent", "endEvent", "intermediateThrowEvent", "boundaryEvent")
_ENDINGS = ("terminate", "error", "cancel", "escalation")


def unheard(place: Place) -> Iterator[Problem]:
    """Find `end` listeners of workers at what may end early: Camunda runs them then, too."""
    for node in place.body.nodes.values():
        worked = any(each.event == "end" and each.work is not None for each in node.listeners)
        if worked and _waits(node) and (why := _reason(place, node)):
            message = (
                f"{why}: its 'end' listener, which a worker runs, is not run then, as it is in "
                "Camunda: use an expression or JavaScript"
            )
            yield Problem("listener.end", "warning", node.id, node.line, message)


def _waits(node: FlowNode) -> bool:
    return node.type not in _PASSED and not node.type.endswith("Gateway")


def _reason(place: Place, node: FlowNode) -> str:
    """Return why a node may end early; empty where nothing in its process can end it."""
    for body, inner in _outwards(place, node):
        if why := _ends(body, inner):
            return why if inner is node else f"{inner.id!r}, which it is in, may end early"
    return ""


def _outwards(place: Place, node: FlowNode) -> Iterator[tuple[Scope, FlowNode]]:
    """Yield a node and each sub-process around it, with the scope that it is in."""
    owners = _owners(place.process)
    body = place.body
    yield body, node
    while body.id in owners:
        body, owner = owners[body.id]
        yield body, owner


def _owners(process: Process) -> dict[str, tuple[Scope, FlowNode]]:
    """Return, by the id of each inside, its sub-process and the scope which that is in."""
    return {
        each.body.id: (body, each)
        for body in scopes(process.body)
        for each in body.nodes.values()
        if each.body is not None
    }


def _ends(body: Scope, node: FlowNode) -> str:
    """Return what may end a node of a scope early; empty for nothing."""
    if isinstance(node.loop, Loop) and node.loop.completion is not None:
        return "its multi-instance may be completed early"
    beside = [each for each in body.nodes.values() if each is not node]
    if any(each.attached_to == node.id and _interrupts(each) for each in beside):
        return "a boundary event interrupts it"
    if any(each.triggered and each.body and _is_interrupting(each.body) for each in beside):
        return "an event sub-process interrupts it"
    if any(each.triggered and each.body and _ends_process(each.body) for each in beside):
        return "an event sub-process may end everything"
    if node.ad_hoc and node.ad_hoc.cancels and node.ad_hoc.completion is not None:
        return "its ad-hoc sub-process may be completed early"
    if any(_is_ended_beside(body, node, ways) for ways in branches(body)):
        return "a branch beside it may end everything"
    return ""


def _interrupts(boundary: FlowNode) -> bool:
    return boundary.interrupting and not (boundary.event and boundary.event.of_kind("compensate"))


def _is_interrupting(inside: Scope) -> bool:
    return any(each.type == "startEvent" and each.interrupting for each in inside.nodes.values())


def _ends_process(inside: Scope) -> bool:
    """Return whether a terminate end event in a scope ends the whole process."""
    return any(
        each.reach == "process"
        for scope in scopes(inside)
        for node in scope.nodes.values()
        if node.type == "endEvent" and node.event is not None
        for each in node.event.of_kind("terminate")
    )


def _is_ended_beside(body: Scope, node: FlowNode, ways: list[set[str]]) -> bool:
    """Return whether one of the branches that run at once with a node's ends all of them."""
    others = set().union(*(way for way in ways if node.id not in way))
    return any(node.id in way for way in ways) and any(
        _is_ending(body, body.nodes[name]) for name in others
    )


def _is_ending(body: Scope, node: FlowNode) -> bool:
    """Return whether a node may end what runs beside it; what is inside a sub-process may too."""
    if node.type == "endEvent" and node.event is not None:
        return any(map(node.event.of_kind, _ENDINGS))
    if node.body is None or node.triggered:
        return False
    return _ends_process(node.body) or (_escapes(node.body) and not _catches(body, node))


def _escapes(inside: Scope) -> bool:
    """Return whether an error that is thrown inside a sub-process may leave it."""
    return any(
        (node.type == "endEvent" and node.event is not None and node.event.of_kind("error"))
        or (node.body is not None and not node.triggered and _escapes(node.body)
            and not _catches(inside, node))
        for node in inside.nodes.values()
    ) and not any(_is_caught(each) for each in inside.nodes.values())  # fmt: skip


def _is_caught(node: FlowNode) -> bool:
    """Return whether an event sub-process catches errors."""
    starts = node.body.nodes.values() if node.triggered and node.body is not None else ()
    return any(each.event is not None and each.event.of_kind("error") for each in starts)


def _catches(body: Scope, node: FlowNode) -> bool:
    """Return whether a boundary event of a sub-process catches errors."""
    return any(
        each.attached_to == node.id and each.event is not None and each.event.of_kind("error")
        for each in body.nodes.values()
    )
