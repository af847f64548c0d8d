"""Decision tables: which rules match, and what the hit policy makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mlkit.bpmn.decisions.constants import Constant
from mlkit.bpmn.decisions.index import INDEXED, Column, bits
from mlkit.bpmn.decisions.model import Table
from mlkit.bpmn.decisions.trace import Matched, brief, note
from mlkit.bpmn.decisions.types import conform
from mlkit.bpmn.expressions.feel import builtins
from mlkit.bpmn.expressions.feel.apply import invoke
from mlkit.bpmn.expressions.feel.budget import LimitReached, Run
from mlkit.bpmn.expressions.feel.comparison import equal
from mlkit.bpmn.expressions.feel.frame import Code, Frame
from mlkit.bpmn.expressions.feel.types import Type

Test = Code | None
_MAX_NAMED = 5
_AGGREGATES = {"SUM": "sum", "MIN": "min", "MAX": "max", "COUNT": "count"}


class CompiledTable:
    """A decision table, compiled.

    Args:
        table: As it is drawn.
        inputs: What each column looks at.
        allowed: Tests of each column's value; None without any.
        rules: The tests (None for one that always passes) and outputs of each rule.
        defaults: The value of each output if no rule matches; None without one.
        priorities: The values of each output in their order; empty without any.
        types: The type of each output; None without one.
        results: Tests of each output's value; None without any.
        kinds: The name of the type of each column, for the analysis.
        within: The values that each column may have as unary tests, for the analysis.
    """

    def __init__(
        self,
        table: Table,
        inputs: list[Code],
        allowed: list[Test],
        rules: list[tuple[list[Test], list[Code]]],
        defaults: list[Code | None],
        priorities: list[Code | None],
        types: list[Type | None],
        results: list[Test],
        kinds: list[str],
        within: list[str],
    ) -> None:
        self.table = table
        self.inputs = inputs
        self.allowed = allowed
        self.rules = rules
        self.columns = [
            Column(_constants(tests[at] for tests, _ in rules)) for at in range(len(inputs))
        ]
        self.is_limited = any(each is not None for each in allowed)
        self.everything = (1 << len(rules)) - 1
        self.defaults = defaults
        self.priorities = priorities
        self.types = types
        self.results = results
        self.has_results = any(each is not None for each in results)
        self.kinds = kinds
        self.within = within

    def decide(self, frame: Frame) -> Any:
        """Return the table's result; null where an input is not allowed, or rules contradict."""
        values = [each(frame) for each in self.inputs]
        if self.is_limited and not self._are_allowed(frame, values):
            return None
        matched = self._match(frame, values)
        _note_rules(frame, self.table, values, matched)
        if not matched:
            return self._default(frame)
        rows = [self.outputs(frame, each) for each in matched]
        return _POLICIES[self.table.policy](self, frame, rows)

    def _are_allowed(self, frame: Frame, values: list[Any]) -> bool:
        for value, test, column in zip(values, self.allowed, self.table.inputs, strict=True):
            if test is None:
                continue
            if not _is_allowed(frame, test, value):
                found = brief(frame.run, value)
                note(frame, f"column {column.label!r}: {found} is not one of {column.allowed}")
                return False
        return True

    def _match(self, frame: Frame, values: list[Any]) -> list[int]:
        """Return the rules that match: those whose constants pass, then what must be evaluated."""
        frame.run.charge(len(values) + (len(self.rules) >> 6))
        mask, unsure = self.everything, []
        for at, value in enumerate(values):
            column = self.columns[at]
            if type(value) in INDEXED:
                evaluated = column.evaluated
                mask &= column.match(value) | evaluated
            else:
                evaluated = self.everything & ~column.always
                mask &= column.always | evaluated
            if evaluated:
                unsure.append((at, evaluated, Frame({"?": value}, frame, frame.run)))
        first_only = self.table.policy == "FIRST"
        found: list[int] = []
        for number in bits(mask):
            if not unsure or self._passes(frame.run, number, unsure):
                found.append(number)
                if first_only:
                    break
        return found

    def _passes(self, run: Run, number: int, unsure: list[tuple[int, int, Frame]]) -> bool:
        run.charge(1)
        tests = self.rules[number][0]
        try:
            for at, evaluated, asked in unsure:
                test = tests[at]
                if evaluated >> number & 1 and test is not None and test(asked) is not True:
                    return False
        except LimitReached as error:
            raise LimitReached(f"rule {number + 1}: {error}") from error
        return True

    def outputs(self, frame: Frame, number: int) -> list[Any]:
        """Return the outputs of a rule, from 0; null where one is not of its column's type."""
        try:
            values = [each(frame) for each in self.rules[number][1]]
        except LimitReached as error:
            raise LimitReached(f"rule {number + 1}: {error}") from error
        for at, wanted in enumerate(self.types):
            if wanted is not None and at < len(values):
                fit = conform(frame.run, wanted, values[at])
                if fit is None and values[at] is not None:
                    problem = f"no {self.table.outputs[at].type_ref}"
                    self._note_result(frame, number, at, values[at], problem)
                values[at] = fit
            test = self.results[at] if self.has_results else None
            if test is not None and values[at] is not None:
                values[at] = self._check_result(frame, number, at, test, values[at])
        return values

    def _check_result(self, frame: Frame, number: int, at: int, test: Code, value: Any) -> Any:
        if _is_allowed(frame, test, value):
            return value
        output = self.table.outputs[at]
        self._note_result(frame, number, at, value, f"not one of {output.values}")
        return None

    def _note_result(self, frame: Frame, number: int, at: int, value: Any, problem: str) -> None:
        name = self.table.outputs[at].name
        where = f"rule {number + 1}, output {name!r}".removesuffix(" ''")
        note(frame, f"{where}: {brief(frame.run, value)} is {problem}")

    def _shape(self, values: list[Any]) -> Any:
        """Return the outputs of a rule: one value, or a context by name."""
        if len(self.table.outputs) == 1:
            return values[0]
        return {each.name: value for each, value in zip(self.table.outputs, values, strict=True)}

    def _default(self, frame: Frame) -> Any:
        if any(each is not None for each in self.defaults):
            values = [None if each is None else each(frame) for each in self.defaults]
            found = self._shape(values)
            return found if self.table.is_single else [found]
        if self.table.policy == "COLLECT" and not self.table.aggregation:
            return []
        return builtins_call(frame, "count", []) if self.table.aggregation == "COUNT" else None

    def _unique(self, frame: Frame, rows: list[list[Any]]) -> Any:
        if len(rows) > 1:
            note(frame, f"{_contradiction(frame)}, but the hit policy is UNIQUE")
            return None
        return self._shape(rows[0])

    def _any(self, frame: Frame, rows: list[list[Any]]) -> Any:
        if any(equal(frame.run, each, rows[0]) is not True for each in rows):
            note(frame, f"{_contradiction(frame)} with other outputs, but the hit policy is ANY")
            return None
        return self._shape(rows[0])

    def _first(self, frame: Frame, rows: list[list[Any]]) -> Any:
        return self._shape(rows[0])

    def _priority(self, frame: Frame, rows: list[list[Any]]) -> Any:
        return self._shape(min(rows, key=lambda row: self.rank(frame, row)))

    def _output_order(self, frame: Frame, rows: list[list[Any]]) -> Any:
        ranked = sorted(rows, key=lambda row: self.rank(frame, row))
        return [self._shape(each) for each in ranked]

    def rank(self, frame: Frame, row: list[Any]) -> list[int]:
        """Return the places of outputs in the order of their columns' values: smallest is first."""
        return [
            0 if order is None else _place(frame.run, order(frame) or [], value)
            for order, value in zip(self.priorities, row, strict=True)
        ]

    def _rule_order(self, frame: Frame, rows: list[list[Any]]) -> Any:
        return [self._shape(each) for each in rows]

    def _collect(self, frame: Frame, rows: list[list[Any]]) -> Any:
        if not self.table.aggregation:
            return [self._shape(each) for each in rows]
        name = _AGGREGATES[self.table.aggregation]
        columns = [list(each) for each in zip(*rows, strict=True)]
        return self._shape([builtins_call(frame, name, each) for each in columns])


def _is_allowed(frame: Frame, test: Code, value: Any) -> bool:
    """Return whether a value passes the tests of its column, or each item of a list does."""
    if test(Frame({"?": value}, frame, frame.run)) is True:
        return True
    if type(value) is not list:
        return False
    frame.run.charge(len(value))
    return all(test(Frame({"?": each}, frame, frame.run)) is True for each in value)


def _constants(tests: Iterable[Test]) -> Iterable[Constant | bool | None]:
    for test in tests:
        yield True if test is None else getattr(test, "constant", None)


class ConstantTest:
    """A test that compares with constants: it is compiled only for a value that needs it.

    Args:
        constant: The constants.
        compile_: Returns the closure of the test.
    """

    __slots__ = ("_code", "_compile", "constant")

    def __init__(self, constant: Constant, compile_: Callable[[], Code]) -> None:
        self.constant = constant
        self._compile = compile_
        self._code: Code | None = None

    def __call__(self, frame: Frame) -> Any:
        """Return whether the input of a frame passes."""
        if self._code is None:
            self._code = self._compile()
        return self._code(frame)


_POLICIES: dict[str, Callable[[CompiledTable, Frame, list[list[Any]]], Any]] = {
    "UNIQUE": CompiledTable._unique,
    "ANY": CompiledTable._any,
    "FIRST": CompiledTable._first,
    "PRIORITY": CompiledTable._priority,
    "OUTPUT ORDER": CompiledTable._output_order,
    "RULE ORDER": CompiledTable._rule_order,
    "COLLECT": CompiledTable._collect,
}


def _place(run: Run, order: list[Any], value: Any) -> int:
    """Return the place of a value in the order of an output's values; unknown ones come last."""
    for at, each in enumerate(order):
        if equal(run, each, value) is True:
            return at
    return len(order)


def builtins_call(frame: Frame, name: str, values: list[Any]) -> Any:
    """Call a built-in function of lists with one list."""
    overload = builtins.by_count(name, 1)
    return None if overload is None else invoke(frame.run, overload.function, [values])


def _contradiction(frame: Frame) -> str:
    """Return which rules match which inputs, of the table that was read last."""
    trace = getattr(frame.run, "trace", None)
    if trace is None or not trace.matched:
        return "several rules match"
    last: Matched = trace.matched[-1]
    inputs = ", ".join(f"{name} = {brief(frame.run, each)}" for name, each in last.inputs.items())
    rules = ", ".join(map(str, last.rules[:_MAX_NAMED]))
    more = ", ..." if len(last.rules) > _MAX_NAMED else ""
    return f"rules {rules}{more} match {inputs}"


def _note_rules(frame: Frame, table: Table, values: list[Any], matched: list[int]) -> None:
    trace = getattr(frame.run, "trace", None)
    if trace is not None:
        trace.table(table, values, matched)
