"""What the history of an instance keeps of a decision: plain values, as variables hold them."""

from __future__ import annotations

from typing import Any

from mlkit.bpmn.decisions.evaluation import Evaluation
from mlkit.bpmn.decisions.trace import Matched
from mlkit.bpmn.expressions.feel.budget import LimitReached
from mlkit.bpmn.expressions.feel.interchange import Unfit, leave
from mlkit.bpmn.expressions.feel.writing import write
from mlkit.workers.child.values import Unstorable, pack

# A function with a table may be called for each item of a list.
_MAX_TABLES = 100


def record(decision: str, evaluation: Evaluation, output: Any, error: str = "") -> dict[str, Any]:
    """Return what is kept of an evaluation.

    Args:
        decision: Its id, as a task names it.
        evaluation: The evaluation, when it is over.
        output: The value that the task gets, as variables hold it; None if it failed.
        error: Why it failed.
    """
    trace = evaluation.trace

    def plain(values: dict[str, Any]) -> dict[str, Any]:
        return {name: _plain(evaluation, each) for name, each in values.items()}

    return {
        "decision": decision,
        "model": evaluation.loaded.model.path.name,
        "inputs": plain(trace.inputs),
        "decided": plain(trace.results),
        "matched": [_describe_match(each, plain) for each in trace.matched[:_MAX_TABLES]],
        "omitted": max(0, len(trace.matched) - _MAX_TABLES),
        "output": _pack(output),
        "error": error or None,
    }


def _describe_match(each: Matched, plain: Any) -> dict[str, Any]:
    return {
        "decision": each.decision,
        "inputs": plain(each.inputs),
        "rules": each.rules,
        "lines": each.lines,
    }


def _pack(value: Any) -> Any:
    try:
        return pack(value)
    except Unstorable:
        return str(value)


def _plain(evaluation: Evaluation, value: Any) -> Any:
    """Return a value as JSON; one that no variable can hold as text in FEEL's notation."""
    try:
        try:
            return pack(leave(evaluation.run, value))
        except (Unfit, Unstorable):
            return write(evaluation.run, value)
    except LimitReached:
        return "(too large)"
