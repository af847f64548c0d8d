"""Intermediate catch events, start events that wait, and receive tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.engine.behaviors import subscription
from mlkit.bpmn.engine.behaviors.activity import Activity
from mlkit.bpmn.engine.behaviors.behavior import Behavior
from mlkit.bpmn.engine.events import AnyEvent
from mlkit.bpmn.engine.state import Activation, Scope
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step


class CatchEvent(Behavior):
    """An event that keeps its token until something happens."""

    def enter(self, step: Step, scope: Scope) -> None:
        """Begin to wait; a link target and a none event let the token pass."""
        if self.awaited.kind in ("none", "link"):
            self.map_outputs(step, scope)
            super().enter(step, scope)
        else:
            self.wait(step, step.activate(self, scope))

    def wait(self, step: Step, activation: Activation) -> None:
        """Subscribe, or stop as an incident where that fails."""
        step.run_guarded(activation, "enter", lambda: self.subscribe(step, activation))

    def subscribe(self, step: Step, activation: Activation) -> None:
        """Wait for the event.

        Raises:
            BadData: What it waits for cannot be evaluated.
        """
        subscription.prepare(step, activation, self.node.inputs)
        subscription.subscribe(step, activation, self.awaited)

    def event(self, step: Step, activation: Activation, event: AnyEvent) -> None:
        """Go on when what it waits for happens."""
        if not subscription.matches(activation, event):
            super().event(step, activation, event)
            return
        if not subscription.publish(step, activation, event, self.node.outputs):
            return
        whole = subscription.find_completed(step, activation, self.awaited)
        if whole is None:
            return
        if whole.role in ("branch", "start"):
            self._win(step, whole)
        else:
            self.leave(step, whole)

    def retry(self, step: Step, activation: Activation) -> None:
        """Try an incident again."""
        if activation.role == "start" and activation.stage == "enter":
            self.wait(step, activation)
        else:
            super().retry(step, activation)

    def _win(self, step: Step, activation: Activation) -> None:
        """Take the token of an event gateway (or of the waiting process) for this event."""
        scope = step.state.scopes[activation.scope]
        gateway = step.state.activations.get(activation.host)
        if gateway is not None:
            step.behavior(gateway).note_winner(step, gateway, activation)
        for each in list(step.state.activations.values()):
            if each.role == "start" and each.scope == scope.id:
                step.remove(each)
        self.go(step, scope)

    def happen(self, step: Step, scope: Scope) -> None:
        """Begin a process by this event, whose variables are there already."""
        try:
            self.map_outputs(step, scope)
        except BadData as error:
            step.park(self, scope, f"{self.id}: {error.message}")
        else:
            self.go(step, scope)

    def go(self, step: Step, scope: Scope) -> None:
        """Send on the token of an event that has happened."""
        try:
            self.pass_through(step, scope)
        except BadData as error:
            waiting = step.activate(self, scope)
            step.incident(waiting, f"{self.id}: {error.message}", "leave")


class ReceiveTask(Activity, CatchEvent):
    """An activity that waits for a message."""

    def enter(self, step: Step, scope: Scope) -> None:
        """Begin one activation."""
        Activity.enter(self, step, scope)

    def execute(self, step: Step, activation: Activation) -> None:
        """Wait for the message."""
        subscription.subscribe(step, activation, self.awaited)

    def event(self, step: Step, activation: Activation, event: AnyEvent) -> None:
        """Go on when the message arrives."""
        if activation.role in ("branch", "start"):
            CatchEvent.event(self, step, activation, event)
        elif subscription.matches(activation, event):
            subscription.publish(step, activation, event)
            self.leave(step, activation)
        else:
            Activity.event(self, step, activation, event)
