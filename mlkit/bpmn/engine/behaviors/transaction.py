"""Transactions (BPMN 2.0.2, 10.3.5 and 13.3.4): cancelled, they undo what was done inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.engine.behaviors import compensation
from mlkit.bpmn.engine.behaviors.errors import Thrown, find
from mlkit.bpmn.engine.behaviors.subprocess import SubProcess
from mlkit.bpmn.engine.state import Activation, Done, Scope

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Move


class Transaction(SubProcess):
    """A sub-process that a cancel end event inside ends and undoes."""

    def cancel(self, move: Move, activation: Activation) -> None:
        """End what runs inside, compensate what completed, then leave by the cancel event.

        The event ends all turns of a repeated transaction, so all of them are undone.
        """
        scope = move.state.scopes[activation.body]
        iterates = activation.role == "iteration"
        done = self._turns(move, activation) if iterates else _completed(move, scope)
        move.clear(scope)
        scope.interrupted = True
        activation.todo, scope.done = done, []
        compensation.proceed(move, activation)

    def _turns(self, move: Move, activation: Activation) -> list[Done]:
        """Return what all turns have completed; end those that run beside this one."""
        host = move.state.activations[activation.host]
        around = move.state.scopes[host.local]
        done, around.done = around.done, []
        for turn in [move.state.activations[each] for each in host.children]:
            if turn.role == "iteration":
                done += _of_turn(move, turn)
                if turn is not activation:
                    move.terminate(turn)
        return done

    def compensated(self, move: Move, activation: Activation) -> None:
        """Leave by the cancel event on the boundary."""
        host = activation
        while host.role == "iteration":
            host = move.state.activations[host.host]
        thrown = Thrown("cancel", None)
        guard = find(move.graph.guards.get(self.id, ()), thrown)
        assert guard is not None, "lint asks for it"
        guard.catch(move, host, thrown)


def _completed(move: Move, scope: Scope) -> list[Done]:
    """Return what completed in a scope and in those that still run inside it."""
    inside = [each for each in move.state.scopes.values() if each.parent == scope.id]
    return [*scope.done, *(done for each in inside for done in _completed(move, each))]


def _of_turn(move: Move, turn: Activation) -> list[Done]:
    if not turn.body:
        return []
    scope = move.state.scopes[turn.body]
    own = Done(turn.node, move.state.scopes[turn.local].variables | scope.variables)
    return [compensation.inside(each, own) for each in _completed(move, scope)]


def cancel(move: Move, scope: Scope) -> None:
    """Cancel the innermost transaction around a scope."""
    owner = move.state.activations[scope.owner]
    while not _is_transaction(move, owner):
        owner = move.state.activations[move.state.scopes[owner.scope].owner]
    inner = move.behavior(owner)
    inner = getattr(inner, "inner", inner)
    assert isinstance(inner, Transaction)
    inner.cancel(move, owner)


def _is_transaction(move: Move, owner: Activation) -> bool:
    return move.behavior(owner).node.type == "transaction"
