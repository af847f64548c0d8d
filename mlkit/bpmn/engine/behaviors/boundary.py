"""Boundary events (BPMN 2.0.2, 13.5.3), interrupting and not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.engine.behaviors import subscription
from mlkit.bpmn.engine.behaviors.behavior import Behavior
from mlkit.bpmn.engine.behaviors.errors import Thrown, tell
from mlkit.bpmn.engine.events import AnyEvent
from mlkit.bpmn.engine.state import Activation, Scope
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Move


class BoundaryEvent(Behavior):
    """An event that guards an activity."""

    def arm(self, move: Move, host: Activation) -> None:
        """Wait beside an activity that begins; what is thrown finds its way alone."""
        event = self.awaited
        if not subscription.is_thrown(event):
            scope = move.state.scopes[host.scope]
            guard = move.activate(self, scope, "guard", host)
            guard.iteration = host.iteration
            subscription.subscribe(move, guard, event)

    def event(self, move: Move, activation: Activation, event: AnyEvent) -> None:
        """Fire."""
        if not subscription.fired(activation, event):
            super().event(move, activation, event)
            return
        if not subscription.publish(move, activation, event, self.node.outputs):
            return
        guard = subscription.happened(move, activation, self.awaited)
        if guard is None:
            return
        host = move.state.activations[guard.host]
        if not self.node.interrupting:
            subscription.again(move, activation, self.awaited)
        self._fire(move, host)

    def enter(self, move: Move, scope: Scope) -> None:
        """Go on; what was thrown brings nothing, so that it is known here what leaves."""
        if subscription.is_thrown(self.awaited):
            self.map_outputs(move, scope)
        super().enter(move, scope)

    def catch(self, move: Move, host: Activation, thrown: Thrown) -> None:
        """Take what the activity or its inside threw."""
        tell(move, host.scope, self.awaited, thrown)
        self._fire(move, host)

    def _fire(self, move: Move, host: Activation) -> None:
        scope = move.state.scopes[host.scope]
        if self.node.interrupting:
            move.terminate(host)
        else:
            scope.live += 1
        self.try_enter(move, scope)

    def retry(self, move: Move, activation: Activation) -> None:
        """Try an incident again: a guard that failed to begin was removed with its activity."""
        if activation.role == "guard" and activation.stage == "enter":
            raise BadData(f"{self.id} cannot be tried again")
        super().retry(move, activation)
