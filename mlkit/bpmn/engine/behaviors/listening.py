"""What listens to flows and processes; a token waits for what workers do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.definition import model
from mlkit.bpmn.definition.model import FlowNode
from mlkit.bpmn.engine.behaviors import starting
from mlkit.bpmn.engine.behaviors.behavior import Behavior
from mlkit.bpmn.engine.behaviors.errors import inner_of
from mlkit.bpmn.engine.state import Activation, Scope
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step


class FlowListeners(Behavior):
    """What listens to a sequence flow, before its token arrives."""

    def __init__(self, node: FlowNode, body: model.Scope) -> None:
        super().__init__(node, body)
        self.place = body.flows[node.id].source

    def try_enter(self, step: Step, scope: Scope) -> None:
        """Let listeners know; an incident keeps the token on the flow where that fails."""
        if "take" in self.worked:
            self.go_on(step, step.activate(self, scope, "listener"), "take")
            return
        try:
            self.hear(step, scope.id, "take")
        except BadData as error:
            step.park(self, scope, f"{self.id}: {error.message}")
        else:
            self.enter(step, scope)

    def enter(self, step: Step, scope: Scope) -> None:
        """Arrive at the target."""
        step.graph.targets[self.id].arrive(step, scope, self.id)


class ProcessListeners(Behavior):
    """What listens to the start and the end of a process, called or not."""

    def __init__(self, node: FlowNode, body: model.Scope) -> None:
        super().__init__(node, body)
        self.place = ""

    def start(self, step: Step, scope: Scope, node: str = "") -> None:
        """Begin a process behind what workers do at its start.

        Args:
            step: The step in progress.
            scope: That of the process.
            node: Where the process begins; empty for the start of the diagram.
        """
        scope.live += 1
        activation = step.activate(self, scope, "listener")
        activation.chosen = [node] if node else []
        self.go_on(step, activation, "start")

    def run(self, step: Step, activation: Activation) -> None:
        """Begin the process."""
        scope = step.state.scopes[activation.scope]
        node = "".join(activation.chosen or ())
        step.remove(activation)
        scope.live -= 1
        if scope.owner:
            owner = step.state.activations[scope.owner]
            inner_of(step.behavior(owner)).begin_inside(step, owner, scope)
        else:
            process = next(e for e in step.graph.processes if e.body.id == scope.element)
            starting.begin_inside(step, process, scope, node)

    def end(self, step: Step, scope: Scope) -> None:
        """Keep a process open until workers have done what they do at its end."""
        scope.live += 1
        activation = step.activate(self, scope, "listener")
        activation.place = step.element
        self.leave(step, activation)

    def retry(self, step: Step, activation: Activation) -> None:
        """Try an incident again."""
        if activation.stage == "listen":
            super().retry(step, activation)
            return
        moment = "end" if activation.chosen is None else "start"
        activation.status, activation.incident = "open", None
        self.go_on(step, activation, moment)

    def _leave(self, step: Step, activation: Activation) -> None:
        step.element = activation.place
        if self.notify(step, activation, "end"):
            scope = step.state.scopes[activation.scope]
            scope.ended = True
            step.remove(activation)
            scope.live -= 1
            if not scope.live:
                step.finish(scope)
