"""Results of decisions for people and programs: as text, as documents, line by line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from mlkit.bpmn.decisions.load import Decided, Decisions
from mlkit.bpmn.expressions.feel.budget import LimitReached, Run
from mlkit.bpmn.expressions.feel.tagged import tag
from mlkit.bpmn.expressions.feel.writing import quote, write
from mlkit.bpmn.expressions.playground import literal, read_line
from mlkit.errors import BadData, MlkitError


def format_value(value: Any) -> str:
    """Return a value in FEEL's notation.

    Raises:
        BadData: It is too large.
    """
    try:
        run = Run("result", datetime.now(UTC))
        return quote(value) if type(value) is str else write(run, value)
    except LimitReached as error:
        raise BadData(f"the result {error}") from error


def _tag(value: Any) -> Any:
    try:
        return tag(Run("result", datetime.now(UTC)), value)
    except LimitReached as error:
        raise BadData(f"the result {error}") from error


def document(name: str, found: Decided) -> dict[str, Any]:
    """Return the fields of a JSON document: values are tagged by their types."""
    trace = found.trace
    return {
        "decision": name,
        "value": _tag(found.value),
        "decided": {each: _tag(value) for each, value in trace.results.items()},
        "matched": [
            {
                "decision": each.decision,
                "inputs": {label: _tag(value) for label, value in each.inputs.items()},
                "rules": each.rules,
                "lines": each.lines,
            }
            for each in trace.matched
        ],
        "notes": trace.notes,
    }


def answer(decisions: Decisions, line: bytes) -> str:
    """Return the answer to a line of the protocol, as JSON: a value or an error, never a crash."""
    asked: dict[str, Any] = {}
    try:
        asked = read_line(line)
        name = asked.get("decision") or decisions.main
        if not isinstance(name, str):
            raise BadData("'decision' is not text")
        inputs = literal(asked.get("context") or {}, datetime.now(UTC))
        found = decisions.evaluate(name, inputs)
        return json.dumps({"id": asked.get("id"), "value": _tag(found.value)})
    except (MlkitError, RecursionError) as error:
        return json.dumps({"id": asked.get("id"), "error": str(error)})
