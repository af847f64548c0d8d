"""Draw a diagram, as SVG, as PNG, or in the characters of a terminal."""

from __future__ import annotations

from mlkit.bpmn.render.files import choose, parsed, pictures, titled
from mlkit.bpmn.render.page import svg
from mlkit.bpmn.render.png import png
from mlkit.bpmn.render.progress import Progress, progress

__all__ = [
    "Progress",
    "choose",
    "parsed",
    "pictures",
    "png",
    "progress",
    "svg",
    "titled",
]
