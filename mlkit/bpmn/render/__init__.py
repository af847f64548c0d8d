"""Draw a diagram, as SVG, as PNG, or in the characters of a terminal."""

from __future__ import annotations

from mlkit.bpmn.render.files import choose, name_diagram, parse, pictures
from mlkit.bpmn.render.page import svg
from mlkit.bpmn.render.png import png
from mlkit.bpmn.render.progress import Progress, progress

__all__ = [
    "Progress",
    "choose",
    "name_diagram",
    "parse",
    "pictures",
    "png",
    "progress",
    "svg",
]
