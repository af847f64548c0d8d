"""The inclusive gateway, with the join of the standard (BPMN 2.0.2, 13.4.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlkit.bpmn.definition import model
from mlkit.bpmn.definition.model import FlowNode
from mlkit.bpmn.engine.behaviors.behavior import Behavior
from mlkit.bpmn.engine.behaviors.gateways import consume
from mlkit.bpmn.engine.state import Scope
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step


_CAUGHT = ("error", "escalation", "cancel")


class InclusiveGateway(Behavior):
    """Takes every flow whose condition holds; joins the tokens that can still arrive."""

    def __init__(self, node: FlowNode, body: model.Scope) -> None:
        super().__init__(node, body)
        # For each incoming flow: the nodes and flows from which a token can reach it without
        # passing this gateway.
        self.watches = len(node.incoming) > 1
        self.sources = {flow: _upstream(flow, node.id, body) for flow in node.incoming}

    def arrive(self, step: Step, scope: Scope, flow: str) -> None:
        """Keep the token; whether the join opens is known once all other tokens wait."""
        if len(self.node.incoming) > 1:
            scope.arrived[flow] = scope.arrived.get(flow, 0) + 1
        else:
            self.try_enter(step, scope)

    def look(self, step: Step) -> bool:
        """Open the join in one scope where it may; return whether there was one."""
        scopes = step.state.scopes.values()
        waiting = [each for each in scopes if each.arrived or each.resetting]
        return any(self.open(step, each) for each in waiting)

    def open(self, step: Step, scope: Scope) -> bool:
        """Let the waiting tokens pass if the join may open; return whether it did."""
        filled = tuple(flow for flow in self.node.incoming if flow in scope.arrived)
        if not filled or len(self.node.incoming) < 2:
            return False
        empty = [flow for flow in self.node.incoming if flow not in scope.arrived]
        if self.expects(step, scope, empty, filled):
            return False
        consume(scope, filled)
        self.try_enter(step, scope)
        return True

    def expects(self, step: Step, scope: Scope, empty: list[str], filled: tuple[str, ...]) -> bool:
        """Return whether a token can still come by an empty flow, and by no filled one."""
        for place in _places(step, scope, self.id):
            reaches_empty = any(place in self.sources[flow] for flow in empty)
            if reaches_empty and not any(place in self.sources[flow] for flow in filled):
                return True
        return False


def _places(step: Step, scope: Scope, gateway: str) -> set[str]:
    """Return where tokens can come from: where they are, and armed boundary events.

    A boundary event that waits is an activation as long as it can fire; one that catches what is
    thrown can fire as long as its activity is active.
    """
    here = [each for each in step.state.activations.values() if each.scope == scope.id]
    roles = ("", "guard", "listener")
    places = {each.node for each in here if each.role in roles and each.node != gateway}
    boundary_events = step.graph.boundary_events
    places |= {b.id for node in places for b in boundary_events.get(node, ()) if _is_caught(b.node)}
    waiting = {step.graph.targets[flow].id for flow in scope.arrived}
    return places | (waiting - {gateway})


def _is_caught(boundary: FlowNode) -> bool:
    """Return whether a boundary event catches what its activity throws."""
    parts = boundary.event.parts or (boundary.event,) if boundary.event is not None else ()
    return any(each.kind in _CAUGHT for each in parts)


def _upstream(flow: str, gateway: str, body: model.Scope) -> frozenset[str]:
    before = _predecessors(body)
    found: set[str] = set()
    queue = [body.flows[flow].source]
    while queue:
        node = queue.pop()
        if node not in found and node != gateway:
            found.add(node)
            queue += before.get(node, ())
    passed = {each.id for each in body.flows.values() if each.target in found}
    return frozenset(found | passed | {flow})


def _predecessors(body: model.Scope) -> Mapping[str, list[str]]:
    """Return the nodes from which a token comes: by a flow or a link (13.4.3).

    What leads from an activity to its boundary event is not a sequence flow: an event that can
    still fire is a place of its own.
    """
    before: dict[str, list[str]] = {}
    for flow in body.flows.values():
        before.setdefault(flow.target, []).append(flow.source)
    for node in body.nodes.values():
        if node.type == "intermediateCatchEvent" and is_link(node):
            before.setdefault(node.id, []).extend(link_sources(node, body))
    return before


def is_link(node: FlowNode) -> bool:
    """Return whether a node is a link event."""
    return node.event is not None and node.event.kind == "link"


def link_sources(target: FlowNode, body: model.Scope) -> list[str]:
    """Return the throwing link events that lead to a catching one."""
    return [
        each.id
        for each in body.nodes.values()
        if each.type == "intermediateThrowEvent"
        and is_link(each)
        and link_name(each) == link_name(target)
    ]


def link_name(node: FlowNode) -> str:
    """Return the name of a link event.

    Raises:
        BadData: It is none.
    """
    if node.event is None or node.event.name is None:
        raise BadData(f"{node.id} is not a link")
    return node.event.name.text
