"""Draw decision models: the requirement graph and each decision table."""

from __future__ import annotations

from mlkit.bpmn.render.decisions.course import Course, decide
from mlkit.bpmn.render.decisions.files import Drawn, draw
from mlkit.bpmn.render.decisions.page import describe, svg
from mlkit.bpmn.render.decisions.terminal import text

__all__ = ["Course", "Drawn", "decide", "describe", "draw", "svg", "text"]
