"""What all flow nodes share: a token arrives, the node does its part, tokens leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlkit.bpmn.definition import model
from mlkit.bpmn.definition.model import EventDefinition, FlowNode
from mlkit.bpmn.engine.behaviors import compensation, subscription
from mlkit.bpmn.engine.state import Activation, Scope
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.events import AnyEvent
    from mlkit.bpmn.engine.graph import Graph
    from mlkit.bpmn.engine.step import Step


class Behavior:
    """A flow node that passes a token on at once; subclasses do more.

    Args:
        node: The definition.
        body: The scope of the definition that the node stands in.
    """

    def __init__(self, node: FlowNode, body: model.Scope) -> None:
        self.node = node
        self.id = node.id
        self.outgoing = tuple((each, body.flows[each].condition) for each in node.outgoing)
        self.plain = all(condition is None for _, condition in self.outgoing)
        self.flows = node.outgoing
        self.listeners = node.listeners
        self.is_gateway = node.type.endswith("Gateway")

    @property
    def awaited(self) -> EventDefinition:
        """What the node waits for."""
        if self.node.event is None:
            raise BadData(f"{self.id} waits for nothing that can be executed")
        return self.node.event

    def link(self, graph: Graph) -> None:
        """Find the neighbours, once all behaviours exist."""

    def arrive(self, step: Step, scope: Scope, flow: str) -> None:
        """Take a token that came along `flow`."""
        self.try_enter(step, scope)

    def try_enter(self, step: Step, scope: Scope) -> None:
        """Enter, or keep the token as an incident where an expression fails."""
        step.element = self.id
        try:
            self.hear(step, scope.id, "start")
            self.enter(step, scope)
        except BadData as error:
            step.park(self, scope, f"{self.id}: {error.message}")

    def enter(self, step: Step, scope: Scope) -> None:
        """Begin; what can fail is evaluated before anything changes."""
        flows = self.choose(step, scope)
        step.passed(self, scope)
        step.put(scope, flows)

    def hear(self, step: Step, scope: int, event: str) -> None:
        """Evaluate what listens to an event of the node.

        Raises:
            BadData: An expression fails.
        """
        if self.listeners:
            step.hear(self.listeners, scope, event)

    def choose(self, step: Step, scope: Scope) -> tuple[str, ...]:
        """Choose the flows that get a token (BPMN 2.0.2, 13.2.1 and 13.3.2).

        Unconditional flows always do, conditional ones where they hold, the default flow if no
        condition holds. After a gateway, and in files of Camunda 7, Activiti and Flowable, an
        unconditional flow counts as one whose condition holds.

        Raises:
            BadData: None gets one, or a condition fails.
        """
        if self.plain and self.node.default is None:
            return self.flows
        default, alone = self.node.default, not (self.node.shares or self.is_gateway)
        others = [each for each in self.outgoing if each[0] != default]
        held = {
            flow
            for flow, condition in others
            if condition is not None and step.holds(condition, scope.id)
        }
        plain = {flow for flow, condition in others if condition is None}
        if default is not None and not held and (alone or not plain):
            held.add(default)
        if held or plain:
            return tuple(flow for flow, _ in self.outgoing if flow in held or flow in plain)
        raise BadData("no condition of its outgoing flows holds and none is the default")

    def map_outputs(self, step: Step, scope: Scope) -> None:
        """Set what the output mappings of an event say in the scope around it."""
        values: dict[str, Any] = {}
        for name, each in self.node.outputs:
            with step.names(scope, **(values if self.node.shares else {})) as inner:
                values[name] = step.evaluate(each, inner)
        step.state.assign(scope.id, values)

    def map_local_outputs(self, step: Step, activation: Activation) -> None:
        """Set what the outputs of an activity say; other nodes have no variables of their own."""

    def event(self, step: Step, activation: Activation, event: AnyEvent) -> None:
        """Take an event that is meant for an activation of this node."""
        raise BadData(f"{self.id} does not wait for {type(event).__name__.lower()!r}")

    def resume(self, step: Step, activation: Activation) -> None:
        """Go on with what was deferred until other tokens have moved."""
        compensation.proceed(step, activation)

    def compensated(self, step: Step, activation: Activation) -> None:
        """Go on after the last compensation handler."""
        self.leave(step, activation)

    def won(self, step: Step, activation: Activation, branch: Activation) -> None:
        """Take note that one of the events behind an event gateway happened."""

    def finish(self, step: Step, activation: Activation, scope: Scope) -> None:
        """Go on when no token is left inside."""

    def retry(self, step: Step, activation: Activation) -> None:
        """Try an incident again."""
        if activation.stage == "receive":
            subscription.receive_again(step, activation)
            return
        stage, activation.incident = activation.stage, None
        if stage == "await":
            activation.status = "waiting"
            return
        if stage == "leave":
            activation.status = "open"
            self.leave(step, activation)
            return
        scope = step.state.scopes[activation.scope]
        step.remove(activation)
        self.try_enter(step, scope)

    def leave(self, step: Step, activation: Activation) -> None:
        """End an activation and send its token on."""
        step.element = self.id
        try:  # Not by `guarded`: every activity leaves here, and a closure for each is expensive.
            self._leave(step, activation)
        except BadData as error:
            step.incident(activation, f"{self.id}: {error.message}", "leave")

    def _leave(self, step: Step, activation: Activation) -> None:
        scope = step.state.scopes[activation.scope]
        self.hear(step, step.variables(activation), "end")
        flows = self.choose(step, scope)
        step.remove(activation)
        step.step(activation, "completed")
        step.put(scope, flows)
