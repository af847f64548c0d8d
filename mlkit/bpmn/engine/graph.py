"""Process definitions, ready to run: behaviours linked to one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from mlkit.bpmn.definition.model import FlowNode, Process, Scope
from mlkit.bpmn.engine.behaviors import behavior_of, inner_of
from mlkit.bpmn.engine.behaviors.activity import Activity
from mlkit.bpmn.engine.behaviors.ad_hoc import AdHocSubProcess
from mlkit.bpmn.engine.behaviors.behavior import Behavior
from mlkit.bpmn.engine.behaviors.boundary import BoundaryEvent
from mlkit.bpmn.engine.behaviors.event_subprocess import EventSubProcess
from mlkit.bpmn.engine.behaviors.inclusive import InclusiveGateway, is_link, link_sources
from mlkit.bpmn.engine.behaviors.listening import FlowListeners, ProcessListeners
from mlkit.bpmn.engine.behaviors.messages import deliver
from mlkit.bpmn.engine.behaviors.subscription import conditions

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step


class Graph:
    """The linked behaviours of processes, of what they call, and of their sub-processes.

    Args:
        processes: What runs: one process, or the pools of a collaboration.
        called: What call activities run, by id.

    Attributes:
        behaviors: By node id (ids are unique in a file, and called files have a prefix).
        targets: By flow id, the behaviour that its tokens reach; by the id of a throwing link
            event, the one behind the catching link.
        boundary_events: By activity id, its boundary events.
        triggers: By the id of a scope, the event sub-processes in it.
        takes: By flow id, what listens to it, where something does.
        listening: By process id, what listens to it, where something does.
        handlers: By activity id, its compensation handler.
        watchers: What may continue once all tokens wait; each returns whether it did.
    """

    def __init__(self, processes: tuple[Process, ...], called: Mapping[str, Process]) -> None:
        self.processes = processes
        self.called = called
        self.behaviors: dict[str, Behavior] = {}
        self.targets: dict[str, Behavior] = {}
        self.boundary_events: dict[str, list[BoundaryEvent]] = {}
        self.triggers: dict[str, list[EventSubProcess]] = {}
        self.takes: dict[str, FlowListeners] = {}
        self.listening: dict[str, ProcessListeners] = {}
        self.handlers: dict[str, Activity] = {}
        everything = {id(each): each for each in (*processes, *called.values())}
        for process in everything.values():
            for body in scopes(process.body):
                self._add(body)
        for boundary_events in self.boundary_events.values():
            for boundary in boundary_events:
                self._add_handler(boundary)
        self.watchers = self._watchers()
        for behavior in self.behaviors.values():
            behavior.link(self)

    def runs(self, name: str) -> bool:
        """Return whether a process or node is among those that run here."""
        return name in self.behaviors or any(each.id == name for each in self.processes)

    def _add(self, body: Scope) -> None:
        for node in body.nodes.values():
            behavior = self.behaviors[node.id] = behavior_of(node, body)
            if isinstance(behavior, BoundaryEvent) and node.attached_to:
                self.boundary_events.setdefault(node.attached_to, []).append(behavior)
            elif isinstance(behavior, EventSubProcess):
                self.triggers.setdefault(body.id, []).append(behavior)
        for flow in body.flows.values():
            self.targets[flow.id] = self.behaviors[flow.target]
        self._add_listeners(body)
        for node in body.nodes.values():
            if node.type == "intermediateCatchEvent" and is_link(node):
                for source in link_sources(node, body):
                    self.targets[source] = self.behaviors[node.id]

    def _add_listeners(self, body: Scope) -> None:
        for node in body.listening():
            if node.type == "process":
                listens = self.behaviors[node.id] = ProcessListeners(node, body)
                self.listening[node.id] = listens
            else:
                takes = self.behaviors[node.id] = FlowListeners(node, body)
                self.takes[node.id] = takes

    def _add_handler(self, boundary: BoundaryEvent) -> None:
        handler = self.behaviors.get(boundary.node.handler or "")
        if isinstance(handler, Activity) and boundary.node.attached_to:
            self.handlers[boundary.node.attached_to] = handler

    def _watchers(self) -> list[Callable[[Step], bool]]:
        found: list[Callable[[Step], bool]] = []
        if any(each.node.recipients for each in self.behaviors.values()):
            found.append(deliver)
        if any(_is_conditional(each.node) for each in self.behaviors.values()):
            found.append(conditions)
        for behavior in self.behaviors.values():
            inner = inner_of(behavior)
            if isinstance(inner, InclusiveGateway | AdHocSubProcess) and inner.watches:
                found.append(inner.look)
        return found


def _is_conditional(node: FlowNode) -> bool:
    return node.event is not None and bool(node.event.of_kind("conditional"))


def scopes(body: Scope) -> Iterator[Scope]:
    """Go through a scope and all those inside it."""
    yield body
    for node in body.nodes.values():
        if node.body is not None:
            yield from scopes(node.body)


def working(body: Scope) -> Iterator[FlowNode]:
    """Go through what may have work inside a scope: flow nodes, and what has listeners."""
    yield from nodes(body)
    for each in scopes(body):
        yield from each.listening()


def nodes(body: Scope) -> Iterator[FlowNode]:
    """Go through the flow nodes of a scope and of all those inside it."""
    for each in scopes(body):
        yield from each.nodes.values()
