"""Expressions in Python, JUEL `${...}`, FEEL `=...` and JavaScript."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from mlkit.bpmn.expressions import functions, javascript, juel, python
from mlkit.bpmn.expressions.evaluator import Evaluator, Lookup
from mlkit.bpmn.expressions.feel import Program, compile_expression
from mlkit.bpmn.expressions.tree import (
    MAX_DEPTH,
    MAX_LENGTH,
    ExpressionError,
    Node,
    TimeLimit,
    UnknownVariable,
)

__all__ = ["Composite", "Expression", "ExpressionError", "Lookup", "TimeLimit", "UnknownVariable"]

_PARSERS = {"python": python.parse, "juel": juel.parse}


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression as written.

    Attributes:
        text: Its source.
        language: `python`, `juel`, `feel`, `javascript`, `text` for a constant, or `name` for a
            variable that may be missing.
        line: Where it stands in the diagram.
    """

    text: str
    language: str
    line: int = 0

    def check(self) -> None:
        """Parse it.

        Raises:
            ExpressionError: It is broken.
        """
        if self.language == "javascript":
            javascript.check(self.text)
        elif self.language == "feel":
            _program(self.text)
        elif self.language not in ("text", "name"):
            _parse(self.text, self.language)

    def evaluate(self, lookup: Lookup, now: datetime) -> Any:
        """Return its value.

        Raises:
            ExpressionError: It is broken or refuses the values that it meets.
        """
        if self.language == "text":
            return self.text
        if self.language == "name":
            try:
                return lookup(self.text)
            except KeyError:
                return None
        if self.language == "feel":
            return _program(self.text).evaluate(lookup, now)
        if self.language == "javascript":
            return javascript.evaluate(self.text, lookup, now)
        tree = _parse(self.text, self.language)
        return Evaluator(self.text, self.language, lookup, now).run(tree)

    def constant(self) -> str:
        """Return its value as text outside any process; nothing where it needs a variable."""
        try:
            return str(self.evaluate(_nothing, datetime.fromtimestamp(0, UTC)))
        except ExpressionError:
            return ""

    def holds(self, lookup: Lookup, now: datetime) -> bool:
        """Evaluate it as a condition."""
        if self.language == "feel":
            return _program(self.text).condition(lookup, now)
        if self.language == "javascript":
            return bool(javascript.evaluate(self.text, lookup, now))
        tree = _parse(self.text, self.language)
        return Evaluator(self.text, self.language, lookup, now).condition(tree)


@dataclass(frozen=True, slots=True)
class Composite(Expression):
    """A list or map of expressions, as vendors' mappings write them.

    Attributes:
        parts: Each with its key; a list has the keys None.
    """

    parts: tuple[tuple[str | None, Expression], ...] = ()

    def evaluate(self, lookup: Lookup, now: datetime) -> Any:
        """Return the list, or the dictionary."""
        values = [(key, each.evaluate(lookup, now)) for key, each in self.parts]
        if self.language == "list":
            return [value for _, value in values]
        return {str(key): value for key, value in values}

    def check(self) -> None:
        """Do nothing: each part was checked when it was read."""


def _nothing(name: str) -> Any:
    raise KeyError(name)


@lru_cache(maxsize=4096)
def _program(text: str) -> Program:
    """Return a FEEL expression; a call without a value is an error, where FEEL returns null."""
    program = compile_expression(text, start=len(text) - len(text.lstrip().removeprefix("=")))
    for position, problem in program.problems:
        raise ExpressionError(text, position, problem)
    return program


@lru_cache(maxsize=4096)
def _parse(text: str, language: str) -> Node:
    if len(text) > MAX_LENGTH:
        raise ExpressionError(text, MAX_LENGTH, f"longer than {MAX_LENGTH} characters")
    try:
        tree = _PARSERS[language](text)
    except RecursionError:  # Depth is counted, but who calls may be deep in the stack already.
        raise ExpressionError(text, 0, "nests too deeply") from None
    _check(tree, text, language)
    return tree


def _check(tree: Node, text: str, language: str) -> None:
    """Refuse unknown functions, and trees too deep to evaluate (long chains of operators)."""
    stack = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise ExpressionError(text, node.position, "nests too deeply")
        if node.op == "call":
            problem = functions.check(language, str(node.value), len(node.children))
            if problem:
                raise ExpressionError(text, node.position, problem)
        stack += [(each, depth + 1) for each in node.children]
