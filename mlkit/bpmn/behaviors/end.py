"""End events: none, error, escalation, message, signal, terminate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.behaviors import errors
from mlkit.bpmn.behaviors.behavior import Behavior
from mlkit.bpmn.behaviors.throw import prepare, release
from mlkit.bpmn.state import Scope

if TYPE_CHECKING:
    from mlkit.bpmn.move import Move


class EndEvent(Behavior):
    """The end of a token, and of everything around it where the event says so."""

    def enter(self, move: Move, scope: Scope) -> None:
        """Throw what it throws and consume the token."""
        event = self.node.event
        kind = "none" if event is None else event.kind
        thrown = prepare(move, scope.id, event) if event is not None else ("", "")
        move.passed(self, scope)
        if kind == "error":
            errors.throw_from(move, scope, thrown[0], self.node.name)
            return
        if kind == "terminate":
            move.clear(scope)
            move.finish(scope)
            return
        if event is not None:
            release(move, scope, event, thrown)
        # The escalation or signal may have ended this scope.
        if move.state.scopes.get(scope.id) is scope and scope.live:
            move.put(scope, ())
