"""Multi-instance activities (BPMN 2.0.2, 13.3.7): one wrapper around any activity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlkit.bpmn.definition import model
from mlkit.bpmn.definition.model import BehaviorEvent, FlowNode, Loop
from mlkit.bpmn.engine.behaviors.activity import Activity
from mlkit.bpmn.engine.behaviors.repeated import Repeated
from mlkit.bpmn.engine.behaviors.throw import announce
from mlkit.bpmn.engine.state import Activation, Scope
from mlkit.bpmn.engine.waits import Iterations
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step

MAX_INSTANCES = 100_000


class MultiInstance(Repeated):
    """Does its activity once for each item, all at once or one after the other."""

    def __init__(self, node: FlowNode, body: model.Scope, inner: Activity, loop: Loop) -> None:
        super().__init__(node, body, inner)
        self.loop = loop
        self.all = f"{loop.counts}Instances"
        self.active = f"{loop.counts}ActiveInstances"
        self.completed = f"{loop.counts}CompletedInstances"

    def execute(self, step: Step, activation: Activation) -> None:
        """Start the iterations: all, or the first."""
        items = self._items(step, activation)
        counts = dict.fromkeys(
            (self.active, self.completed, f"{self.loop.counts}TerminatedInstances"), 0
        )
        self.outside(step, activation, counts | {self.all: len(items)})
        outputs = [None] * len(items) if self.loop.output_collection else None
        activation.iterations = Iterations(items, outputs=outputs)
        if not items:
            self.end(step, activation)
        for _ in items[:1] if self.loop.sequential else items:
            if activation.id in step.state.activations:
                self._spawn(step, activation)

    def _items(self, step: Step, activation: Activation) -> list[Any]:
        if self.loop.collection is not None:
            items = step.evaluate(self.loop.collection, step.variables(activation))
            if not isinstance(items, list):
                raise BadData(f"the collection {self.loop.collection.text!r} is not a list")
            return items
        assert self.loop.cardinality is not None
        count = step.evaluate(self.loop.cardinality, step.variables(activation))
        if isinstance(count, float) and count.is_integer():
            count = int(count)
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MAX_INSTANCES:
            raise BadData(
                f"the cardinality is {count!r}, expected a number from 0 to {MAX_INSTANCES}"
            )
        return list(range(count))

    def _spawn(self, step: Step, host: Activation) -> None:
        iterations = progress(host)
        index = iterations.next
        if index >= len(iterations.items):
            return
        iterations.next = index + 1
        activation = self.spawn(step, host, index)
        activation.local = step.state.next_id()
        variables: dict[str, Any] = {"loopCounter": index + self.loop.first}
        if self.loop.index:
            variables[self.loop.index] = variables["loopCounter"]
        variables |= dict.fromkeys(self.loop.own)
        if self.loop.element:
            variables[self.loop.element] = iterations.items[index]
        # What is gathered is each iteration's own; else Camunda 7 and Flowable keep nothing back.
        gathered = self.loop.output_collection is not None and not self.loop.own
        isolated = not self.node.shares or gathered
        step.state.scopes[activation.local] = Scope(
            activation.local, self.id, host.local, isolated=isolated, variables=variables
        )
        step.state.scopes[host.local].variables[self.active] += 1
        self.inner.begin(step, activation)

    def finish_iteration(self, step: Step, host: Activation, activation: Activation) -> None:
        """Count an iteration that is done; finish, or start the next."""
        left = self._evaluate_output(step, activation)
        scope = step.state.scopes[host.local]
        scope.variables[self.active] -= 1
        scope.variables[self.completed] += 1
        try:
            enough = self._enough(step, activation, scope)
            behavior_events = self._behavior_events(step, scope)
        except BadData:
            scope.variables[self.active] += 1
            scope.variables[self.completed] -= 1
            raise
        if left is not None:
            counter = step.state.scopes[activation.local].variables["loopCounter"]
            index = counter - self.loop.first
            outputs = progress(host).outputs
            assert outputs is not None
            outputs[index] = left[0]
        self.inner.record(step, activation)
        step.remove(activation)
        step.step(activation, "completed")
        for each in behavior_events:
            if host.id in step.state.activations:
                announce(step, host, each.event)
        if host.id not in step.state.activations:
            return  # What it threw has interrupted it.
        if enough:
            self.end(step, host)
        elif self.loop.sequential:
            # Deferred: iterations that do not wait would nest as deeply as there are items.
            step.deferred.append(host.id)

    def _behavior_events(self, step: Step, counts: Scope) -> list[BehaviorEvent]:
        """Choose what is thrown; the activity's own boundary events catch it first."""
        first = counts.variables[self.completed] == 1
        return [
            each
            for each in self.loop.behavior_events
            if (first or not each.first)
            and (each.condition is None or step.holds(each.condition, counts.id))
        ]

    def resume(self, step: Step, activation: Activation) -> None:
        """Start the next iteration."""
        if activation.role == "iteration":
            super().resume(step, activation)
        else:
            self._spawn(step, activation)

    def _evaluate_output(self, step: Step, activation: Activation) -> tuple[Any] | None:
        if self.loop.output_collection is None:
            return None
        if self.loop.output_element is None:
            return (None,)
        return (step.evaluate(self.loop.output_element, activation.local),)

    def _enough(self, step: Step, activation: Activation, scope: Scope) -> bool:
        done = scope.variables[self.completed] == scope.variables[self.all]
        completion = self.loop.completion
        return done or (completion is not None and step.holds(completion, activation.local))

    def end(self, step: Step, host: Activation) -> None:
        """End what still runs, and leave."""
        outputs = progress(host).outputs
        if outputs is not None:
            step.state.assign(host.scope, {str(self.loop.output_collection): outputs})
        for child in list(host.children):
            found = step.state.activations[child]
            if found.role == "iteration":
                step.terminate(found)
        host.iterations = None
        self.leave(step, host)


def progress(host: Activation) -> Iterations:
    """Return how far a multi-instance activity that runs is."""
    assert host.iterations is not None
    return host.iterations
