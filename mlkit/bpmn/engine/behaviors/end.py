"""End events: none, message, signal, escalation, compensation, cancel, error, terminate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.engine.behaviors import errors, transaction
from mlkit.bpmn.engine.behaviors.behavior import Behavior
from mlkit.bpmn.engine.behaviors.multi_instance import MultiInstance
from mlkit.bpmn.engine.behaviors.throw import prepare, release, undo
from mlkit.bpmn.engine.state import Scope

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step


class EndEvent(Behavior):
    """The end of a token, and of everything around it where the event says so."""

    def enter(self, step: Step, scope: Scope) -> None:
        """Throw what it throws and consume the token."""
        kinds = {each.kind for each in self.awaited.parts or (self.awaited,)}
        thrown = prepare(step, scope, self)
        if "compensate" not in kinds:
            step.passed(self, scope)
        if not release(step, scope, self.node, thrown):
            return
        if "cancel" in kinds:
            transaction.cancel(step, scope)
        elif "error" in kinds:
            (error,) = [each for each in thrown if each.event.kind == "error"][:1]
            errors.throw_from(step, scope, error.name, error.message or self.node.name)
        elif "terminate" in kinds:
            (event,) = self.awaited.of_kind("terminate")[:1]
            terminate(step, scope, event.reach)
        elif "compensate" in kinds:
            undo(step, self, scope)
        else:
            step.put(scope, ())


def terminate(step: Step, scope: Scope, reach: str) -> None:
    """End a scope, the whole process with all that called it, or all iterations around it."""
    while reach == "iterations" and scope.owner:
        owner = step.state.activations[scope.owner]
        if owner.role == "iteration":
            host = step.state.activations[owner.host]
            behavior = step.behavior(host)
            if isinstance(behavior, MultiInstance):
                behavior.end(step, host)
                return
        scope = step.state.scopes[owner.scope]
    while reach == "process" and scope.owner:
        scope = step.state.scopes[step.state.activations[scope.owner].scope]
    step.clear(scope)
    step.finish(scope)
