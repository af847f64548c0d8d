"""End events: none, message, signal, escalation, compensation, cancel, error, terminate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.engine.behaviors import errors, transaction
from mlkit.bpmn.engine.behaviors.behavior import Behavior
from mlkit.bpmn.engine.behaviors.multi_instance import MultiInstance
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
            (event,) = self.awaited.of_kind("terminate")[:1]
            terminate(move, scope, event.reach)
        elif "compensate" in kinds:
            undo(move, self, scope)
        else:
            move.put(scope, ())


def terminate(move: Move, scope: Scope, reach: str) -> None:
    """End a scope, the whole process with all that called it, or all iterations around it."""
    while reach == "iterations" and scope.owner:
        owner = move.state.activations[scope.owner]
        if owner.role == "iteration":
            host = move.state.activations[owner.host]
            behavior = move.behavior(host)
            if isinstance(behavior, MultiInstance):
                behavior.end(move, host)
                return
        scope = move.state.scopes[owner.scope]
    while reach == "process" and scope.owner:
        scope = move.state.scopes[move.state.activations[scope.owner].scope]
    move.clear(scope)
    move.finish(scope)
