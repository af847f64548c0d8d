"""How much an evaluation may do: work is counted in proportion to time and memory, no clock."""

from __future__ import annotations

from datetime import datetime

from mlkit.bpmn.expressions.tree import ExpressionError

# A unit is about one operation, one item of a list, or 16 characters of text.
MAX_WORK = 500_000
MAX_TEXT = 1_000_000
MAX_NESTING = 400


class LimitReached(Exception):
    """An evaluation that takes too much work, text or depth."""


class Run:
    """One evaluation.

    Args:
        text: The expression, for messages.
        now: What `now()` returns.
        work: The units of work that it may take.

    Attributes:
        position: The place in the text of what is evaluated, as far as limits name it.
    """

    __slots__ = ("depth", "now", "position", "text", "work")

    def __init__(self, text: str, now: datetime, work: int = MAX_WORK) -> None:
        self.text = text
        self.now = now
        self.work = work
        self.depth = 0
        self.position = 0

    def charge(self, units: int) -> None:
        """Count work.

        Raises:
            LimitReached: There was too much of it.
        """
        self.work -= units
        if self.work < 0:
            raise LimitReached("takes too much work")

    def charge_text(self, length: int) -> None:
        """Count a text that is made.

        Raises:
            LimitReached: It is too long, or there was too much work.
        """
        if length > MAX_TEXT:
            raise LimitReached("the text is too long")
        self.charge(length >> 4)

    def enter(self, levels: int) -> None:
        """Count the levels of a function's body while it is called.

        Raises:
            LimitReached: Calls nest too deeply.
        """
        self.depth += levels
        if self.depth > MAX_NESTING:
            raise LimitReached("calls nest too deeply")

    def error(self, problem: str) -> ExpressionError:
        """Return the error of a limit, with its place."""
        return ExpressionError(self.text, self.position, problem)
