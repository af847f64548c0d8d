"""A process definition, ready to run: behaviours linked to one another."""

from __future__ import annotations

from collections.abc import Iterator

from mlkit.bpmn.behaviors import behavior_of
from mlkit.bpmn.behaviors.behavior import Behavior
from mlkit.bpmn.behaviors.boundary import BoundaryEvent
from mlkit.bpmn.behaviors.inclusive import InclusiveGateway, is_link, link_sources
from mlkit.bpmn.model import FlowNode, Process, Scope


class Graph:
    """The linked behaviours of a process and its sub-processes.

    Attributes:
        behaviors: By node id (ids are unique in a file).
        targets: By flow id, the behaviour that its tokens reach; by the id of a throwing link
            event, the one behind the catching link.
        guards: By activity id, its boundary events.
        inclusive: The gateways whose joins depend on other tokens.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.behaviors: dict[str, Behavior] = {}
        self.targets: dict[str, Behavior] = {}
        self.guards: dict[str, list[BoundaryEvent]] = {}
        for body in scopes(process.body):
            self._add(body)
        self.inclusive = [
            each
            for each in self.behaviors.values()
            if isinstance(each, InclusiveGateway) and len(each.node.incoming) > 1
        ]
        for behavior in self.behaviors.values():
            behavior.link(self)

    def _add(self, body: Scope) -> None:
        for node in body.nodes.values():
            behavior = self.behaviors[node.id] = behavior_of(node, body)
            if isinstance(behavior, BoundaryEvent) and node.attached_to:
                self.guards.setdefault(node.attached_to, []).append(behavior)
        for flow in body.flows.values():
            self.targets[flow.id] = self.behaviors[flow.target]
        for node in body.nodes.values():
            if node.type == "intermediateCatchEvent" and is_link(node):
                for source in link_sources(node, body):
                    self.targets[source] = self.behaviors[node.id]


def scopes(body: Scope) -> Iterator[Scope]:
    """Go through a scope and all those inside it."""
    yield body
    for node in body.nodes.values():
        if node.body is not None:
            yield from scopes(node.body)


def nodes(body: Scope) -> Iterator[FlowNode]:
    """Go through the flow nodes of a scope and of all those inside it."""
    for each in scopes(body):
        yield from each.nodes.values()
