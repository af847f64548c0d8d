"""Transactions (BPMN 2.0.2, 10.3.5 and 13.3.4): cancelled, they undo what was done inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.engine.behaviors import compensation
from mlkit.bpmn.engine.behaviors.errors import Thrown, find
from mlkit.bpmn.engine.behaviors.subprocess import SubProcess
from mlkit.bpmn.engine.state import Activation, Done, Scope

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step


class Transaction(SubProcess):
    """A sub-process that a cancel end event inside ends and undoes."""

    def cancel(self, step: Step, activation: Activation) -> None:
        """End what runs inside, compensate what completed, then leave by the cancel event.

        The event ends all iterations of a repeated transaction, so all of them are undone.
        """
        scope = step.state.scopes[activation.body]
        iterates = activation.role == "iteration"
        done = self._turns(step, activation) if iterates else _find_completed(step, scope)
        step.clear(scope)
        scope.interrupted = True
        activation.todo, scope.done = done, []
        compensation.proceed(step, activation)

    def _turns(self, step: Step, activation: Activation) -> list[Done]:
        """Return what all iterations have completed; end those that run beside this one."""
        host = step.state.activations[activation.host]
        around = step.state.scopes[host.local]
        done, around.done = around.done, []
        for iteration in [step.state.activations[each] for each in host.children]:
            if iteration.role == "iteration":
                done += _of_iteration(step, iteration)
                if iteration is not activation:
                    step.terminate(iteration)
        return done

    def finish_compensation(self, step: Step, activation: Activation) -> None:
        """Leave by the cancel event on the boundary."""
        host = activation
        while host.role == "iteration":
            host = step.state.activations[host.host]
        thrown = Thrown("cancel", None)
        boundary = find(step.graph.boundary_events.get(self.id, ()), thrown)
        assert boundary is not None, "lint asks for it"
        boundary.catch(step, host, thrown)


def _find_completed(step: Step, scope: Scope) -> list[Done]:
    """Return what completed in a scope and in those that still run inside it."""
    inside = [each for each in step.state.scopes.values() if each.parent == scope.id]
    return [*scope.done, *(done for each in inside for done in _find_completed(step, each))]


def _of_iteration(step: Step, iteration: Activation) -> list[Done]:
    if not iteration.body:
        return []
    scope = step.state.scopes[iteration.body]
    own = Done(iteration.node, step.state.scopes[iteration.local].variables | scope.variables)
    return [compensation.inside(each, own) for each in _find_completed(step, scope)]


def cancel(step: Step, scope: Scope) -> None:
    """Cancel the innermost transaction around a scope."""
    owner = step.state.activations[scope.owner]
    while not _is_transaction(step, owner):
        owner = step.state.activations[step.state.scopes[owner.scope].owner]
    inner = step.behavior(owner)
    inner = getattr(inner, "inner", inner)
    assert isinstance(inner, Transaction)
    inner.cancel(step, owner)


def _is_transaction(step: Step, owner: Activation) -> bool:
    return step.behavior(owner).node.type == "transaction"
