"""Tasks that work outside the engine (script, service) or inside it (one expression)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.definition.model import Computed
from mlkit.bpmn.engine.behaviors.activity import Activity
from mlkit.bpmn.engine.state import Activation
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step


class WorkTask(Activity):
    """A script task, service task or send task with a callable."""

    def execute(self, step: Step, activation: Activation) -> None:
        """Ask for the first attempt."""
        self.work(step, activation)


class ComputedTask(Activity):
    """A task whose work is one expression."""

    def execute(self, step: Step, activation: Activation) -> None:
        """Evaluate it and go on."""
        work = self.node.work
        assert isinstance(work, Computed)
        scope = step.variables(activation)
        try:
            value = step.evaluate(work.expression, scope)
        except BadData as error:
            if self.is_mapped(step, activation, error.message):
                return
            raise
        if work.spreads:
            step.state.assign(scope, value)
        elif work.result:
            step.state.assign(scope, {work.result: value})
        self.leave(step, activation)
