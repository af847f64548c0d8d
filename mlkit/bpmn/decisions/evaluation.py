"""Decide: a model is loaded once, and evaluated as a pure function of its inputs and a clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mlkit.bpmn.decisions.compiled import Loaded
from mlkit.bpmn.decisions.model import (
    Decision,
    Element,
    InputData,
    Service,
)
from mlkit.bpmn.decisions.trace import Trace, TracedRun, brief
from mlkit.bpmn.decisions.types import Missing, conform
from mlkit.bpmn.expressions.feel.budget import LimitReached
from mlkit.bpmn.expressions.feel.frame import Code, Frame
from mlkit.bpmn.expressions.feel.interchange import enter
from mlkit.bpmn.expressions.feel.values import Function
from mlkit.bpmn.expressions.tree import ExpressionError
from mlkit.errors import BadData

# A graph of decisions may do more than one expression.
MAX_WORK = 2_000_000
_LEVELS = 12


class DecisionError(ExpressionError):
    """A decision that fails.

    Args:
        where: The decision.
        problem: Why it fails.
    """

    def __init__(self, where: str, problem: str) -> None:
        BadData.__init__(self, f"{where}: {problem}")
        self.text, self.problem = where, f"{where}: {problem}"


class Evaluation:
    """One evaluation of a model: each decision is decided at most once.

    Args:
        loaded: The model.
        inputs: Values of input data, by name; those of imported models also by `import.name`.
        now: What `now()` returns.
    """

    def __init__(self, loaded: Loaded, inputs: Mapping[str, Any], now: datetime) -> None:
        self.loaded = loaded
        self.run = TracedRun(loaded.model.name, now, MAX_WORK)
        self.inputs = inputs
        self.known: dict[int, Any] = {}

    @property
    def trace(self) -> Trace:
        """What happened."""
        return self.run.trace

    def decide(self, element: Element) -> Any:
        """Return the value of a decision, or call a service or function with the inputs.

        Raises:
            ExpressionError: A limit is reached.
        """
        try:
            if isinstance(element, Decision):
                return self._value(self.loaded, element)
            return self._call(element)
        except LimitReached as error:
            raise self._error(str(error)) from error
        except RecursionError as error:
            raise self._error("nests too deeply") from error

    def _error(self, problem: str) -> DecisionError:
        where = self.trace.current[-1] if self.trace.current else self.loaded.model.name
        return DecisionError(where, problem)

    def _call(self, element: Element) -> Any:
        function = self._value(self.loaded, element)
        if type(function) is not Function:
            return function
        arguments = [enter(self.run, self.inputs.get(each)) for each in function.parameters]
        return function.call(*arguments)

    # -- values of elements --------------------------------------------------------------------

    def _value(self, loaded: Loaded, element: Element) -> Any:
        """Return the value of an element; decisions that it requires come first."""
        known = self.known
        waiting = [(loaded, element)]
        while waiting:
            owner, each = waiting[-1]
            missing = () if id(each) in known else self._missing(owner, each)
            if missing:
                waiting += missing
                continue
            waiting.pop()
            if id(each) not in known:
                self.run.charge(1)
                known[id(each)] = self._compute(owner, each)
        return known[id(element)]

    def _missing(self, loaded: Loaded, element: Element) -> Sequence[tuple[Loaded, Element]]:
        """Return the decisions that a decision requires and that are not known yet."""
        if not isinstance(element, Decision):
            return []
        known = self.known
        return [
            (owner, each)
            for owner, each, _ in loaded.requirements(element)
            if isinstance(each, Decision) and id(each) not in known
        ][::-1]

    def _compute(self, loaded: Loaded, element: Element) -> Any:
        if isinstance(element, InputData):
            return self._input(loaded, element)
        if isinstance(element, Service):
            return self._service(loaded, element)
        code = loaded.codes.get(element.id)
        if code is None:
            return None
        if isinstance(element, Decision):
            return self._decide(loaded, element, code)
        return self._function(loaded, element, code)

    def _function(self, loaded: Loaded, element: Element, code: Code) -> Any:
        """Return a function; it is known before what it requires, which may be itself again."""
        names = Missing()
        found = self.known[id(element)] = code(Frame(names, None, self.run))
        self._fill(names, loaded, element)
        names[element.variable.name] = found
        return found

    def _decide(self, loaded: Loaded, element: Decision, code: Code) -> Any:
        name = element.variable.name
        self.trace.current.append(name)
        self.run.enter(_LEVELS)
        try:
            found = code(self._frame(loaded, element))
        finally:
            self.run.depth -= _LEVELS
        self.trace.current.pop()
        self.trace.results[name] = found
        return found

    def _input(self, loaded: Loaded, element: InputData) -> Any:
        name, kind = element.variable
        if loaded is self.loaded:
            key, given = name, self.inputs.get(name)
        else:
            key, given = self._resolve_import(self.loaded.prefix(loaded), name)
        value = enter(self.run, given)
        self.trace.inputs[key] = value
        if not kind:
            return value
        wanted = loaded.types.get(kind)
        if type(value) is wanted.exact:
            return value
        found = conform(self.run, wanted, value)
        if found is None and value is not None:
            self.trace.note(f"the input {name!r} is {brief(self.run, value)}, not a {kind}")
        return found

    def _resolve_import(self, prefix: str, name: str) -> tuple[str, Any]:
        """Return the name and the value of an input of an imported model.

        It is `prefix.name`, the entry of the context `prefix`, or `name` alone.
        """
        if not prefix:
            return name, self.inputs.get(name)
        whole, inside = f"{prefix}.{name}", self.inputs.get(prefix)
        if whole not in self.inputs and isinstance(inside, Mapping) and name in inside:
            return whole, inside[name]
        return whole, self.inputs.get(whole if whole in self.inputs else name)

    def _frame(self, loaded: Loaded, element: Element) -> Frame:
        names = Missing()
        self._fill(names, loaded, element)
        return Frame(names, None, self.run)

    def _fill(self, names: Missing, loaded: Loaded, element: Element) -> None:
        """Let names be what an element requires."""
        known = self.known
        for owner, required, prefix in loaded.requirements(element):
            key = id(required)
            if key in known:
                value = known[key]
            elif type(required) is InputData:  # Most are, and nothing has to be decided for them.
                self.run.charge(1)
                value = known[key] = self._input(owner, required)
            else:
                value = self._value(owner, required)
            if prefix:
                names.setdefault(prefix, {})[required.variable.name] = value
            else:
                names[required.variable.name] = value

    # -- services ------------------------------------------------------------------------------

    def _service(self, loaded: Loaded, service: Service) -> Function:
        given = [loaded.find(each) for each in (*service.input_data, *service.input_decisions)]
        inputs = [each for each in given if each is not None]
        names = tuple(each.variable.name for _, each in inputs)
        types = tuple(owner.types.get(each.variable.type_ref) for owner, each in inputs)

        def call(*arguments: Any) -> Any:
            values = {
                id(each): conform(self.run, wanted, value)
                for (_, each), wanted, value in zip(inputs, types, arguments, strict=True)
            }
            return self._inside(loaded, service, values)

        return Function(names, call, types=types)

    def _inside(self, loaded: Loaded, service: Service, values: dict[int, Any]) -> Any:
        """Return the output of a service whose inputs have values of their own."""
        outer, self.known = self.known, values
        self.run.enter(_LEVELS)
        try:
            found = [each for r in service.outputs if (each := loaded.find(r)) is not None]
            outputs = {each.variable.name: self._value(owner, each) for owner, each in found}
        finally:
            self.known = outer
            self.run.depth -= _LEVELS
        value = next(iter(outputs.values())) if len(outputs) == 1 else outputs
        return conform(self.run, loaded.types.get(service.variable.type_ref), value)
