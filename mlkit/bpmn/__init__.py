"""BPMN diagrams as durable pipelines: parse, check, run, resume. DMN decisions: `Decisions`.

A server of pipelines is asked by `Client`.
"""

from __future__ import annotations

from typing import Any


class BpmnError(Exception):
    """A modelled error that a Python callable throws for a boundary event to catch.

    Args:
        code: The code that the diagram's error event names.
        message: Text for people.
    """

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code


def __getattr__(name: str) -> Any:
    """Load `Decisions` and `Client` when they are asked for: their imports take time."""
    if name == "Decisions":
        from mlkit.bpmn.decisions.load import Decisions

        return Decisions
    if name == "Client":
        from mlkit.bpmn.client import Client

        return Client
    raise AttributeError(name)
