"""Events that throw: intermediate throw events, and send tasks without a callable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mlkit.bpmn.behaviors import compensation, errors
from mlkit.bpmn.behaviors.activity import Activity
from mlkit.bpmn.behaviors.behavior import Behavior
from mlkit.bpmn.events import Effect, Signal
from mlkit.bpmn.model import EventDefinition, FlowNode
from mlkit.bpmn.state import Activation, Post, Scope

if TYPE_CHECKING:
    from mlkit.bpmn.move import Move


class ThrowEvent(Behavior):
    """An intermediate event that throws and lets the token pass."""

    def enter(self, move: Move, scope: Scope) -> None:
        """Throw, then go on; a link goes on at its target."""
        event = self.awaited
        if event.kind == "none":
            super().enter(move, scope)
        elif event.kind == "link":
            move.passed(self, scope)
            move.queue.append((scope, self.id))
        elif event.of_kind("compensate"):
            thrown = prepare(move, scope.id, self.node)
            if release(move, scope, self.node, thrown):
                undo(move, self, scope)
        else:
            self._throw(move, scope)

    def _throw(self, move: Move, scope: Scope) -> None:
        flows = self.choose(move, scope)
        thrown = prepare(move, scope.id, self.node)
        move.passed(self, scope)
        # The token moves on first: what catches the event may end this scope.
        scope.live += len(flows)
        for flow in flows:
            move.queue.append((scope, flow))
        if release(move, scope, self.node, thrown):
            scope.live -= 1
            if scope.live == 0:
                move.finish(scope)


class SendTask(Activity):
    """An activity that sends a message and is done."""

    def execute(self, move: Move, activation: Activation) -> None:
        """Send."""
        if self.node.event is not None:
            scope = move.state.scopes[activation.scope]
            release(move, scope, self.node, prepare(move, move.variables(activation), self.node))
        self.leave(move, activation)


def undo(move: Move, behavior: Behavior, scope: Scope) -> None:
    """Compensate; the token goes on after the last handler."""
    thrower = move.activate(behavior, scope)
    (event,) = behavior.awaited.of_kind("compensate")[:1]
    compensation.begin(move, thrower, compensation.home(move, scope), event.activity)


def announce(move: Move, host: Activation, event: EventDefinition) -> None:
    """Throw an event from an activity that goes on."""
    scope = move.state.scopes[host.scope]
    if event.kind == "error":
        errors.throw(move, host, event.code or "", "")
    elif event.kind == "escalation":
        errors.escalate(move, scope, event.code or "", host)
    else:
        outgoing = _prepare(move, scope.id, FlowNode("", ""), event)
        release(move, scope, FlowNode("", ""), [outgoing])


class Outgoing(NamedTuple):
    """What one definition of an event throws, evaluated."""

    event: EventDefinition
    name: str
    key: str
    variables: dict[str, Any]


def prepare(move: Move, scope: int, node: FlowNode) -> list[Outgoing]:
    """Evaluate the names, keys and contents of what a node throws.

    Raises:
        BadData: An expression fails.
    """
    if node.event is None:
        return []
    return [_prepare(move, scope, node, each) for each in node.event.parts or (node.event,)]


def _prepare(move: Move, scope: int, node: FlowNode, event: EventDefinition) -> Outgoing:
    if event.kind in ("error", "escalation"):
        return Outgoing(event, event.code or "", "", {})
    variables = {}
    if event.kind == "message":
        variables = {name: move.evaluate(each, scope) for name, each in node.inputs}
    # The key is looked for in the message first.
    with move.names(move.state.scopes[scope], **variables) as inner:
        key = move.correlation_key(event, inner)
    return Outgoing(event, move.text(event.name, scope), key, variables)


def release(move: Move, scope: Scope, node: FlowNode, thrown: list[Outgoing]) -> bool:
    """Throw messages, signals and escalations; say whether the scope has outlived it."""
    interrupted = scope.interrupted
    for each in thrown:
        if each.event.kind == "message":
            _send(move, node, each)
        elif each.event.kind == "signal":
            move.effects.append(Effect("broadcast", 0, each.name))
            broadcast(move, Signal(each.name))
        elif each.event.kind == "escalation":
            errors.escalate(move, scope, each.name)
        here = move.state.scopes.get(scope.id) is scope and scope.interrupted == interrupted
        if not here or not scope.live:
            return False
    return True


def _send(move: Move, node: FlowNode, message: Outgoing) -> None:
    recipients = [each for each in node.recipients if move.graph.runs(each)]
    if recipients:
        move.state.posts.append(Post(recipients, message.name, message.key, message.variables))
    else:
        content = message.variables
        move.effects.append(Effect("send", 0, message.name, message.key, variables=content))


def broadcast(move: Move, signal: Signal) -> None:
    """Let everything in this instance that waits for the signal go on."""
    waiting = [
        each for each in move.state.activations.values() if each.detail.get("signal") == signal.name
    ]
    for each in waiting:
        if each.id in move.state.activations and each.status == "waiting":
            move.behavior(each).event(move, each, signal)
