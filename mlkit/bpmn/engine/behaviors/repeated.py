"""What loops and multi-instance activities share: an outside around an inner activity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlkit.bpmn.definition import model
from mlkit.bpmn.definition.model import FlowNode
from mlkit.bpmn.engine.behaviors.activity import Activity
from mlkit.bpmn.engine.effects import AnyEffect
from mlkit.bpmn.engine.state import Activation, Scope

if TYPE_CHECKING:
    from mlkit.bpmn.engine.events import AnyEvent
    from mlkit.bpmn.engine.graph import Graph
    from mlkit.bpmn.engine.step import Step


class Repeated(Activity):
    """The outside of an activity that runs several times; `inner` is what one iteration does.

    Both have the node's id: an activation with the role `iteration` belongs to the inner
    one, any other to the outside.
    """

    def __init__(self, node: FlowNode, body: model.Scope, inner: Activity) -> None:
        super().__init__(node, body)
        self.inner = inner
        self.mapped = False
        self.listeners, self.worked = (), frozenset()  # Each iteration has them.
        inner.fetches = False

    def link(self, graph: Graph) -> None:
        """Find the neighbours of both."""
        super().link(graph)
        self.inner.link(graph)

    def finish_iteration(self, step: Step, host: Activation, activation: Activation) -> None:
        """Go on after an iteration that is done."""
        raise NotImplementedError

    def spawn(self, step: Step, host: Activation, index: int) -> Activation:
        """Make the activation of an iteration."""
        activation = step.activate(self, step.state.scopes[host.scope], "iteration", host)
        activation.iteration = f"{host.iteration}.{index}" if host.iteration else str(index)
        return activation

    def event(self, step: Step, activation: Activation, event: AnyEvent) -> None:
        """Hand an iteration's event to the inner activity."""
        if activation.role == "iteration":
            self.inner.event(step, activation, event)
        else:
            super().event(step, activation, event)

    def retry(self, step: Step, activation: Activation) -> None:
        """Hand an iteration's incident to the inner activity."""
        if activation.role == "iteration":
            self.inner.retry(step, activation)
        else:
            super().retry(step, activation)

    def recover(self, step: Step, activation: Activation) -> None:
        """Hand an iteration to the inner activity."""
        self.inner.recover(step, activation)

    def resume(self, step: Step, activation: Activation) -> None:
        """Hand an iteration to the inner activity."""
        self.inner.resume(step, activation)

    def finish_compensation(self, step: Step, activation: Activation) -> None:
        """Hand an iteration whose last compensation handler has run to the inner activity."""
        self.inner.finish_compensation(step, activation)

    def finish(self, step: Step, activation: Activation, scope: Scope) -> None:
        """Hand the end of an iteration's inside to the inner activity."""
        self.inner.finish(step, activation, scope)

    def leave(self, step: Step, activation: Activation) -> None:
        """Let an iteration or the whole activity end."""
        if activation.role == "iteration":
            self.inner.leave(step, activation)
        else:
            super().leave(step, activation)

    def record(self, step: Step, activation: Activation) -> None:
        """Keep what the iterations left to be compensated."""
        done = step.state.scopes[activation.local].done
        step.state.scopes[activation.scope].done.extend(done)

    def _map_inputs(self, step: Step, activation: Activation, stored: dict[str, Any]) -> None:
        """Keep for all iterations what the data stores gave; each iteration maps its inputs."""
        self.outside(step, activation, stored)

    def outside(self, step: Step, activation: Activation, variables: dict[str, Any]) -> Scope:
        """Return the scope around the iterations, with some more variables."""
        if not activation.local:
            activation.local = step.state.next_id()
            scope = Scope(activation.local, self.id, activation.scope)
            step.state.scopes[activation.local] = scope
        found = step.state.scopes[activation.local]
        found.variables.update(variables)
        return found

    def _store_outputs(self, step: Step, activation: Activation) -> list[AnyEffect]:
        """Store nothing: each iteration has done it."""
        return []

    def map_local_outputs(self, step: Step, activation: Activation) -> None:
        """Map nothing: each iteration has done it."""
