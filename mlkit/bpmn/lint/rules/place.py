"""Where a rule looks, and how it reports what it found."""

from __future__ import annotations

from typing import NamedTuple

from mlkit.bpmn.definition.model import FlowNode, Process, Scope
from mlkit.bpmn.definition.problem import Problem


class Place(NamedTuple):
    """A scope of a process with the sub-process that it is the inside of, if any."""

    body: Scope
    owner: FlowNode | None
    process: Process


def wrong(rule: str, node: FlowNode, message: str) -> Problem:
    """Return an error of a flow node."""
    return Problem(rule, "error", node.id, node.line, message)
