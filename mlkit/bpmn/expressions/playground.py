"""One expression at a time, for authors: its value with every type shown, or the error."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, NamedTuple

from mlkit.bpmn.expressions import Expression
from mlkit.bpmn.expressions.evaluator import Lookup
from mlkit.bpmn.expressions.feel import Program, compile_expression, compile_tests
from mlkit.bpmn.expressions.feel.budget import LimitReached, Run
from mlkit.bpmn.expressions.feel.interchange import enter
from mlkit.bpmn.expressions.feel.numbers import number
from mlkit.bpmn.expressions.feel.tagged import tag
from mlkit.bpmn.expressions.feel.writing import quote, write
from mlkit.errors import BadData, MlkitError, UsageError

MAX_LINE = 10_000_000


class Found(NamedTuple):
    """The value of an expression.

    Attributes:
        text: As people write it.
        tagged: As tagged JSON.
        problems: Calls that can have no value.
    """

    text: str
    tagged: Any
    problems: tuple[str, ...] = ()


class Playground:
    """Evaluate expressions of one language with some variables.

    Args:
        language: `feel`, `juel`, `python` or `javascript`.
        variables: Values of JSON; in FEEL an object `{"@": "literal"}` is that literal's value.
        now: What `now()` returns.
    """

    def __init__(self, language: str, variables: dict[str, Any], now: datetime) -> None:
        self.language = language
        self.now = now
        self.variables = variables

    def value(self, text: str) -> Found:
        """Return the value of an expression.

        Raises:
            ExpressionError: It is broken, refuses its values, or reaches a limit.
        """
        if self.language == "feel":
            start = len(text) - len(text.lstrip().removeprefix("="))
            return self._feel(compile_expression(text, list(self.variables), start), None)
        found = Expression(text, self.language).evaluate(self._lookup(), self.now)
        run = Run(text, self.now)
        try:
            return _describe(run, enter(run, found))
        except LimitReached as error:
            raise run.error(str(error)) from error

    def tests(self, text: str, asked: Any) -> Found:
        """Return whether a value passes a cell of a decision table.

        Raises:
            UsageError: The language has no such cells.
            ExpressionError: The cell is broken, or reaches a limit.
        """
        if self.language != "feel":
            raise UsageError(f"{self.language} has no unary tests", hint="leave --language out")
        return self._feel(compile_tests(text, list(self.variables)), literal(asked, self.now))

    def _feel(self, program: Program, asked: Any) -> Found:
        run = Run(program.text, self.now)
        found = program.value(run, self._lookup(), asked)
        shown = tuple(
            f"character {position + 1}: {problem}; its value is null"
            for position, problem in program.problems
        )
        return _describe(run, found)._replace(problems=shown)

    def _lookup(self) -> Lookup:
        if self.language != "feel":
            return self.variables.__getitem__
        return lambda name: literal(self.variables[name], self.now)


def _describe(run: Run, value: Any) -> Found:
    try:
        text = quote(value) if type(value) is str else write(run, value)
        return Found(text, tag(run, value))
    except LimitReached as error:
        raise run.error(str(error)) from error


def literal(value: Any, now: datetime) -> Any:
    """Return a value of JSON with its FEEL literals (`{"@": "..."}`) evaluated."""
    if isinstance(value, list):
        return [literal(each, now) for each in value]
    if isinstance(value, dict):
        if set(value) == {"@"} and isinstance(value["@"], str):
            program = compile_expression(value["@"])
            return program.value(Run(program.text, now), _nothing)
        return {name: literal(each, now) for name, each in value.items()}
    return value


def _nothing(name: str) -> Any:
    raise KeyError(name)


def answer(line: bytes, language: str, now: datetime) -> str:
    """Return the answer to a line of the protocol, as JSON: a value or an error, never a crash."""
    asked: dict[str, Any] = {}
    try:
        asked = read_line(line)
        if not isinstance(asked.get("expr"), str):
            raise BadData("expected an object with the text 'expr'")
        playground = Playground(language, asked.get("context") or {}, now)
        text = asked["expr"]
        unary = asked.get("unary") is True
        found = playground.tests(text, asked.get("input")) if unary else playground.value(text)
        return json.dumps({"id": asked.get("id"), "value": found.tagged}, ensure_ascii=True)
    except (MlkitError, RecursionError) as error:
        return json.dumps({"id": asked.get("id"), "error": str(error)}, ensure_ascii=True)


def read_line(line: bytes) -> dict[str, Any]:
    """Return the object of a line; its numbers are exact.

    Raises:
        BadData: It is none, or its `context` is none.
    """
    if len(line) > MAX_LINE:
        raise BadData(f"a line of more than {MAX_LINE:,} bytes")
    try:
        asked = json.loads(line, parse_float=_exact)
    except (ValueError, RecursionError) as error:
        raise BadData(f"not JSON: {error}") from error
    if not isinstance(asked, dict):
        raise BadData("expected an object")
    if not isinstance(asked.get("context") or {}, dict):
        raise BadData("'context' is not an object")
    return asked


def _exact(text: str) -> Any:
    return number(text)
