"""Frames: what names stand for while an expression is evaluated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlkit.bpmn.expressions.feel.budget import Run


class Frame:
    """The names of one scope.

    Args:
        names: Their values; those of the outermost frame may be found when they are asked for.
        parent: The frame around; None for the outermost one.
        run: The evaluation.
    """

    __slots__ = ("names", "parent", "run")

    def __init__(self, names: dict[str, Any], parent: Frame | None, run: Run) -> None:
        self.names = names
        self.parent = parent
        self.run = run

    def find(self, name: str) -> Any:
        """Return what a name stands for, in the innermost frame that has it."""
        frame = self
        while frame.parent is not None:
            if name in frame.names:
                return frame.names[name]
            frame = frame.parent
        return frame.names[name]


Code = Callable[[Frame], Any]
