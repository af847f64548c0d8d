"""What an evaluation came to, as a drawing shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mlkit.bpmn.decisions.answers import format_value
from mlkit.bpmn.decisions.evaluation import Evaluation
from mlkit.bpmn.decisions.load import Decisions
from mlkit.bpmn.decisions.trace import Matched
from mlkit.bpmn.expressions.feel.interchange import enter
from mlkit.bpmn.render.decisions.graph import clean


@dataclass(frozen=True, slots=True)
class Course:
    """The course of an evaluation.

    Attributes:
        values: What inputs were given and decisions decided, in FEEL, by the name of the element.
        failed: The decisions with notes why something in them is null.
        matched: The tables that were read.
        notes: Why something is null.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    failed: frozenset[str] = frozenset()
    matched: list[Matched] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def state(self, name: str) -> str:
        """Return the state of a node: `done`, `failed`, or nothing where it was not decided."""
        if name in self.failed:
            return "failed"
        return "done" if name in self.values else ""


def decide(decisions: Decisions, wanted: str, inputs: Mapping[str, Any]) -> Course:
    """Decide, for a drawing.

    Args:
        decisions: The model.
        wanted: The name or id of a decision; empty for all that no other requires.
        inputs: Values by name.

    Raises:
        BadData: There is no such decision, or a value is too large to be shown.
        ExpressionError: A limit is reached.
    """
    evaluation = Evaluation(decisions.loaded, inputs, datetime.now(UTC))
    for each in [wanted] if wanted else decisions.outermost:
        evaluation.decide(decisions.find(each))
    trace = evaluation.trace
    known = {
        key: enter(evaluation.run, each)
        for key, each in inputs.items()
        if key in decisions.known_inputs
    }
    values = {name: clean(format_value(each)) for name, each in {**known, **trace.results}.items()}
    failed = frozenset(each.partition(":")[0] for each in trace.notes)
    return Course(values, failed, trace.matched, trace.notes)
