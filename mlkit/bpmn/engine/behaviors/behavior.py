"""What all flow nodes share: a token arrives, the node does its part, tokens leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.definition import model
from mlkit.bpmn.definition.model import EventDefinition, FlowNode
from mlkit.bpmn.engine.behaviors import compensation, subscription
from mlkit.bpmn.engine.state import Activation, Scope
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.events import AnyEvent
    from mlkit.bpmn.engine.graph import Graph
    from mlkit.bpmn.engine.step import Move


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

    def arrive(self, move: Move, scope: Scope, flow: str) -> None:
        """Take a token that came along `flow`."""
        self.try_enter(move, scope)

    def try_enter(self, move: Move, scope: Scope) -> None:
        """Enter, or keep the token as an incident where an expression fails."""
        move.element = self.id
        try:
            self.hear(move, scope.id, "start")
            self.enter(move, scope)
        except BadData as error:
            move.park(self, scope, f"{self.id}: {error.message}")

    def enter(self, move: Move, scope: Scope) -> None:
        """Begin; what can fail is evaluated before anything changes."""
        flows = self.choose(move, scope)
        move.passed(self, scope)
        move.put(scope, flows)

    def hear(self, move: Move, scope: int, event: str) -> None:
        """Evaluate what listens to an event of the node.

        Raises:
            BadData: An expression fails.
        """
        if self.listeners:
            move.hear(self.listeners, scope, event)

    def choose(self, move: Move, scope: Scope) -> tuple[str, ...]:
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
            if condition is not None and move.holds(condition, scope.id)
        }
        plain = {flow for flow, condition in others if condition is None}
        if default is not None and not held and (alone or not plain):
            held.add(default)
        if held or plain:
            return tuple(flow for flow, _ in self.outgoing if flow in held or flow in plain)
        raise BadData("no condition of its outgoing flows holds and none is the default")

    def map_outputs(self, move: Move, scope: Scope) -> None:
        """Set what the output mappings of an event say in the scope around it."""
        if self.node.outputs:
            values = {name: move.evaluate(each, scope.id) for name, each in self.node.outputs}
            move.state.assign(scope.id, values)

    def event(self, move: Move, activation: Activation, event: AnyEvent) -> None:
        """Take an event that is meant for an activation of this node."""
        raise BadData(f"{self.id} does not wait for {type(event).__name__.lower()!r}")

    def resume(self, move: Move, activation: Activation) -> None:
        """Go on with what was deferred until other tokens have moved."""
        compensation.proceed(move, activation)

    def compensated(self, move: Move, activation: Activation) -> None:
        """Go on after the last compensation handler."""
        self.leave(move, activation)

    def won(self, move: Move, activation: Activation, branch: Activation) -> None:
        """Take note that one of the events behind an event gateway happened."""

    def finish(self, move: Move, activation: Activation, scope: Scope) -> None:
        """Go on when no token is left inside."""

    def retry(self, move: Move, activation: Activation) -> None:
        """Try an incident again."""
        if activation.stage == "receive":
            subscription.receive_again(move, activation)
            return
        stage, activation.incident = activation.stage, None
        if stage == "await":
            activation.status = "waiting"
            return
        if stage == "leave":
            activation.status = "open"
            self.leave(move, activation)
            return
        scope = move.state.scopes[activation.scope]
        move.remove(activation)
        self.try_enter(move, scope)

    def leave(self, move: Move, activation: Activation) -> None:
        """End an activation and send its token on."""
        move.element = self.id
        try:  # Not by `guarded`: every activity leaves here, and a closure for each is expensive.
            self._leave(move, activation)
        except BadData as error:
            move.incident(activation, f"{self.id}: {error.message}", "leave")

    def _leave(self, move: Move, activation: Activation) -> None:
        scope = move.state.scopes[activation.scope]
        self.hear(move, move.variables(activation), "end")
        flows = self.choose(move, scope)
        move.remove(activation)
        move.step(activation, "completed")
        move.put(scope, flows)
