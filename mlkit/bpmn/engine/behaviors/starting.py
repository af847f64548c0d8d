"""How a process begins (BPMN 2.0.2, 13.2): at its start events, or at what stands for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mlkit.bpmn.definition.model import FlowNode, Process
from mlkit.bpmn.engine.behaviors.catch import CatchEvent
from mlkit.bpmn.engine.behaviors.event_based import EventBasedGateway
from mlkit.bpmn.engine.behaviors.subprocess import begins_alone
from mlkit.bpmn.engine.state import Scope
from mlkit.bpmn.expressions import Expression

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step


def begin(step: Step, process: Process, variables: dict[str, Any], start: str = "") -> None:
    """Begin a process at a node, or where the diagram begins.

    A none start event begins at once. Without one the process waits at all its other start
    events, and at its instantiating gateways and receive tasks, and the first one begins it.
    """
    root = Scope(step.state.next_id(), process.body.id)
    root.variables = {**process.body.initial(), **variables}
    step.open(root)
    if not let_listeners_start(step, root, start):
        step.hear_scope(process.body, root, "start")
        begin_inside(step, process, root, start)


def let_listeners_start(step: Step, scope: Scope, node: str = "") -> bool:
    """Let workers do what they do at the start of a process; return whether they do something."""
    found = step.graph.listening.get(scope.element)
    if found is None or "start" not in found.worked:
        return False
    found.start(step, scope, node)
    return True


def let_listeners_end(step: Step, scope: Scope) -> bool:
    """Let workers do what they do at the end of a process; return whether it must wait."""
    found = step.graph.listening.get(scope.element)
    if found is None or scope.ended or "end" not in found.worked:
        return False
    found.end(step, scope)
    return True


def begin_inside(step: Step, process: Process, root: Scope, start: str) -> None:
    """Put tokens on the nodes at which a process begins, behind what listens to its start."""
    chosen = [start] if start else immediate(process)
    waiting = [] if chosen else alternatives(process)
    root.live += len(chosen) or 1
    for each in chosen:
        _enter(step, root, each, happened=bool(start))
    for node in waiting:
        behavior = step.graph.behaviors[node.id]
        assert isinstance(behavior, CatchEvent | EventBasedGateway)
        behavior.wait(step, step.activate(behavior, root, "start"))


def _enter(step: Step, root: Scope, node: str, happened: bool) -> None:
    """Put a token on a node; behind it, where it waits for what has happened already."""
    behavior = step.graph.behaviors[node]
    if root.interrupted:
        return
    if happened and isinstance(behavior, CatchEvent) and behavior.awaited.kind != "none":
        behavior.happen(step, root)
    else:
        behavior.try_enter(step, root)


def immediate(process: Process) -> list[str]:
    """Return the nodes at which a process begins without waiting."""
    nodes = process.body.nodes.values()
    starts = [each for each in nodes if each.type == "startEvent"]
    plain = [each.id for each in starts if each.event and each.event.kind == "none"][:1]
    if starts or any(each.instantiate for each in nodes):
        return plain
    return [each.id for each in nodes if begins_alone(each)]


def alternatives(process: Process) -> list[FlowNode]:
    """Return the events, gateways and receive tasks of which the first begins a process.

    A none start event is among them where there is one; it never waits.
    """
    return [
        each
        for each in process.body.nodes.values()
        if each.type == "startEvent" or (each.instantiate and not each.incoming)
    ]


def by_message(process: Process, name: str) -> Iterator[str]:
    """Find the nodes at which a message begins a process: where nothing else must happen too."""
    for element, kind, known in list_named_starts(process):
        if kind == "message" and known == name:
            yield element


def list_named_starts(process: Process) -> Iterator[tuple[str, str, str]]:
    """Yield the node, the kind and the name of each message and signal that begins a process."""
    for node in alternatives(process):
        targets = [process.body.flows[each].target for each in node.outgoing]
        gateway = node.type == "eventBasedGateway"
        entries = [process.body.nodes[each] for each in targets] if gateway else [node]
        for each in entries if not node.parallel else ():
            if each.event is not None and not each.event.parallel:
                for kind in ("message", "signal"):
                    for event in each.event.of_kind(kind):
                        if event.name is not None and event.name.constant():
                            yield each.id, kind, event.name.constant()


def conditional(process: Process) -> Iterator[tuple[str, Expression]]:
    """Yield the node and the expression of each condition that begins a process."""
    for node in alternatives(process):
        if node.type == "startEvent" and node.event is not None and not node.event.parallel:
            for event in node.event.of_kind("conditional"):
                if event.expression is not None:
                    yield node.id, event.expression
