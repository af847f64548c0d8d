"""Event-based gateways (BPMN 2.0.2, 13.4.4): the first event wins, or all must happen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.engine.behaviors.behavior import Behavior
from mlkit.bpmn.engine.behaviors.catch import CatchEvent
from mlkit.bpmn.engine.state import Activation, Scope
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step


class EventBasedGateway(Behavior):
    """Waits for all the events behind it at once."""

    def enter(self, step: Step, scope: Scope) -> None:
        """Subscribe to every event behind the gateway."""
        self.wait(step, step.activate(self, scope))

    def wait(self, step: Step, activation: Activation) -> None:
        """Subscribe, or stop as an incident where that fails."""
        try:
            for flow in self.flows:
                self.await_branch(step, activation, flow)
        except BadData as error:
            for child in list(activation.children):
                step.remove(step.state.activations[child])
            step.incident(activation, f"{self.id}: {error.message}", "enter")

    def await_branch(self, step: Step, gateway: Activation, flow: str) -> None:
        """Subscribe to the event behind a flow.

        Raises:
            BadData: There is none, or what it waits for cannot be evaluated.
        """
        scope, target = step.state.scopes[gateway.scope], step.graph.targets[flow]
        if not isinstance(target, CatchEvent):
            raise BadData(f"{target.id} is not an event to wait for")
        branch = step.activate(target, scope, "branch", gateway)
        target.subscribe(step, branch)

    def note_winner(self, step: Step, activation: Activation, branch: Activation) -> None:
        """Pass the gateway's token to the event; a parallel gateway keeps it until the last."""
        if self.node.parallel and len(activation.children) > 1:
            activation.role = ""
            step.remove(branch)
            step.state.scopes[activation.scope].live += 1
            return
        step.remove(activation)
        step.step(activation, "completed")

    def retry(self, step: Step, activation: Activation) -> None:
        """Try an incident again."""
        activation.incident = None
        activation.status = "open"
        self.wait(step, activation)
