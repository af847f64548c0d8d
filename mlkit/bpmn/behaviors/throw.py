"""Events that throw: intermediate throw events, and send tasks without a callable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.behaviors import errors
from mlkit.bpmn.behaviors.activity import Activity
from mlkit.bpmn.behaviors.behavior import Behavior
from mlkit.bpmn.events import Effect, Signal
from mlkit.bpmn.model import EventDefinition
from mlkit.bpmn.state import Activation, Scope

if TYPE_CHECKING:
    from mlkit.bpmn.move import Move


class ThrowEvent(Behavior):
    """An intermediate event that throws and lets the token pass."""

    def enter(self, move: Move, scope: Scope) -> None:
        """Throw, then go on; a link goes on at its target."""
        event = self.node.event
        if event is None or event.kind == "none":
            super().enter(move, scope)
        elif event.kind == "link":
            move.passed(self, scope)
            move.queue.append((scope, self.id))
        else:
            self._throw(move, scope, event)

    def _throw(self, move: Move, scope: Scope, event: EventDefinition) -> None:
        flows = self.choose(move, scope)
        thrown = prepare(move, scope.id, event)
        move.passed(self, scope)
        # The token moves on first: what catches the event may end this scope.
        scope.live += len(flows)
        for flow in flows:
            move.queue.append((scope, flow))
        release(move, scope, event, thrown)
        if scope.id in move.state.scopes and scope.live:
            scope.live -= 1
            if scope.live == 0:
                move.finish(scope)


class SendTask(Activity):
    """An activity that sends a message and is done."""

    def execute(self, move: Move, activation: Activation) -> None:
        """Send."""
        event = self.node.event
        if event is not None:
            thrown = prepare(move, move.variables(activation), event)
            release(move, move.state.scopes[activation.scope], event, thrown)
        self.leave(move, activation)


def prepare(move: Move, scope: int, event: EventDefinition) -> tuple[str, str]:
    """Evaluate the name (or code) and the key of what is thrown.

    Raises:
        BadData: An expression fails.
    """
    if event.kind in ("error", "escalation"):
        return event.code or "", ""
    key = move.state.key if event.expression is None else move.text(event.expression, scope)
    return move.text(event.name, scope), key


def release(move: Move, scope: Scope, event: EventDefinition, thrown: tuple[str, str]) -> None:
    """Throw: to the runner, to who listens in this instance, or outwards."""
    name, key = thrown
    if event.kind == "message":
        move.effects.append(Effect("send", 0, name, key))
    elif event.kind == "signal":
        move.effects.append(Effect("broadcast", 0, name))
        broadcast(move, Signal(name))
    elif event.kind == "escalation":
        errors.escalate(move, scope, name)


def broadcast(move: Move, signal: Signal) -> None:
    """Let everything in this instance that waits for the signal go on."""
    waiting = [
        each for each in move.state.activations.values() if each.detail.get("signal") == signal.name
    ]
    for each in waiting:
        if each.id in move.state.activations and each.status == "waiting":
            move.behavior(each).event(move, each, signal)
