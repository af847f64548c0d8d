"""Standard loops (BPMN 2.0.2, 13.3.6): again while a condition holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.definition import model
from mlkit.bpmn.definition.model import FlowNode, Repeat
from mlkit.bpmn.engine.behaviors.activity import Activity
from mlkit.bpmn.engine.behaviors.repeated import Repeated
from mlkit.bpmn.engine.state import Activation, Scope
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step

MAX_ITERATIONS = 100_000


class StandardLoop(Repeated):
    """Does its activity again and again; `loopCounter` counts the iterations from 0."""

    def __init__(self, node: FlowNode, body: model.Scope, inner: Activity, loop: Repeat) -> None:
        super().__init__(node, body, inner)
        self.loop = loop

    def execute(self, step: Step, activation: Activation) -> None:
        """Begin the first iteration, unless the condition forbids it."""
        known = step.state.scopes.get(activation.local)
        if known is None or "loopCounter" not in known.variables:
            self.outside(step, activation, {"loopCounter": 0})
        if self.loop.before and not self._again(step, activation, 0):
            self.leave(step, activation)
        else:
            self._turn(step, activation)

    def _again(self, step: Step, host: Activation, iterations: int) -> bool:
        if iterations >= MAX_ITERATIONS:
            raise BadData(f"no end after {MAX_ITERATIONS} iterations")
        if self.loop.maximum is not None and iterations >= self.loop.maximum:
            return False
        condition = self.loop.condition
        return condition is None or step.holds(condition, host.local)

    def _turn(self, step: Step, host: Activation) -> None:
        index = step.state.scopes[host.local].variables["loopCounter"]
        activation = self.spawn(step, host, index)
        activation.local = step.state.next_id()
        step.state.scopes[activation.local] = Scope(activation.local, self.id, host.local)
        self.inner.begin(step, activation)

    def finish_iteration(self, step: Step, host: Activation, activation: Activation) -> None:
        """Look at the condition; begin the next iteration or leave."""
        counter = step.state.scopes[host.local].variables
        counter["loopCounter"] += 1
        try:
            again = self._again(step, host, counter["loopCounter"])
        except BadData:
            counter["loopCounter"] -= 1
            raise
        self.inner.record(step, activation)
        step.remove(activation)
        step.step(activation, "completed")
        if again:
            # Deferred: iterations that do not wait would nest as deeply as there are iterations.
            step.deferred.append(host.id)
        else:
            self.leave(step, host)

    def resume(self, step: Step, activation: Activation) -> None:
        """Begin the next iteration."""
        if activation.role == "iteration":
            super().resume(step, activation)
        else:
            self._turn(step, activation)
