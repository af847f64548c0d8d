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
    from mlkit.bpmn.engine.step import Step


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

    def arm(self, step: Step, scope: Scope) -> None:
        """Wait while a scope runs; what is thrown finds its way alone."""
        event = self.awaited
        if not subscription.is_thrown(event):
            trigger = step.activate(self, scope, "trigger")
            step.run_guarded(trigger, "arm", lambda: subscription.subscribe(step, trigger, event))

    def event(self, step: Step, activation: Activation, event: AnyEvent) -> None:
        """Begin when what it waits for happens."""
        if not subscription.matches(activation, event):
            super().event(step, activation, event)
            return
        outputs = self.start.outputs if self.start is not None else ()
        if not subscription.publish(step, activation, event, outputs):
            return
        trigger = subscription.find_completed(step, activation, self.awaited)
        if trigger is None:
            return
        scope = step.state.scopes[activation.scope]
        if not self.interrupts:
            subscription.again(step, activation, self.awaited)
        self._begin(step, scope)

    @property
    def interrupts(self) -> bool:
        """Whether it ends all else in the scope around it."""
        return self.start is not None and self.start.interrupting

    def catch(self, step: Step, scope: Scope, thrown: Thrown) -> None:
        """Take what was thrown inside the scope around it."""
        tell(step, scope.id, self.awaited, thrown)
        self._begin(step, scope)

    def _begin(self, step: Step, scope: Scope) -> None:
        if self.interrupts:
            step.clear(scope)
            scope.interrupted = True
        scope.live += 1
        self.begin(step, step.activate(self, scope))

    def execute(self, step: Step, activation: Activation) -> None:
        """Put a token behind the start event."""
        assert self.start is not None
        start = step.graph.behaviors[self.start.id]
        assert isinstance(start, CatchEvent)
        if subscription.is_thrown(self.awaited):
            start.map_outputs(step, step.state.scopes[step.variables(activation)])
        scope = self.open(step, activation)
        scope.live = 1
        start.go(step, scope)

    def retry(self, step: Step, activation: Activation) -> None:
        """Try an incident again."""
        if activation.stage == "arm":
            activation.incident = None
            step.run_guarded(
                activation, "arm", lambda: subscription.subscribe(step, activation, self.awaited)
            )
        else:
            super().retry(step, activation)
