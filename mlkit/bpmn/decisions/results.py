"""The constant outputs of a table: whether they fit their columns, and how they are ranked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from mlkit.bpmn.decisions.constants import NULL, cell, misfit, one
from mlkit.bpmn.decisions.domains import Sets
from mlkit.bpmn.decisions.model import Output, Problem, Table
from mlkit.bpmn.decisions.tables import CompiledTable
from mlkit.bpmn.decisions.types import Missing
from mlkit.bpmn.expressions.feel.budget import LimitReached, Run
from mlkit.bpmn.expressions.feel.frame import Frame


def misfits(where: str, compiled: CompiledTable) -> Iterator[Problem]:
    """Yield the constant outputs that are of another type than their column, or not allowed."""
    table = compiled.table
    for at, output in enumerate(table.outputs):
        declared = compiled.types[at]
        kind = "" if declared is None else declared.name
        place = f"output {output.name!r}" if output.name else "output"
        for number, rule in enumerate(table.rules, 1):
            if at < len(rule.outputs):
                entry = rule.outputs[at]
                if message := misfit(entry.text, kind) or _forbidden(entry.text, output):
                    yield Problem(
                        f"{where}, rule {number}, {place}", entry.line, message, "warning"
                    )
        if output.default is not None and (message := misfit(output.default.text, kind)):
            yield Problem(f"{where}, {place}, default", output.default.line, message, "warning")


def _forbidden(text: str, output: Output) -> str:
    allowed, found = cell(output.values) if output.values else None, one(text)
    if allowed is None or found is None or found.kinds == {NULL}:
        return ""
    (part,) = found.parts
    return "" if Sets([allowed]).match(part.values[0]) else f"{text} is not one of {output.values}"


def constant(table: Table) -> list[tuple[Any, ...]]:
    """Return the outputs of each rule: the same for those that are equal as constants."""
    return [tuple(one(each.text) or each.text for each in rule.outputs) for rule in table.rules]


def ranks(compiled: CompiledTable) -> list[list[int]] | None:
    """Return the rank of each rule by the order of the output values, the smallest first.

    None where an output is not a constant.
    """
    if any(one(each.text) is None for rule in compiled.table.rules for each in rule.outputs):
        return None
    frame = Frame(Missing(), None, Run("outputs", datetime.now(UTC)))
    try:
        return [
            compiled.rank(frame, compiled.outputs(frame, at)) for at in range(len(compiled.rules))
        ]
    except LimitReached:
        return None
