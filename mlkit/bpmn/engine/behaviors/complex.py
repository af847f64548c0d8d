"""The complex gateway (BPMN 2.0.2, 13.4.5): a condition opens it, the other tokens reset it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.definition import model
from mlkit.bpmn.definition.model import FlowNode
from mlkit.bpmn.engine.behaviors.gateways import consume
from mlkit.bpmn.engine.behaviors.inclusive import InclusiveGateway
from mlkit.bpmn.engine.state import Scope
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step


class ComplexGateway(InclusiveGateway):
    """Opens when its activation condition holds, then waits for the tokens that can still come.

    Its conditions see `activationCount` (incoming flows that hold a token) and
    `waitingForStart`, which is false when the late tokens pass.
    """

    def __init__(self, node: FlowNode, body: model.Scope) -> None:
        super().__init__(node, body)
        self.watches = True

    def try_enter(self, step: Step, scope: Scope) -> None:
        """Pass tokens on; what they take is chosen before a listener may let them wait."""
        step.element = self.id
        try:
            self.pass_through(step, scope)
        except BadData as error:
            step.park(self, scope, f"{self.id}: {error.message}")

    def arrive(self, step: Step, scope: Scope, flow: str) -> None:
        """Keep the token; whether the gateway opens is known once all other tokens wait."""
        scope.arrived[flow] = scope.arrived.get(flow, 0) + 1

    def open(self, step: Step, scope: Scope) -> bool:
        """Open or reset the gateway if it may; return whether it did."""
        seen = scope.resetting.get(self.id, [])
        flows = [flow for flow in self.node.incoming if flow not in seen]
        filled = tuple(flow for flow in flows if flow in scope.arrived)
        if seen:
            return self._reset(step, scope, flows, filled)
        try:
            if not filled or not self._holds(step, scope, len(filled)):
                return False
        except BadData as error:
            consume(scope, filled)
            step.park(self, scope, f"{self.id}: {error.message}")
            return True
        consume(scope, filled)
        self.try_enter(step, scope)
        scope.resetting[self.id] = list(filled)
        return True

    def _holds(self, step: Step, scope: Scope, count: int) -> bool:
        condition = self.node.activation
        with step.names(scope, activationCount=count, waitingForStart=True) as inner:
            return condition is None or step.holds(condition, inner)

    def _reset(self, step: Step, scope: Scope, flows: list[str], filled: tuple[str, ...]) -> bool:
        empty = [flow for flow in flows if flow not in filled]
        if self.expects(step, scope, empty, filled):
            return False
        if filled:
            consume(scope, filled)
            self.try_enter(step, scope)
        scope.resetting.pop(self.id, None)
        return True

    def choose(self, step: Step, scope: Scope) -> tuple[str, ...]:
        """Choose flows by their conditions; one without a condition passes no late tokens."""
        late = self.id in scope.resetting
        with step.names(scope, waitingForStart=not late) as inner:
            chosen = tuple(
                flow
                for flow, condition in self.outgoing
                if flow != self.node.default
                and (not late if condition is None else step.holds(condition, inner))
            )
        if chosen or late:
            return chosen
        if self.node.default is None:
            raise BadData("no condition of its outgoing flows holds and none is the default")
        return (self.node.default,)
