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
    from mlkit.bpmn.engine.step import Step


class BoundaryEvent(Behavior):
    """An event on the boundary of an activity."""

    def arm(self, step: Step, host: Activation) -> None:
        """Wait beside an activity that begins; what is thrown finds its way alone."""
        event = self.awaited
        if not subscription.is_thrown(event):
            scope = step.state.scopes[host.scope]
            boundary = step.activate(self, scope, "guard", host)
            boundary.iteration = host.iteration
            subscription.subscribe(step, boundary, event)

    def event(self, step: Step, activation: Activation, event: AnyEvent) -> None:
        """Fire."""
        if not subscription.matches(activation, event):
            super().event(step, activation, event)
            return
        if not subscription.publish(step, activation, event, self.node.outputs):
            return
        boundary = subscription.find_completed(step, activation, self.awaited)
        if boundary is None:
            return
        host = step.state.activations[boundary.host]
        if not self.node.interrupting:
            subscription.again(step, activation, self.awaited)
        self._fire(step, host)

    def enter(self, step: Step, scope: Scope) -> None:
        """Go on; what was thrown brings nothing, so that it is known here what leaves."""
        if subscription.is_thrown(self.awaited):
            self.map_outputs(step, scope)
        super().enter(step, scope)

    def catch(self, step: Step, host: Activation, thrown: Thrown) -> None:
        """Take what the activity or its inside threw."""
        tell(step, host.scope, self.awaited, thrown)
        self._fire(step, host)

    def _fire(self, step: Step, host: Activation) -> None:
        scope = step.state.scopes[host.scope]
        if self.node.interrupting:
            step.terminate(host)
        else:
            scope.live += 1
        self.try_enter(step, scope)

    def retry(self, step: Step, activation: Activation) -> None:
        """Try an incident again; what failed to begin was removed with its activity."""
        if activation.role == "guard" and activation.stage == "enter":
            raise BadData(f"{self.id} cannot be tried again")
        super().retry(step, activation)
