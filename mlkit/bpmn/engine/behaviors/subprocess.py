"""Sub-processes (BPMN 2.0.2, 13.3.4) and what they have in common with all that has an inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.definition.model import FlowNode, Scope
from mlkit.bpmn.engine.behaviors import compensation
from mlkit.bpmn.engine.behaviors.activity import Activity
from mlkit.bpmn.engine.state import Activation, Done
from mlkit.bpmn.engine.state import Scope as RunningScope

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step


class SubProcess(Activity):
    """An activity with a scope inside."""

    @property
    def inside(self) -> Scope:
        """The definition of the inside."""
        assert self.node.body is not None
        return self.node.body

    def execute(self, step: Step, activation: Activation) -> None:
        """Put a token on each of the inner entry nodes."""
        self.begin_inside(step, activation, self.open(step, activation))

    def begin_inside(self, step: Step, activation: Activation, scope: RunningScope) -> None:
        """Put a token on each of the entry nodes of an open inside."""
        entries = entry_nodes(self.resolve_scope(scope))
        scope.live += len(entries)
        if not scope.live:
            self.finish(step, activation, scope)
        for node in entries:
            if scope.id in step.state.scopes and not scope.interrupted:
                step.graph.behaviors[node.id].try_enter(step, scope)

    def resolve_scope(self, scope: RunningScope) -> Scope:
        """Return the definition of an inside that is open."""
        return self.inside

    def open(self, step: Step, activation: Activation) -> RunningScope:
        """Make the scope of the inside, with its data, and arm its event sub-processes.

        Raises:
            BadData: What an event sub-process waits for cannot be evaluated.
        """
        parent = step.variables(activation)
        scope = RunningScope(step.state.next_id(), self.inside.id, parent, activation.id)
        scope.variables = self.inside.initial()
        activation.body = scope.id
        step.open(scope)
        return scope

    def finish(self, step: Step, activation: Activation, scope: RunningScope) -> None:
        """Leave, once no token is left inside."""
        self.close(step, activation, scope)
        self.leave(step, activation)

    def close(self, step: Step, activation: Activation, scope: RunningScope) -> None:
        """Remove the scope of the inside; keep what can be compensated later."""
        own = any(
            each.awaited.of_kind("compensate")
            for each in step.graph.triggers.get(scope.element, ())
        )
        if scope.done or own or self.compensable:
            local = step.state.scopes.get(activation.local)
            variables = {**(local.variables if local else {}), **scope.variables}
            if activation.role != "compensation":
                compensation.keep(step, activation, Done(self.id, variables, scope.done))
        step.clear(scope)
        del step.state.scopes[scope.id]
        activation.body = 0

    def record(self, step: Step, activation: Activation) -> None:
        """Keep nothing: closing the inside has done it."""


def entry_nodes(body: Scope) -> list[FlowNode]:
    """Return the none start events of a scope; without one, the nodes nothing leads to."""
    starts = [each for each in body.nodes.values() if each.type == "startEvent"]
    if starts:
        return [each for each in starts if each.event is not None and each.event.kind == "none"]
    return [each for each in body.nodes.values() if begins_alone(each)]


def begins_alone(node: FlowNode) -> bool:
    """Return whether a node without a start event before it gets a token of its own."""
    link = node.event is not None and node.event.kind == "link"
    apart = link or node.triggered or node.compensates or node.attached_to is not None
    return not node.incoming and not apart
