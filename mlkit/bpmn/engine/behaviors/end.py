"""End events: none, message, signal, escalation, compensation, cancel, error, terminate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.engine.behaviors import errors, transaction
from mlkit.bpmn.engine.behaviors.behavior import Behavior
from mlkit.bpmn.engine.behaviors.throw import prepare, release, undo
from mlkit.bpmn.engine.state import Scope

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Move


class EndEvent(Behavior):
    """The end of a token, and of everything around it where the event says so."""

    def enter(self, move: Move, scope: Scope) -> None:
        """Throw what it throws and consume the token."""
        kinds = {each.kind for each in self.awaited.parts or (self.awaited,)}
        thrown = prepare(move, scope, self)
        if "compensate" not in kinds:
            move.passed(self, scope)
        if not release(move, scope, self.node, thrown):
            return
        if "cancel" in kinds:
            transaction.cancel(move, scope)
        elif "error" in kinds:
            (error,) = [each for each in thrown if each.event.kind == "error"][:1]
            errors.throw_from(move, scope, error.name, error.message or self.node.name)
        elif "terminate" in kinds:
            move.clear(scope)
            move.finish(scope)
        elif "compensate" in kinds:
            undo(move, self, scope)
        else:
            move.put(scope, ())
