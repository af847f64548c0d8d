"""Events that throw: intermediate throw events, and send tasks without a callable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mlkit.bpmn.definition.model import EventDefinition, FlowNode
from mlkit.bpmn.engine.behaviors import compensation, errors, messages
from mlkit.bpmn.engine.behaviors.activity import Activity
from mlkit.bpmn.engine.behaviors.behavior import Behavior
from mlkit.bpmn.engine.effects import Broadcast, Send
from mlkit.bpmn.engine.events import Signal
from mlkit.bpmn.engine.state import Activation, Post, Scope
from mlkit.bpmn.engine.waits import ForSignal
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Move


class ThrowEvent(Behavior):
    """An intermediate event that throws and lets the token pass."""

    def enter(self, move: Move, scope: Scope) -> None:
        """Throw, then go on; a link goes on at its target."""
        event = self.awaited
        if event.kind == "none":
            prepare(move, scope, self)
            super().enter(move, scope)
        elif event.kind == "link":
            prepare(move, scope, self)
            move.passed(self, scope)
            move.queue.append((scope, self.id))
        elif event.of_kind("compensate"):
            thrown = prepare(move, scope, self)
            if release(move, scope, self.node, thrown):
                undo(move, self, scope)
        else:
            self._throw(move, scope)

    def _throw(self, move: Move, scope: Scope) -> None:
        flows = self.choose(move, scope)
        thrown = prepare(move, scope, self)
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
            seen = move.variables(activation)
            mine = move.state.scopes[seen].variables
            thrown = _all(move, seen, self.node, {name: mine[name] for name, _ in self.node.inputs})
            _require_one_receiver(move, self.node, thrown)
            release(move, move.state.scopes[activation.scope], self.node, thrown)
        self.leave(move, activation)


def undo(move: Move, behavior: Behavior, scope: Scope) -> None:
    """Compensate; the token goes on after the last handler."""
    thrower = move.activate(behavior, scope)
    (event,) = behavior.awaited.of_kind("compensate")[:1]
    compensation.begin(move, thrower, scope, event.activity)


def announce(move: Move, host: Activation, event: EventDefinition) -> None:
    """Throw an event from an activity that goes on."""
    scope = move.state.scopes[host.scope]
    if event.kind == "error":
        errors.throw(move, host, event.code or "", "")
    elif event.kind == "escalation":
        errors.escalate(move, scope, event.code or "", host)
    else:
        release(move, scope, FlowNode("", ""), [_prepare(move, scope.id, event, {})])


class Outgoing(NamedTuple):
    """What one definition of an event throws, evaluated."""

    event: EventDefinition
    name: str
    key: str
    variables: dict[str, Any]
    message: str = ""


def prepare(move: Move, scope: Scope, behavior: Behavior) -> list[Outgoing]:
    """Evaluate the names, keys and contents of what an event throws, and set its outputs.

    Raises:
        BadData: An expression fails.
    """
    node = behavior.node
    values = _contents(move, scope.id, node)
    thrown = _all(move, scope.id, node, values)
    _require_one_receiver(move, node, thrown)
    if node.outputs:
        with move.names(scope, **values) as inner:
            left = {name: move.evaluate(each, inner) for name, each in node.outputs}
        move.state.assign(scope.id, left)
    return thrown


def _contents(move: Move, scope: int, node: FlowNode) -> dict[str, Any]:
    """Evaluate the inputs of what throws: each sees those before it."""
    values: dict[str, Any] = {}
    for name, each in node.inputs:
        with move.names(move.state.scopes[scope], **values) as inner:
            values[name] = move.evaluate(each, inner)
    return values


def _all(move: Move, scope: int, node: FlowNode, values: dict[str, Any]) -> list[Outgoing]:
    if node.event is None:
        return []
    return [_prepare(move, scope, each, values) for each in node.event.parts or (node.event,)]


def _prepare(move: Move, scope: int, event: EventDefinition, values: dict[str, Any]) -> Outgoing:
    if event.kind in ("error", "escalation"):
        with move.names(move.state.scopes[scope], **values) as inner:
            message = move.text(event.message, inner)
        return Outgoing(event, event.code or "", "", {}, message)
    # Names and keys are looked for in what is sent first.
    with move.names(move.state.scopes[scope], **values) as inner:
        key = move.correlation_key(event, inner) if event.kind == "message" else ""
        return Outgoing(event, move.text(event.name, inner), key, values)


def release(move: Move, scope: Scope, node: FlowNode, thrown: list[Outgoing]) -> bool:
    """Throw messages, signals and escalations; say whether the scope has outlived it."""
    interrupted = scope.interrupted
    for each in thrown:
        if each.event.kind == "message":
            _send(move, node, each)
        elif each.event.kind == "signal":
            move.effects.append(Broadcast(each.name, each.variables))
            broadcast(move, Signal(each.name, each.variables))
        elif each.event.kind == "escalation":
            errors.escalate(move, scope, each.name)
        here = move.state.scopes.get(scope.id) is scope and scope.interrupted == interrupted
        if not here or not scope.live:
            return False
    return True


def _require_one_receiver(move: Move, node: FlowNode, thrown: list[Outgoing]) -> None:
    """Refuse a message that several wait for at the other end of a message flow.

    Raises:
        BadData: They do.
    """
    for each in thrown if node.recipients else ():
        post = Post(list(node.recipients), each.name, each.key)
        waiting = messages.receivers(move, post) if each.event.kind == "message" else []
        if len(waiting) > 1:
            problem = (
                f"message {each.name!r}, key {each.key!r}: {len(waiting)} activities wait for it"
            )
            raise BadData(problem, hint="give each a correlation key of its own")


def _send(move: Move, node: FlowNode, message: Outgoing) -> None:
    recipients = [each for each in node.recipients if move.graph.runs(each)]
    if recipients:
        move.state.posts.append(Post(recipients, message.name, message.key, message.variables))
    else:
        move.effects.append(Send(message.name, message.key, message.variables))


def broadcast(move: Move, signal: Signal) -> None:
    """Let everything in this instance that waits for the signal go on."""
    waiting = [
        each
        for each in move.state.activations.values()
        if isinstance(each.wait, ForSignal) and each.wait.name == signal.name
    ]
    for each in waiting:
        if each.id in move.state.activations and each.status == "waiting":
            move.behavior(each).event(move, each, signal)
