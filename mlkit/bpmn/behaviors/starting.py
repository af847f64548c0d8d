"""How a process begins (BPMN 2.0.2, 13.2): at its start events, or at what stands for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlkit.bpmn.behaviors.catch import CatchEvent
from mlkit.bpmn.behaviors.event_based import EventBasedGateway
from mlkit.bpmn.behaviors.subprocess import begins_alone
from mlkit.bpmn.model import FlowNode, Process
from mlkit.bpmn.state import Scope

if TYPE_CHECKING:
    from mlkit.bpmn.move import Move


def begin(move: Move, process: Process, variables: dict[str, Any], start: str = "") -> None:
    """Begin a process at a node, or as the diagram says.

    A none start event begins at once. Without one the process waits at all its other start
    events, and at its instantiating gateways and receive tasks, and the first one begins it.
    """
    root = Scope(move.state.next_id(), process.body.id)
    root.variables = {**dict.fromkeys(process.body.declared), **variables}
    chosen = [start] if start else immediate(process)
    waiting = [] if chosen else alternatives(process)
    root.live = len(chosen) or 1
    move.open(root)
    for each in chosen:
        _enter(move, root, each)
    for node in waiting:
        behavior = move.graph.behaviors[node.id]
        assert isinstance(behavior, CatchEvent | EventBasedGateway)
        behavior.wait(move, move.activate(behavior, root, "start"))


def _enter(move: Move, root: Scope, node: str) -> None:
    behavior = move.graph.behaviors[node]
    if root.interrupted:
        return
    if behavior.node.type == "startEvent" and isinstance(behavior, CatchEvent):
        move.passed(behavior, root)
        behavior.go(move, root)
    else:
        behavior.try_enter(move, root)


def immediate(process: Process) -> list[str]:
    """Give the nodes at which a process begins without waiting."""
    nodes = process.body.nodes.values()
    starts = [each for each in nodes if each.type == "startEvent"]
    plain = [each.id for each in starts if each.event and each.event.kind == "none"][:1]
    if starts or any(each.instantiate for each in nodes):
        return plain
    return [each.id for each in nodes if begins_alone(each)]


def alternatives(process: Process) -> list[FlowNode]:
    """Give the events, gateways and receive tasks of which the first begins a process."""
    return [
        each
        for each in process.body.nodes.values()
        if each.type == "startEvent" or (each.instantiate and not each.incoming)
    ]


def by_message(move: Move, process: Process, name: str, recipients: list[str]) -> str | None:
    """Find the start event of a process that a message may begin."""
    for node in process.body.nodes.values():
        if node.type != "startEvent" or node.event is None:
            continue
        named = any(move.constant(each.name) == name for each in node.event.of_kind("message"))
        if named and not node.event.parallel and {node.id, process.id} & set(recipients):
            return node.id
    return None
