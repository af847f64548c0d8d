"""FEEL, the expression language of DMN 1.5, whole: a text is parsed once and evaluated often.

Evaluation is a pure function of variables and a clock. What an operation does not take is null,
and no exception leaves it but `ExpressionError`, for a limit that is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlkit.bpmn.expressions.feel import builtins
from mlkit.bpmn.expressions.feel.budget import MAX_WORK, LimitReached, Run
from mlkit.bpmn.expressions.feel.compiler import Compiler
from mlkit.bpmn.expressions.feel.frame import Frame
from mlkit.bpmn.expressions.feel.interchange import Unfit, enter, leave
from mlkit.bpmn.expressions.feel.parser import Parser, find_references
from mlkit.bpmn.expressions.feel.scope import Names
from mlkit.bpmn.expressions.feel.tagged import tag
from mlkit.bpmn.expressions.feel.types import Type
from mlkit.bpmn.expressions.tree import MAX_LENGTH, ExpressionError

__all__ = ["Program", "Scope", "Variables", "compile_expression", "compile_in", "compile_tests"]

Lookup = Callable[[str], Any]


class Variables(dict[str, Any]):
    """The outermost names: each is looked up when it is read first; a missing one is null.

    Args:
        lookup: Returns a variable by name; raises KeyError for an unknown one.
        run: The evaluation.
    """

    __slots__ = ("lookup", "run")

    def __init__(self, lookup: Lookup, run: Run) -> None:
        super().__init__()
        self.lookup = lookup
        self.run = run

    def __missing__(self, name: str) -> Any:
        try:
            value = enter(self.run, self.lookup(name))
        except KeyError:
            value = None
        self[name] = value
        return value


@dataclass(frozen=True)
class Scope:
    """What an expression can see.

    Attributes:
        names: Variables that are known: their names may hold spaces and operators, and hide
            built-in functions.
        members: The names that entries of their values may have.
        types: Types that a decision model defines, by name.
        nested: Whether it runs in frames within frames.
    """

    names: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    types: Mapping[str, Type] = field(default_factory=dict)
    nested: bool = False

    def table(self) -> Names:
        """Return the names for the parser."""
        return Names(self.names, builtins.TABLE, self.members, self.types)


class Program:
    """An expression that is ready to be evaluated.

    Attributes:
        text: Its source.
        code: The closure, for a frame that somebody else makes.
        reads: The names that it reads, its own local ones among them.
        problems: Calls that can have no value, each with its position: unknown functions, and
            known ones with arguments that they do not take.
        unknown: Names that are neither known, nor bound in it, nor built-in functions, each with
            its position; those within filters may be entries, and are not among them.
    """

    __slots__ = ("_unary", "code", "problems", "reads", "text", "unknown")

    def __init__(self, text: str, start: int, scope: Scope, unary: bool) -> None:
        parser = Parser(text, scope.table(), start)
        compiler = Compiler(frozenset(scope.names))
        if unary or scope.nested:
            compiler.bound.append(frozenset("?"))
        tree = parser.parse_tests() if unary else parser.parse()
        self.code = compiler.compile(tree)
        self.reads = frozenset(find_references(tree))
        self._unary = unary
        self.text = text
        self.problems = tuple(compiler.problems)
        told = {position for position, _ in self.problems}
        self.unknown = tuple(
            (position, name)
            for position, name in compiler.unknown
            if position not in told and name not in builtins.TABLE
        )

    def run(self, frame: Frame) -> Any:
        """Evaluate it in a frame to a value of FEEL.

        Raises:
            ExpressionError: A limit is reached.
        """
        try:
            return self.code(frame)
        except LimitReached as error:
            raise frame.run.error(str(error)) from error
        except RecursionError as error:
            raise frame.run.error("nests too deeply") from error

    def value(self, run: Run, lookup: Lookup, asked: Any = None) -> Any:
        """Evaluate it to a value of FEEL; unary tests ask for the value `asked`.

        Raises:
            ExpressionError: A limit is reached.
        """
        try:
            return self.run(self._frame(lookup, run, asked))
        except LimitReached as error:
            raise run.error(str(error)) from error

    def evaluate(self, lookup: Lookup, now: datetime, work: int = MAX_WORK) -> Any:
        """Evaluate it to a value of a variable.

        Raises:
            ExpressionError: A limit is reached, or no variable can hold the value.
        """
        return self._evaluate_with(lookup, now, work, leave)

    def evaluate_tagged(self, lookup: Lookup, now: datetime, asked: Any = None) -> Any:
        """Evaluate it to tagged JSON; unary tests ask for the value `asked`.

        Raises:
            ExpressionError: A limit is reached.
        """
        return self._evaluate_with(lookup, now, MAX_WORK, tag, asked)

    def condition(self, lookup: Lookup, now: datetime, asked: Any = None) -> bool:
        """Evaluate it to whether it is true.

        Raises:
            ExpressionError: A limit is reached.
        """
        return self.value(Run(self.text, now), lookup, asked) is True

    def _frame(self, lookup: Lookup, run: Run, asked: Any) -> Frame:
        frame = Frame(Variables(lookup, run), None, run)
        return Frame({"?": enter(run, asked)}, frame, run) if self._unary else frame

    def _evaluate_with(
        self,
        lookup: Lookup,
        now: datetime,
        work: int,
        finish: Callable[[Run, Any], Any],
        asked: Any = None,
    ) -> Any:
        run = Run(self.text, now, work)
        try:
            return finish(run, self.value(run, lookup, asked))
        except (LimitReached, Unfit) as error:
            raise run.error(str(error)) from error
        except RecursionError as error:
            raise run.error("nests too deeply") from error


def compile_expression(text: str, names: Iterable[str] = (), start: int = 0) -> Program:
    """Return an expression, parsed and compiled.

    Args:
        text: The expression.
        names: Variables that are known: their names may hold spaces and operators, and hide
            built-in functions.
        start: Where in the text it begins.

    Raises:
        ExpressionError: It is none, is too long, or nests too deeply.
    """
    return compile_in(Scope(tuple(names)), text, start=start)


def compile_tests(text: str, names: Iterable[str] = ()) -> Program:
    """Return unary tests, parsed and compiled: a cell of a decision table.

    Raises:
        ExpressionError: The text is none, is too long, or nests too deeply.
    """
    return compile_in(Scope(tuple(names)), text, unary=True)


def compile_in(scope: Scope, text: str, unary: bool = False, start: int = 0) -> Program:
    """Return an expression, or unary tests, parsed and compiled for a scope.

    Raises:
        ExpressionError: The text is none, is too long, or nests too deeply.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(text, MAX_LENGTH, f"longer than {MAX_LENGTH} characters")
    try:
        return Program(text, start, scope, unary)
    except RecursionError:
        raise ExpressionError(text, start, "nests too deeply") from None
