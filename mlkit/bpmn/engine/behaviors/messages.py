"""Messages between the pools of one file, along their message flows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.engine.events import Receive
from mlkit.bpmn.engine.state import Activation, PendingMessage, Scope
from mlkit.bpmn.engine.waits import ForMessage

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step


def deliver(step: Step) -> bool:
    """Deliver one message that somebody takes; return whether there was one."""
    for pending in step.state.pending_messages:
        waiting = receivers(step, pending)
        if len(waiting) == 1:
            step.state.pending_messages.remove(pending)
            receiver = waiting[0]
            event = Receive(receiver.id, pending.variables)
            step.behavior(receiver).event(step, receiver, event)
            return True
        if not waiting and step.begin_by(pending):
            step.state.pending_messages.remove(pending)
            return True
    return False


def receivers(step: Step, pending: PendingMessage) -> list[Activation]:
    """Return what waits for a message."""
    return [each for each in step.state.activations.values() if _takes(step, each, pending)]


def _takes(step: Step, activation: Activation, pending: PendingMessage) -> bool:
    wait = activation.wait
    if activation.status != "waiting" or not isinstance(wait, ForMessage):
        return False
    if wait.name != pending.name or (activation.role != "start" and wait.key != pending.key):
        return False
    pool = _pool(step, step.state.scopes[activation.scope])
    return activation.node in pending.recipients or pool.element in pending.recipients


def _pool(step: Step, scope: Scope) -> Scope:
    while scope.parent:
        scope = step.state.scopes[scope.parent]
    return scope
