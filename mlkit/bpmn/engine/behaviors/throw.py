"""Events that throw: intermediate throw events, and send tasks without a callable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mlkit.bpmn.definition.model import EventDefinition, FlowNode
from mlkit.bpmn.engine.behaviors import compensation, errors, messages
from mlkit.bpmn.engine.behaviors.activity import Activity
from mlkit.bpmn.engine.behaviors.behavior import Behavior
from mlkit.bpmn.engine.effects import Broadcast, Send
from mlkit.bpmn.engine.events import Signal
from mlkit.bpmn.engine.state import Activation, PendingMessage, Scope
from mlkit.bpmn.engine.waits import ForSignal
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step


class ThrowEvent(Behavior):
    """An intermediate event that throws and lets the token pass."""

    def enter(self, step: Step, scope: Scope) -> None:
        """Throw, then go on; a link goes on at its target."""
        event = self.awaited
        if event.kind == "none":
            prepare(step, scope, self)
            super().enter(step, scope)
        elif event.kind == "link":
            prepare(step, scope, self)
            self.pass_on(step, scope, (self.id,))
        elif event.of_kind("compensate"):
            thrown = prepare(step, scope, self)
            if release(step, scope, self.node, thrown):
                undo(step, self, scope)
        else:
            flows = self.choose(step, scope)
            move_and_throw(step, scope, self, flows, prepare(step, scope, self))


class SendTask(Activity):
    """An activity that sends a message and is done."""

    def execute(self, step: Step, activation: Activation) -> None:
        """Send."""
        if self.node.event is not None:
            seen = step.variables(activation)
            mine = step.state.scopes[seen].variables
            thrown = _all(step, seen, self.node, {name: mine[name] for name, _ in self.node.inputs})
            _require_one_receiver(step, self.node, thrown)
            release(step, step.state.scopes[activation.scope], self.node, thrown)
        self.leave(step, activation)


def move_and_throw(
    step: Step,
    scope: Scope,
    behavior: Behavior,
    flows: tuple[str, ...],
    thrown: list[Outgoing],
) -> None:
    """Send the token of an event on, then throw: what catches it may end this scope.

    Raises:
        BadData: An expression of a listener fails; nothing has changed.
    """
    if not thrown:
        behavior.pass_on(step, scope, flows)
        return
    behavior.hear_end(step, scope)
    scope.live += 1  # It stays open until everything is thrown.
    behavior.send_on(step, scope, flows)
    if release(step, scope, behavior.node, thrown):
        scope.live -= 1
        if scope.live == 0:
            step.finish(scope)


def undo(step: Step, behavior: Behavior, scope: Scope) -> None:
    """Compensate; the token goes on after the last handler."""
    thrower = step.activate(behavior, scope)
    (event,) = behavior.awaited.of_kind("compensate")[:1]
    compensation.begin(step, thrower, scope, event.activity)


def announce(step: Step, host: Activation, event: EventDefinition) -> None:
    """Throw an event from an activity that goes on."""
    scope = step.state.scopes[host.scope]
    if event.kind == "error":
        errors.throw(step, host, event.code or "", "")
    elif event.kind == "escalation":
        errors.escalate(step, scope, event.code or "", host)
    else:
        release(step, scope, FlowNode("", ""), [_prepare(step, scope.id, event, {})])


class Outgoing(NamedTuple):
    """What one definition of an event throws, evaluated."""

    event: EventDefinition
    name: str
    key: str
    variables: dict[str, Any]
    message: str = ""


def prepare(step: Step, scope: Scope, behavior: Behavior) -> list[Outgoing]:
    """Evaluate the names, keys and contents of what an event throws, and set its outputs.

    Raises:
        BadData: An expression fails.
    """
    node = behavior.node
    values = _contents(step, scope.id, node)
    thrown = _all(step, scope.id, node, values)
    _require_one_receiver(step, node, thrown)
    if node.outputs:
        with step.names(scope, **values) as inner:
            left = {name: step.evaluate(each, inner) for name, each in node.outputs}
        step.state.assign(scope.id, left)
    return thrown


def _contents(step: Step, scope: int, node: FlowNode) -> dict[str, Any]:
    """Evaluate the inputs of what throws: each sees those before it."""
    values: dict[str, Any] = {}
    for name, each in node.inputs:
        with step.names(step.state.scopes[scope], **values) as inner:
            values[name] = step.evaluate(each, inner)
    return values


def _all(step: Step, scope: int, node: FlowNode, values: dict[str, Any]) -> list[Outgoing]:
    if node.event is None:
        return []
    events = node.event.parts or (node.event,)
    return [_prepare(step, scope, each, values) for each in events if each.kind != "none"]


def _prepare(step: Step, scope: int, event: EventDefinition, values: dict[str, Any]) -> Outgoing:
    if event.kind in ("error", "escalation"):
        with step.names(step.state.scopes[scope], **values) as inner:
            message = step.text(event.message, inner)
        return Outgoing(event, event.code or "", "", {}, message)
    # Names and keys are looked for in what is sent first.
    with step.names(step.state.scopes[scope], **values) as inner:
        key = step.correlation_key(event, inner) if event.kind == "message" else ""
        return Outgoing(event, step.text(event.name, inner), key, values)


def release(step: Step, scope: Scope, node: FlowNode, thrown: list[Outgoing]) -> bool:
    """Throw messages, signals and escalations; return whether the scope has outlived it."""
    interrupted = scope.interrupted
    for each in thrown:
        if each.event.kind == "message":
            _send(step, node, each)
        elif each.event.kind == "signal":
            step.effects.append(Broadcast(each.name, each.variables))
            broadcast(step, Signal(each.name, each.variables))
        elif each.event.kind == "escalation":
            errors.escalate(step, scope, each.name)
        here = step.state.scopes.get(scope.id) is scope and scope.interrupted == interrupted
        if not here or not scope.live:
            return False
    return True


def _require_one_receiver(step: Step, node: FlowNode, thrown: list[Outgoing]) -> None:
    """Refuse a message that several wait for at the other end of a message flow.

    Raises:
        BadData: They do.
    """
    for each in thrown if node.recipients else ():
        pending = PendingMessage(list(node.recipients), each.name, each.key)
        waiting = messages.receivers(step, pending) if each.event.kind == "message" else []
        if len(waiting) > 1:
            problem = (
                f"message {each.name!r}, key {each.key!r}: {len(waiting)} activities wait for it"
            )
            raise BadData(problem, hint="give each a correlation key of its own")


def _send(step: Step, node: FlowNode, message: Outgoing) -> None:
    recipients = [each for each in node.recipients if step.graph.runs(each)]
    if recipients:
        step.state.pending_messages.append(
            PendingMessage(recipients, message.name, message.key, message.variables)
        )
    else:
        step.effects.append(Send(message.name, message.key, message.variables))


def broadcast(step: Step, signal: Signal) -> None:
    """Let everything in this instance that waits for the signal go on."""
    waiting = [
        each
        for each in step.state.activations.values()
        if isinstance(each.wait, ForSignal) and each.wait.name == signal.name
    ]
    for each in waiting:
        if each.id in step.state.activations and each.status == "waiting":
            step.behavior(each).event(step, each, signal)
