"""Event sub-processes (BPMN 2.0.2, 13.5.4): armed as long as the scope around them runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.definition import model
from mlkit.bpmn.definition.model import EventDefinition, FlowNode
from mlkit.bpmn.engine.behaviors import subscription
from mlkit.bpmn.engine.behaviors.catch import CatchEvent
from mlkit.bpmn.engine.behaviors.errors import Thrown, tell
from mlkit.bpmn.engine.behaviors.subprocess import SubProcess
from mlkit.bpmn.engine.events import AnyEvent
from mlkit.bpmn.engine.state import Activation, Scope
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Move


class EventSubProcess(SubProcess):
    """A sub-process that no flow leads to: its start event begins it."""

    def __init__(self, node: FlowNode, body: model.Scope) -> None:
        super().__init__(node, body)
        starts = (each for each in self.inside.nodes.values() if each.type == "startEvent")
        self.start = next(starts, None)

    @property
    def awaited(self) -> EventDefinition:
        """What its start event waits for."""
        if self.start is None or self.start.event is None:
            raise BadData(f"{self.id} has no start event")
        return self.start.event

    def arm(self, move: Move, scope: Scope) -> None:
        """Wait while a scope runs; what is thrown finds its way alone."""
        event = self.awaited
        if not subscription.is_thrown(event):
            trigger = move.activate(self, scope, "trigger")
            move.guarded(trigger, "arm", lambda: subscription.subscribe(move, trigger, event))

    def event(self, move: Move, activation: Activation, event: AnyEvent) -> None:
        """Begin when what it waits for happens."""
        if not subscription.fired(activation, event):
            super().event(move, activation, event)
            return
        outputs = self.start.outputs if self.start is not None else ()
        if not subscription.publish(move, activation, event, outputs):
            return
        trigger = subscription.happened(move, activation, self.awaited)
        if trigger is None:
            return
        scope = move.state.scopes[activation.scope]
        if not self.interrupts:
            subscription.again(move, activation, self.awaited)
        self._begin(move, scope)

    @property
    def interrupts(self) -> bool:
        """Whether it ends all else in the scope around it."""
        return self.start is not None and self.start.interrupting

    def catch(self, move: Move, scope: Scope, thrown: Thrown) -> None:
        """Take what was thrown inside the scope around it."""
        tell(move, scope.id, self.awaited, thrown)
        self._begin(move, scope)

    def _begin(self, move: Move, scope: Scope) -> None:
        if self.interrupts:
            move.clear(scope)
            scope.interrupted = True
        scope.live += 1
        self.begin(move, move.activate(self, scope))

    def execute(self, move: Move, activation: Activation) -> None:
        """Put a token behind the start event."""
        assert self.start is not None
        start = move.graph.behaviors[self.start.id]
        assert isinstance(start, CatchEvent)
        if subscription.is_thrown(self.awaited):
            start.map_outputs(move, move.state.scopes[move.variables(activation)])
        scope = self.open(move, activation)
        scope.live = 1
        start.go(move, scope)

    def retry(self, move: Move, activation: Activation) -> None:
        """Try an incident again."""
        if activation.stage == "arm":
            activation.incident = None
            move.guarded(
                activation, "arm", lambda: subscription.subscribe(move, activation, self.awaited)
            )
        else:
            super().retry(move, activation)
