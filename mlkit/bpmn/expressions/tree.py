"""The one tree that every expression dialect is parsed into, and what may stand in it."""

from __future__ import annotations

from dataclasses import dataclass

from mlkit.errors import BadData

MAX_LENGTH = 4_000
MAX_DEPTH = 60


class ExpressionError(BadData):
    """An expression that cannot be parsed or evaluated.

    Args:
        text: The expression.
        position: Where in it, counted in characters from 0.
        problem: What is wrong there.
    """

    def __init__(self, text: str, position: int, problem: str) -> None:
        shown = text if len(text) <= 80 else text[:77] + "..."
        super().__init__(f"{shown!r} at character {position + 1}: {problem}")
        self.position = position
        self.problem = problem


class UnknownVariable(ExpressionError):
    """A name that no variable has."""


class TimeLimit(ExpressionError):
    """An expression that took more processor time than it may."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of an expression.

    Attributes:
        op: A name out of the evaluator's table; nothing else can be executed.
        position: Where it stands in the text.
        children: Its operands.
        value: The constant of a literal; the name of a variable or function.
    """

    op: str
    position: int
    children: tuple[Node, ...] = ()
    value: object = None
