"""Tasks that work outside the engine (script, service) or inside it (one expression)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.definition.model import Computed
from mlkit.bpmn.engine.behaviors.activity import Activity
from mlkit.bpmn.engine.state import Activation

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Move


class WorkTask(Activity):
    """A script task, service task or send task with a callable."""

    def execute(self, move: Move, activation: Activation) -> None:
        """Ask for the first attempt."""
        self.work(move, activation)


class ComputedTask(Activity):
    """A task whose work is one expression."""

    def execute(self, move: Move, activation: Activation) -> None:
        """Evaluate it and go on."""
        work = self.node.work
        assert isinstance(work, Computed)
        scope = move.variables(activation)
        value = move.evaluate(work.expression, scope)
        if work.spreads:
            move.state.assign(scope, value)
        elif work.result:
            move.state.assign(scope, {work.result: value})
        self.leave(move, activation)
