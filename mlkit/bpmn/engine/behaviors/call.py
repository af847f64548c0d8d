"""Call activities (BPMN 2.0.2, 13.3.5): another process or a global task, with its own data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlkit.bpmn.definition import model
from mlkit.bpmn.definition.model import Call, FlowNode
from mlkit.bpmn.engine.behaviors.subprocess import SubProcess
from mlkit.bpmn.engine.state import Activation, Scope
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.graph import Graph
    from mlkit.bpmn.engine.step import Move

MAX_DEPTH = 100


class CallActivity(SubProcess):
    """An activity whose inside is another process."""

    def __init__(self, node: FlowNode, body: model.Scope) -> None:
        super().__init__(node, body)
        assert isinstance(node.work, Call)
        self.call = node.work
        self.called: model.Scope | None = None

    @property
    def inside(self) -> model.Scope:
        """The inside of the called process."""
        if self.called is None:
            raise BadData(f"there is no process {self.call.process!r}")
        return self.called

    def link(self, graph: Graph) -> None:
        """Find the called process."""
        super().link(graph)
        found = graph.called.get(self.call.process)
        self.called = None if found is None else found.body

    def open(self, move: Move, activation: Activation) -> Scope:
        """Make the scope of the called process with what is passed to it."""
        _check_depth(move, activation)
        variables = self._passed(move, activation)
        parent = move.variables(activation)
        scope = Scope(move.state.next_id(), self.inside.id, parent, activation.id, called=True)
        scope.variables = {**self.inside.initial(), **variables}
        activation.body = scope.id
        move.open(scope)
        move.hear(self.inside.listeners, scope.id, "start")
        return scope

    def _passed(self, move: Move, activation: Activation) -> dict[str, Any]:
        outer = move.variables(activation)
        found = dict(move.state.visible(outer)) if self.call.all_in else {}
        if self.call.all_local and activation.local:
            found |= move.state.scopes[activation.local].variables
        return found | {name: move.evaluate(each, outer) for name, each in self.call.inputs}

    def finish(self, move: Move, activation: Activation, scope: Scope) -> None:
        """Take over what comes back, then leave."""
        move.guarded(activation, "finish", lambda: self._return(move, activation, scope))

    def _return(self, move: Move, activation: Activation, scope: Scope) -> None:
        move.hear(self.inside.listeners, scope.id, "end")
        values = dict(scope.variables) if self.call.all_out else {}
        values |= {name: move.evaluate(each, scope.id) for name, each in self.call.outputs}
        self.close(move, activation, scope)
        move.state.assign(move.variables(activation), values)
        self.leave(move, activation)

    def failed_inside(self, move: Move, activation: Activation, scope: Scope) -> None:
        """Take over what comes back from a called process that an error ends.

        What is computed for it and cannot be is null: the error goes on its way.
        """
        if self.call.after_error:
            values = dict(scope.variables) if self.call.all_out else {}
            for name, each in self.call.outputs:
                try:
                    values[name] = move.evaluate(each, scope.id)
                except BadData:
                    values[name] = None
            move.state.assign(move.variables(activation), values)

    def retry(self, move: Move, activation: Activation) -> None:
        """Do again what an incident stopped."""
        if activation.stage == "finish":
            activation.status = "open"
            activation.incident = None
            self.finish(move, activation, move.state.scopes[activation.body])
        else:
            super().retry(move, activation)


def _check_depth(move: Move, activation: Activation) -> None:
    depth, owner = 0, activation.id
    while owner:
        depth += 1
        owner = move.state.scopes[move.state.activations[owner].scope].owner
    if depth > MAX_DEPTH:
        raise BadData(f"calls nest deeper than {MAX_DEPTH}")
