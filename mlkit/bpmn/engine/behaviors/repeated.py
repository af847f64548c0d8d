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
    from mlkit.bpmn.engine.step import Move


class Repeated(Activity):
    """The outside of an activity that runs several times; `inner` is what one turn does.

    Both have the node's id: an activation with the role `iteration` belongs to the inner
    one, any other to the outside.
    """

    def __init__(self, node: FlowNode, body: model.Scope, inner: Activity) -> None:
        super().__init__(node, body)
        self.inner = inner
        self.mapped = False
        self.listeners = ()  # Each iteration has them.
        inner.fetches = False

    def link(self, graph: Graph) -> None:
        """Find the neighbours of both."""
        super().link(graph)
        self.inner.link(graph)

    def iterated(self, move: Move, host: Activation, activation: Activation) -> None:
        """Go on after a turn that is done."""
        raise NotImplementedError

    def spawn(self, move: Move, host: Activation, index: int) -> Activation:
        """Make the activation of a turn."""
        activation = move.activate(self, move.state.scopes[host.scope], "iteration", host)
        activation.iteration = f"{host.iteration}.{index}" if host.iteration else str(index)
        return activation

    def event(self, move: Move, activation: Activation, event: AnyEvent) -> None:
        """Hand a turn's event to the inner activity."""
        if activation.role == "iteration":
            self.inner.event(move, activation, event)
        else:
            super().event(move, activation, event)

    def retry(self, move: Move, activation: Activation) -> None:
        """Hand a turn's incident to the inner activity."""
        if activation.role == "iteration":
            self.inner.retry(move, activation)
        else:
            super().retry(move, activation)

    def recover(self, move: Move, activation: Activation) -> None:
        """Hand a turn to the inner activity."""
        self.inner.recover(move, activation)

    def resume(self, move: Move, activation: Activation) -> None:
        """Hand a turn to the inner activity."""
        self.inner.resume(move, activation)

    def compensated(self, move: Move, activation: Activation) -> None:
        """Hand a turn whose last compensation handler has run to the inner activity."""
        self.inner.compensated(move, activation)

    def finish(self, move: Move, activation: Activation, scope: Scope) -> None:
        """Hand the end of a turn's inside to the inner activity."""
        self.inner.finish(move, activation, scope)

    def leave(self, move: Move, activation: Activation) -> None:
        """Let a turn or the whole activity end."""
        if activation.role == "iteration":
            self.inner.leave(move, activation)
        else:
            super().leave(move, activation)

    def record(self, move: Move, activation: Activation) -> None:
        """Keep what the turns left to be compensated."""
        done = move.state.scopes[activation.local].done
        move.state.scopes[activation.scope].done.extend(done)

    def _map_inputs(self, move: Move, activation: Activation, stored: dict[str, Any]) -> None:
        """Keep for all turns what the data stores gave; each turn maps its inputs."""
        self.outside(move, activation, stored)

    def outside(self, move: Move, activation: Activation, variables: dict[str, Any]) -> Scope:
        """Return the scope around the turns, with some more variables."""
        if not activation.local:
            activation.local = move.state.next_id()
            scope = Scope(activation.local, self.id, activation.scope)
            move.state.scopes[activation.local] = scope
        found = move.state.scopes[activation.local]
        found.variables.update(variables)
        return found

    def _stored(self, move: Move, activation: Activation) -> list[AnyEffect]:
        """Store nothing: each turn has done it."""
        return []

    def _map_outputs(self, move: Move, activation: Activation) -> None:
        """Map nothing: each turn has done it."""
