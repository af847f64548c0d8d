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
    from mlkit.bpmn.engine.step import Move


class CatchEvent(Behavior):
    """An event that keeps its token until something happens."""

    def enter(self, move: Move, scope: Scope) -> None:
        """Begin to wait; a link target and a none event let the token pass."""
        if self.awaited.kind in ("none", "link"):
            self.map_outputs(move, scope)
            super().enter(move, scope)
        else:
            self.wait(move, move.activate(self, scope))

    def wait(self, move: Move, activation: Activation) -> None:
        """Subscribe, or stop as an incident where that fails."""
        move.guarded(activation, "enter", lambda: self.subscribe(move, activation))

    def subscribe(self, move: Move, activation: Activation) -> None:
        """Wait for the event.

        Raises:
            BadData: What it waits for cannot be evaluated.
        """
        subscription.prepare(move, activation, self.node.inputs)
        subscription.subscribe(move, activation, self.awaited)

    def event(self, move: Move, activation: Activation, event: AnyEvent) -> None:
        """Go on when what it waits for happens."""
        if not subscription.fired(activation, event):
            super().event(move, activation, event)
            return
        if not subscription.publish(move, activation, event, self.node.outputs):
            return
        whole = subscription.happened(move, activation, self.awaited)
        if whole is None:
            return
        if whole.role in ("branch", "start"):
            self._win(move, whole)
        else:
            self.leave(move, whole)

    def retry(self, move: Move, activation: Activation) -> None:
        """Try an incident again."""
        if activation.role == "start" and activation.stage == "enter":
            self.wait(move, activation)
        else:
            super().retry(move, activation)

    def _win(self, move: Move, activation: Activation) -> None:
        """Take the token of an event gateway (or of the waiting process) for this event."""
        scope = move.state.scopes[activation.scope]
        gateway = move.state.activations.get(activation.host)
        if gateway is not None:
            move.behavior(gateway).won(move, gateway, activation)
        for each in list(move.state.activations.values()):
            if each.role == "start" and each.scope == scope.id:
                move.remove(each)
        self.go(move, scope)

    def happen(self, move: Move, scope: Scope) -> None:
        """Begin a process by this event, whose variables are there already."""
        try:
            self.map_outputs(move, scope)
        except BadData as error:
            move.park(self, scope, f"{self.id}: {error.message}")
        else:
            self.go(move, scope)

    def go(self, move: Move, scope: Scope) -> None:
        """Send on the token of an event that has happened."""
        try:
            flows = self.choose(move, scope)
            move.passed(self, scope)
        except BadData as error:
            waiting = move.activate(self, scope)
            move.incident(waiting, f"{self.id}: {error.message}", "leave")
        else:
            move.put(scope, flows)


class ReceiveTask(Activity, CatchEvent):
    """An activity that waits for a message."""

    def enter(self, move: Move, scope: Scope) -> None:
        """Begin one activation."""
        Activity.enter(self, move, scope)

    def execute(self, move: Move, activation: Activation) -> None:
        """Wait for the message."""
        subscription.subscribe(move, activation, self.awaited)

    def event(self, move: Move, activation: Activation, event: AnyEvent) -> None:
        """Go on when the message arrives."""
        if activation.role in ("branch", "start"):
            CatchEvent.event(self, move, activation, event)
        elif subscription.fired(activation, event):
            subscription.publish(move, activation, event)
            self.leave(move, activation)
        else:
            Activity.event(self, move, activation, event)
