"""Exclusive and parallel gateways (BPMN 2.0.2, 13.4.1 and 13.4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.definition import model
from mlkit.bpmn.definition.model import FlowNode
from mlkit.bpmn.engine.behaviors.behavior import Behavior
from mlkit.bpmn.engine.state import Scope
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step


class ExclusiveGateway(Behavior):
    """Each token takes the first flow whose condition holds, else the default flow."""

    def choose(self, step: Step, scope: Scope) -> tuple[str, ...]:
        """Choose one flow.

        Raises:
            BadData: No condition holds and there is no default, or a condition fails.
        """
        if len(self.flows) <= 1 and self.plain:
            return self.flows
        for flow, condition in self.outgoing:
            if flow != self.node.default and (condition is None or step.holds(condition, scope.id)):
                return (flow,)
        if self.node.default is None:
            raise BadData("no condition of its outgoing flows holds and none is the default")
        return (self.node.default,)


class ParallelGateway(Behavior):
    """Waits for a token on each incoming flow, then gives one to each outgoing flow."""

    def __init__(self, node: FlowNode, body: model.Scope) -> None:
        super().__init__(node, body)
        self.needed = frozenset(node.incoming)

    def arrive(self, step: Step, scope: Scope, flow: str) -> None:
        """Keep the token until the others are here."""
        incoming = self.node.incoming
        if len(incoming) > 1:
            scope.arrived[flow] = scope.arrived.get(flow, 0) + 1
            if not scope.arrived.keys() >= self.needed:
                return
            consume(scope, incoming)
        if self.listeners:
            self.try_enter(step, scope)
        else:
            step.record_passage(self, scope)
            step.put(scope, self.flows)

    def choose(self, step: Step, scope: Scope) -> tuple[str, ...]:
        """Choose all flows."""
        return self.flows


def consume(scope: Scope, flows: tuple[str, ...]) -> None:
    """Merge one waiting token of each of these flows into one token."""
    for flow in flows:
        scope.arrived[flow] -= 1
        if not scope.arrived[flow]:
            del scope.arrived[flow]
    scope.live -= len(flows) - 1
