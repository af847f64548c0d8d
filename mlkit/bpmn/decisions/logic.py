"""Compile boxed expressions to closures, as FEEL's own expressions are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from types import MappingProxyType
from typing import Any

from mlkit.bpmn.decisions import model
from mlkit.bpmn.decisions.constants import constant_test, misfit
from mlkit.bpmn.decisions.model import Boxed, Problem
from mlkit.bpmn.decisions.tables import CompiledTable, ConstantTest
from mlkit.bpmn.decisions.trace import brief, note
from mlkit.bpmn.decisions.types import ANY, Types, conform
from mlkit.bpmn.expressions.feel import Program, Scope, compile_in
from mlkit.bpmn.expressions.feel.apply import apply
from mlkit.bpmn.expressions.feel.frame import Code, Frame
from mlkit.bpmn.expressions.feel.iteration import Loop
from mlkit.bpmn.expressions.feel.values import Function
from mlkit.bpmn.expressions.tree import ExpressionError

_LEVELS = 8


class Logic:
    """Compile the logic of one element.

    Args:
        where: The element, for problems.
        names: What it can see.
        members: The names that entries of values may have.
        types: The types of the model.
        problems: Where problems go.
        tables: Where compiled tables go, each with its element.
        kinds: The types of the names that have one, for the analysis of tables.

    Attributes:
        is_open: Whether entries of values that are not known before may be seen by their names.
    """

    def __init__(
        self,
        where: str,
        names: tuple[str, ...],
        members: tuple[str, ...],
        types: Types,
        problems: list[Problem],
        tables: list[tuple[str, CompiledTable]],
        kinds: Mapping[str, str],
    ) -> None:
        self.where = where
        self.names = names
        self.members = members
        self.types = types
        self.problems = problems
        self.tables = tables
        self.kinds = dict(kinds)
        self.is_open = False

    def inside(self, *names: str, kinds: Mapping[str, str] = MappingProxyType({})) -> Logic:
        """Return a compiler that sees some more names, and the types of some of them."""
        seen = tuple(each for each in names if each)
        found = copy(self)
        found.names = (*self.names, *seen)
        known = {name: kind for name, kind in self.kinds.items() if name not in seen}
        found.kinds = {**known, **kinds}
        return found

    def compile(self, boxed: Boxed | None) -> Code:
        """Return the closure of a boxed expression; its value is of the type that it names."""
        if boxed is None:
            return lambda frame: None
        code: Code = _COMPILERS[type(boxed)](self, boxed)
        return self.ensure_type(code, boxed.type_ref, boxed)

    def ensure_type(self, code: Code, name: str, boxed: Boxed | None) -> Code:
        """Return a closure whose value is of the type of a name, or null with a note."""
        wanted = self.types.get(name)
        if wanted is ANY or wanted.name == "Any":
            return code
        if isinstance(boxed, model.Literal) and (problem := misfit(boxed.text, wanted.name)):
            self.problems.append(Problem(self.where, boxed.line, problem, "warning"))

        exact = wanted.exact

        def typed(frame: Frame) -> Any:
            value = code(frame)
            if type(value) is exact:
                return value
            found = conform(frame.run, wanted, value)
            if found is None and value is not None:
                note(frame, f"{brief(frame.run, value)} is not a {name}")
            return found

        return typed

    # -- texts ---------------------------------------------------------------------------------

    def program(self, text: str, line: int, place: str = "", unary: bool = False) -> Program | None:
        """Return a compiled text; None, with a problem, if it is broken."""
        where = f"{self.where}{place}"
        scope = Scope(self.names, self.members, self.types.all(), nested=True)
        try:
            found = compile_in(scope, text, unary=unary)
        except ExpressionError as error:
            self.problems.append(Problem(where, line, str(error)))
            return None
        for position, problem in found.problems:
            message = f"{text!r} at character {position + 1}: {problem}"
            self.problems.append(Problem(where, line, message, "warning"))
        for name in dict.fromkeys(name for _, name in found.unknown if not self.is_open):
            message = f"{name!r} is neither required nor defined: it is null"
            self.problems.append(Problem(where, line, message, "warning"))
        return found

    def text(self, text: str, line: int, place: str = "", unary: bool = False) -> Code:
        """Return the closure of a text; null where it is broken."""
        found = self.program(text, line, place, unary)
        return (lambda frame: None) if found is None else found.code

    def _literal(self, boxed: model.Literal) -> Code:
        if not boxed.text:
            return lambda frame: None
        return self.text(boxed.text, boxed.line)

    # -- tables --------------------------------------------------------------------------------

    def _table(self, table: model.Table) -> Code:
        inputs = [self.compile(each.expression) for each in table.inputs]
        compiled = CompiledTable(
            table,
            inputs,
            [self._test(each.allowed, each.expression.line, "") for each in table.inputs],
            [self._rule(table, number, each) for number, each in enumerate(table.rules, 1)],
            [
                None if each.default is None else self.compile(each.default)
                for each in table.outputs
            ],
            [self._order(each, table.line) for each in table.outputs],
            [self.types.get(each.type_ref) if each.type_ref else None for each in table.outputs],
            [self._test(each.values, table.line, ", output values") for each in table.outputs],
            [self.types.get(self._kind(each)).name for each in table.inputs],
            [self._possible(each) for each in table.inputs],
        )
        self.tables.append((self.where, compiled))
        return compiled.decide

    def _kind(self, column: model.Input) -> str:
        """Return the type of a column: its own, or that of the name that it looks at."""
        return column.expression.type_ref or self._named_kind(column)

    def _named_kind(self, column: model.Input) -> str:
        """Return the type of the name that a column looks at; empty if it has none, or is none."""
        return self.kinds.get(" ".join(column.expression.text.split()), "")

    def _possible(self, column: model.Input) -> str:
        """Return the values that a column may have: its own, or those that its types allow."""
        kinds = (column.expression.type_ref, self._named_kind(column))
        return column.allowed or next(filter(None, map(self.types.values_of, kinds)), "")

    def _rule(
        self, table: model.Table, number: int, rule: model.Rule
    ) -> tuple[list[Code | None], list[Code]]:
        self._check_width(table, number, rule)
        tests: list[Code | None] = []
        for column, cell in zip(table.inputs, rule.tests, strict=False):
            place = f", rule {number}, column {column.label!r}"
            tests.append(self._test(cell.text, cell.line, place))
        tests += [None] * (len(table.inputs) - len(tests))
        outputs = []
        for at, cell in enumerate(rule.outputs[: len(table.outputs)]):
            name = table.outputs[at].name
            place = f", rule {number}, output {name!r}" if name else f", rule {number}, output"
            outputs.append(self._result(cell, place))
        outputs += [lambda frame: None] * (len(table.outputs) - len(outputs))
        return tests, outputs

    def _result(self, cell: model.Cell, place: str) -> Code:
        """Return the closure of an output; most are constants."""
        if cell.text in ("", "-"):
            return lambda frame: None
        constant = constant_test(cell.text)
        if constant is not None and len(constant.values) == 1:
            (value,) = constant.values
            return lambda frame: value
        return self.text(cell.text, cell.line, place)

    def _check_width(self, table: model.Table, number: int, rule: model.Rule) -> None:
        found = (len(rule.tests), len(rule.outputs))
        wanted = (len(table.inputs), len(table.outputs))
        if found != wanted:
            message = (
                f"{found[0]} tests and {found[1]} outputs, for {wanted[0]} and {wanted[1]} columns"
            )
            self.problems.append(Problem(f"{self.where}, rule {number}", rule.line, message))

    def _test(self, text: str, line: int, place: str) -> Code | None:
        if text in ("", "-"):
            return None
        constant = constant_test(text)
        if constant is not None:
            return ConstantTest(constant, lambda: self.text(text, line, place, unary=True))
        return self.text(text, line, place, unary=True)

    def _order(self, output: model.Output, line: int) -> Code | None:
        """Return the closure of the list that an output's values are, in their order."""
        values = output.values
        if not values:
            declared = self.types.values_of(output.type_ref)
            if not declared:
                return None
            values = declared
        return self.text(f"[{values}]", line, ", output values")

    # -- the other boxes -----------------------------------------------------------------------

    def _context(self, boxed: model.Context) -> Code:
        entries: list[tuple[str | None, Code]] = []
        logic = self
        for variable, expression in boxed.entries:
            code = logic.compile(expression)
            if variable is not None:
                code = self.ensure_type(code, variable.type_ref, expression)
                logic = logic.inside(variable.name)
            entries.append((None if variable is None else variable.name, code))

        def context(frame: Frame) -> Any:
            names: dict[str, Any] = {}
            inner = Frame(names, frame, frame.run)
            for name, code in entries:
                if name is None:
                    return code(inner)
                names[name] = code(inner)
            return dict(names)

        return context

    def _listing(self, boxed: model.Listing) -> Code:
        items = [self.compile(each) for each in boxed.items]
        return lambda frame: [each(frame) for each in items]

    def _relation(self, boxed: model.Relation) -> Code:
        rows = [
            [(column.name, self.ensure_type(self.compile(each), column.type_ref, each))
             for column, each in zip(boxed.columns, row, strict=False)]
            for row in boxed.rows
        ]  # fmt: skip
        return lambda frame: [{name: code(frame) for name, code in row} for row in rows]

    def _invocation(self, boxed: model.Invocation) -> Code:
        function = self.compile(boxed.function)
        keys = tuple(name for name, _ in boxed.bindings)
        codes = [self.compile(each) for _, each in boxed.bindings]

        def invoke(frame: Frame) -> Any:
            return apply(frame.run, function(frame), [each(frame) for each in codes], keys)

        return invoke

    def _function(self, boxed: model.FunctionDefinition) -> Code:
        define = self.function(boxed)
        return lambda frame: define(frame)

    def function(self, boxed: model.FunctionDefinition) -> Callable[[Frame], Function | None]:
        """Return what makes the function in a frame; null for one in another language."""
        if boxed.kind != "FEEL":
            return lambda frame: None
        names = tuple(each.name for each in boxed.parameters)
        types = tuple(self.types.get(each.type_ref) for each in boxed.parameters)
        kinds = {each.name: each.type_ref for each in boxed.parameters if each.type_ref}
        body = self.inside(*names, kinds=kinds).compile(boxed.body)

        def define(frame: Frame) -> Function:
            def call(*arguments: Any) -> Any:
                run = frame.run
                run.charge(_LEVELS)
                run.enter(_LEVELS)
                try:
                    return body(Frame(dict(zip(names, arguments, strict=True)), frame, run))
                finally:
                    run.depth -= _LEVELS

            return Function(names, call, types=types)

        return define

    def _conditional(self, boxed: model.Conditional) -> Code:
        parts = (boxed.condition, boxed.chosen, boxed.other)
        condition, chosen, other = map(self.compile, parts)

        def choose(frame: Frame) -> Any:
            found = condition(frame)
            if found is not None and type(found) is not bool:
                return None
            return chosen(frame) if found else other(frame)

        return choose

    def _filter(self, boxed: model.Filter) -> Code:
        items = self.compile(boxed.items)
        inner = self.inside("item")
        inner.is_open = True
        match = inner.compile(boxed.match)

        def filtered(frame: Frame) -> Any:
            given = items(frame)
            if given is None:
                return None
            kept = []
            for each in given if type(given) is list else [given]:
                frame.run.charge(2)
                names = {"item": each, **each} if type(each) is dict else {"item": each}
                found = match(Frame(names, frame, frame.run))
                if type(found) is not bool:
                    return None
                if found:
                    kept.append(each)
            return kept

        return filtered

    def _iterator(self, boxed: model.Iterator) -> Code:
        more = (boxed.variable, "partial") if boxed.kind == "for" else (boxed.variable,)
        body = self.inside(*more).compile(boxed.body)
        loop = Loop((boxed.variable,), [self.compile(boxed.items)], body, _LEVELS, 0)
        return {"for": loop.collect, "some": loop.some, "every": loop.every}[boxed.kind]


_COMPILERS: dict[type, Callable[[Logic, Any], Code]] = {
    model.Literal: Logic._literal,
    model.Table: Logic._table,
    model.Context: Logic._context,
    model.Listing: Logic._listing,
    model.Relation: Logic._relation,
    model.Invocation: Logic._invocation,
    model.FunctionDefinition: Logic._function,
    model.Conditional: Logic._conditional,
    model.Filter: Logic._filter,
    model.Iterator: Logic._iterator,
}
