"""The embedded sub-process (BPMN 2.0.2, 13.3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.behaviors.activity import Activity
from mlkit.bpmn.model import FlowNode, Scope
from mlkit.bpmn.state import Activation
from mlkit.bpmn.state import Scope as RunningScope

if TYPE_CHECKING:
    from mlkit.bpmn.move import Move


class SubProcess(Activity):
    """An activity with a scope inside."""

    def execute(self, move: Move, activation: Activation) -> None:
        """Put a token on each of the inner entry nodes."""
        body = self.node.body
        assert body is not None
        entries = entry_nodes(body)
        parent = move.variables(activation)
        scope = RunningScope(move.state.next_id(), body.id, parent, activation.id)
        move.state.scopes[scope.id] = scope
        activation.body = scope.id
        scope.live = len(entries)
        for node in entries:
            if scope.id in move.state.scopes:
                move.graph.behaviors[node.id].try_enter(move, scope)


def entry_nodes(body: Scope) -> list[FlowNode]:
    """Give the none start events of a scope; without one, the nodes nothing leads to."""
    starts = [each for each in body.nodes.values() if each.type == "startEvent"]
    if starts:
        return [each for each in starts if each.event is not None and each.event.kind == "none"]
    return [each for each in body.nodes.values() if begins_alone(each)]


def begins_alone(node: FlowNode) -> bool:
    """Say whether a node without a start event before it gets a token of its own."""
    link = node.event is not None and node.event.kind == "link"
    return not node.incoming and node.attached_to is None and not link
