"""End events: none, message, signal, escalation, compensation, cancel, error, terminate."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from mlkit.bpmn.engine.behaviors import errors, transaction
from mlkit.bpmn.engine.behaviors.behavior import Behavior
from mlkit.bpmn.engine.behaviors.multi_instance import MultiInstance
from mlkit.bpmn.engine.behaviors.throw import Outgoing, move_and_throw, prepare, release, undo
from mlkit.bpmn.engine.state import Activation, Scope

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step


_ENDING = {"cancel", "error", "terminate"}
"""The kinds that end what is around them."""


class EndEvent(Behavior):
    """The end of a token, and of everything around it if the event terminates."""

    def enter(self, step: Step, scope: Scope) -> None:
        """Throw what it throws and consume the token."""
        kinds = self._kinds
        if kinds & _ENDING and "end" in self.worked:
            self.leave(step, step.activate(self, scope))
            return
        thrown = prepare(step, scope, self)
        if kinds & _ENDING:
            self.hear_end(step, scope)
            step.record_passage(self, scope)
            self._end(step, scope, thrown)
        elif "compensate" not in kinds:
            move_and_throw(step, scope, self, (), thrown)
        elif release(step, scope, self.node, thrown):
            undo(step, self, scope)

    @cached_property
    def _kinds(self) -> set[str]:
        return {each.kind for each in self.awaited.parts or (self.awaited,)}

    def _leave(self, step: Step, activation: Activation) -> None:
        """End; what ends everything around it waits for its listeners first."""
        if not self._kinds & _ENDING:
            super()._leave(step, activation)
        elif self.notify(step, activation, "end"):
            scope = step.state.scopes[activation.scope]
            thrown = prepare(step, scope, self)
            step.remove(activation)
            step.step(activation, "completed")
            self._end(step, scope, thrown)

    def _end(self, step: Step, scope: Scope, thrown: list[Outgoing]) -> None:
        """Throw, and end what is around it."""
        if not release(step, scope, self.node, thrown):
            return
        kinds = self._kinds
        if "cancel" in kinds:
            transaction.cancel(step, scope)
        elif "error" in kinds:
            (error,) = [each for each in thrown if each.event.kind == "error"][:1]
            errors.throw_from(step, scope, error.name, error.message or self.node.name)
        else:
            (event,) = self.awaited.of_kind("terminate")[:1]
            terminate(step, scope, event.reach)


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
