"""Call activities (BPMN 2.0.2, 13.3.5): another process or a global task, with its own data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlkit.bpmn.definition import model
from mlkit.bpmn.definition.model import Call, FlowNode
from mlkit.bpmn.engine.behaviors import starting
from mlkit.bpmn.engine.behaviors.subprocess import SubProcess
from mlkit.bpmn.engine.state import Activation, Scope
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.graph import Graph
    from mlkit.bpmn.engine.step import Step

MAX_DEPTH = 100


class CallActivity(SubProcess):
    """An activity whose inside is another process."""

    def __init__(self, node: FlowNode, body: model.Scope) -> None:
        super().__init__(node, body)
        assert isinstance(node.work, Call)
        self.call = node.work
        self.bodies: dict[str, model.Scope] = {}
        self.chosen: dict[str, model.Scope] = {}

    def link(self, graph: Graph) -> None:
        """Find the processes that may be called."""
        super().link(graph)
        choices = self.call.choices or {self.call.process: self.call.process}
        for name, place in choices.items():
            if place in graph.called:
                body = self.chosen[name] = graph.called[place].body
                self.bodies[body.id] = body

    def resolve_scope(self, scope: Scope) -> model.Scope:
        """Return the inside of the process that was called."""
        return self.bodies[scope.element]

    def _choose(self, step: Step, outer: int) -> model.Scope:
        name: Any = self.call.process
        if self.call.chosen is not None:
            name = step.evaluate(self.call.chosen, outer)
        found = self.chosen.get(name) if isinstance(name, str) else None
        if found is None:
            known = ", ".join(sorted(self.chosen)) or "none"
            raise BadData(f"there is no process {name!r} to call; known: {known}")
        return found

    def execute(self, step: Step, activation: Activation) -> None:
        """Begin the called process, behind what listens to its start."""
        scope = self.open(step, activation)
        if not starting.let_listeners_start(step, scope):
            step.hear(self.resolve_scope(scope).listeners, scope.id, "start")
            self.begin_inside(step, activation, scope)

    def open(self, step: Step, activation: Activation) -> Scope:
        """Make the scope of the called process with what is passed to it."""
        _check_depth(step, activation)
        variables = self._pass_variables(step, activation)
        parent = step.variables(activation)
        called = self._choose(step, parent)
        scope = Scope(step.state.next_id(), called.id, parent, activation.id, called=True)
        scope.variables = {**called.initial(), **variables}
        activation.body = scope.id
        step.open(scope)
        return scope

    def _pass_variables(self, step: Step, activation: Activation) -> dict[str, Any]:
        outer = step.variables(activation)
        found = dict(step.state.visible(outer)) if self.call.all_in else {}
        if self.call.all_local and activation.local:
            found |= step.state.scopes[activation.local].variables
        return found | {name: step.evaluate(each, outer) for name, each in self.call.inputs}

    def finish(self, step: Step, activation: Activation, scope: Scope) -> None:
        """Take over what comes back, then leave."""
        step.run_guarded(activation, "finish", lambda: self._return(step, activation, scope))

    def _return(self, step: Step, activation: Activation, scope: Scope) -> None:
        if starting.let_listeners_end(step, scope):
            return
        if not scope.ended:
            step.hear(self.resolve_scope(scope).listeners, scope.id, "end")
        values = dict(scope.variables) if self.call.all_out else {}
        values |= {name: step.evaluate(each, scope.id) for name, each in self.call.outputs}
        self.close(step, activation, scope)
        step.state.assign(step.variables(activation), values)
        self.leave(step, activation)

    def pass_out(self, step: Step, activation: Activation, scope: Scope) -> None:
        """Take over what comes back when an error or escalation has come to the called process.

        As in Camunda 7, whether the process itself catches it or what is outside. What is computed
        for it and cannot be is null: the error goes on its way.
        """
        if self.call.after_error:
            values = dict(scope.variables) if self.call.all_out else {}
            for name, each in self.call.outputs:
                try:
                    values[name] = step.evaluate(each, scope.id)
                except BadData:
                    values[name] = None
            step.state.assign(step.variables(activation), values)

    def retry(self, step: Step, activation: Activation) -> None:
        """Do again what an incident stopped."""
        if activation.stage == "finish":
            activation.status = "open"
            activation.incident = None
            self.finish(step, activation, step.state.scopes[activation.body])
        else:
            super().retry(step, activation)


def _check_depth(step: Step, activation: Activation) -> None:
    depth, owner = 0, activation.id
    while owner:
        depth += 1
        owner = step.state.scopes[step.state.activations[owner].scope].owner
    if depth > MAX_DEPTH:
        raise BadData(f"calls nest deeper than {MAX_DEPTH}")
