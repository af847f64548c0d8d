"""Boundary events (BPMN 2.0.2, 13.5.3), interrupting and not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.behaviors import subscription
from mlkit.bpmn.behaviors.behavior import Behavior
from mlkit.bpmn.events import AnyEvent
from mlkit.bpmn.state import Activation
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.move import Move

_THROWN = ("error", "escalation")


class BoundaryEvent(Behavior):
    """An event that guards an activity."""

    def arm(self, move: Move, host: Activation) -> None:
        """Wait beside an activity that begins; errors and escalations find their way alone."""
        event = self.node.event
        if event is not None and event.kind not in _THROWN:
            scope = move.state.scopes[host.scope]
            guard = move.activate(self, scope, "guard", host)
            guard.iteration = host.iteration
            subscription.subscribe(move, guard, event)

    def event(self, move: Move, activation: Activation, event: AnyEvent) -> None:
        """Fire."""
        if not subscription.fired(activation, event):
            super().event(move, activation, event)
            return
        host = move.state.activations[activation.host]
        subscription.publish(move, activation, event, host.scope)
        if not self.node.interrupting and not subscription.again(move, activation):
            move.remove(activation)
        self._fire(move, host)

    def catch(self, move: Move, host: Activation, code: str, message: str) -> None:
        """Take an error or escalation that the activity or its inside threw."""
        event = self.node.event
        assert event is not None
        for name, value in ((event.code_variable, code), (event.message_variable, message)):
            if name:
                move.state.assign(host.scope, {name: value})
        self._fire(move, host)

    def _fire(self, move: Move, host: Activation) -> None:
        scope = move.state.scopes[host.scope]
        if self.node.interrupting:
            move.terminate(host)
        else:
            scope.live += 1
        self.try_enter(move, scope)

    def retry(self, move: Move, activation: Activation) -> None:
        """Try an incident again: a guard that failed was removed with its activity."""
        if activation.role == "guard":
            raise BadData(f"{self.id} cannot be tried again")
        super().retry(move, activation)
