"""Ad-hoc sub-processes (BPMN 2.0.2, 13.3.8): activities in the order that people choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.definition import model
from mlkit.bpmn.definition.model import AdHoc, FlowNode
from mlkit.bpmn.engine.behaviors.subprocess import SubProcess, begins_alone
from mlkit.bpmn.engine.events import AnyEvent, Begin, Complete
from mlkit.bpmn.engine.state import Activation, Scope
from mlkit.bpmn.engine.waits import ForStart
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step


class AdHocSubProcess(SubProcess):
    """A sub-process whose activities start by a list, or one by one from outside.

    Its scope holds one token more than its activities, so that it stays open between them.
    """

    def __init__(self, node: FlowNode, body: model.Scope) -> None:
        super().__init__(node, body)
        self.rules = node.ad_hoc or AdHoc()
        self.watches = True
        self.startable = {each.id for each in self.inside.nodes.values() if begins_alone(each)}

    def execute(self, step: Step, activation: Activation) -> None:
        """Start what the list names."""
        scope = self.open(step, activation)
        scope.live = 1
        wait = activation.wait = ForStart()
        activation.status = "waiting"
        if self.rules.active is not None:
            wanted = step.evaluate(self.rules.active, step.variables(activation))
            if not isinstance(wanted, list):
                raise BadData(f"{self.rules.active.text!r} does not return a list of activities")
            wait.queue = [str(each) for each in wanted]
            self._next(step, activation, wait.queue, scope)

    def _next(self, step: Step, activation: Activation, queue: list[str], scope: Scope) -> None:
        """Start what the list still holds: all of it, or one activity of a sequential one."""
        while queue and not (self.rules.sequential and scope.live > 1):
            self._start(step, activation, queue.pop(0))

    def _start(self, step: Step, activation: Activation, element: str) -> None:
        scope = step.state.scopes[activation.body]
        if element not in self.startable:
            raise BadData(f"{element!r} is not an activity of {self.id} that can be started")
        if waits(activation).ending:
            raise BadData(f"{self.id} can start nothing more: its completion condition holds")
        if self.rules.sequential and scope.live > 1:
            raise BadData(f"{self.id} is sequential, and one of its activities is running")
        scope.live += 1
        step.graph.behaviors[element].try_enter(step, scope)

    def event(self, step: Step, activation: Activation, event: AnyEvent) -> None:
        """Start an activity, or end the sub-process."""
        if isinstance(event, Begin):
            self._start(step, activation, event.element)
        elif isinstance(event, Complete) and activation.body:
            if step.state.scopes[activation.body].live > 1:
                raise BadData(f"{self.id} has activities that are running")
            self.finish(step, activation, step.state.scopes[activation.body])
        else:
            super().event(step, activation, event)

    def look(self, step: Step) -> bool:
        """End each instance that may end, once all tokens rest."""
        return any(
            self._ends(step, each, step.state.scopes[each.body])
            for each in list(step.state.activations.values())
            if each.node == self.id and each.body and each.status == "waiting"
        )

    def _ends(self, step: Step, activation: Activation, scope: Scope) -> bool:
        try:
            over = self._is_over(step, activation, scope)
        except BadData as error:
            step.incident(activation, f"{self.id}: {error.message}", "await")
            return False
        if over and (self.rules.cancels or scope.live == 1):
            self.finish(step, activation, scope)
            return True
        wait = waits(activation)
        if over:
            wait.ending = True
        elif scope.live == 1 and wait.queue:
            self._next(step, activation, wait.queue, scope)
            return True
        return False

    def _is_over(self, step: Step, activation: Activation, scope: Scope) -> bool:
        condition = self.rules.completion
        wait = waits(activation)
        if wait.ending:
            return True
        if condition is None:
            return wait.queue == [] and scope.live == 1
        return self._has_completed(step) and step.holds(condition, scope.id)

    def _has_completed(self, step: Step) -> bool:
        """Return whether something inside completed in this step."""
        nodes = self.inside.nodes
        return any(each.element in nodes and each.event == "completed" for each in step.trace)


def waits(activation: Activation) -> ForStart:
    """Return what is left to start in an ad-hoc sub-process that runs."""
    assert isinstance(activation.wait, ForStart)
    return activation.wait
