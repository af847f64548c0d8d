"""Decide: a model is loaded once, and evaluated as a pure function of its inputs and a clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from mlkit.bpmn.decisions.logic import Logic
from mlkit.bpmn.decisions.model import (
    Decision,
    Element,
    InputData,
    ItemDefinition,
    Knowledge,
    Model,
    Problem,
    Service,
)
from mlkit.bpmn.decisions.tables import CompiledTable
from mlkit.bpmn.decisions.trace import Trace, TracedRun, brief
from mlkit.bpmn.decisions.types import Missing, Types, conform
from mlkit.bpmn.expressions.feel import Program, compile_tests
from mlkit.bpmn.expressions.feel.budget import LimitReached
from mlkit.bpmn.expressions.feel.frame import Code, Frame
from mlkit.bpmn.expressions.feel.interchange import enter
from mlkit.bpmn.expressions.feel.types import Type
from mlkit.bpmn.expressions.feel.values import Function
from mlkit.bpmn.expressions.tree import ExpressionError
from mlkit.errors import BadData

# A graph of decisions may do more than one expression.
MAX_WORK = 2_000_000
_LEVELS = 12
_MAX_CHAIN = 30


class DecisionError(ExpressionError):
    """A decision that fails.

    Args:
        where: The decision.
        problem: Why it fails.
    """

    def __init__(self, where: str, problem: str) -> None:
        BadData.__init__(self, f"{where}: {problem}")
        self.text, self.problem = where, f"{where}: {problem}"


class Loaded:
    """A model that is compiled.

    Args:
        model: As it was read.
        imported: The models that it imports, by the name of the import.

    Attributes:
        problems: What is wrong with it.
        tables: Its decision tables, each with its element.
    """

    def __init__(self, model: Model, imported: Mapping[str, Loaded]) -> None:
        self.model = model
        self.imported = imported
        self.problems: list[Problem] = list(model.problems)
        self.elements: dict[str, Element] = {each.id: each for each in model.elements}
        self.types = Types(model.types, self._imported_types(), self._tests)
        self.members = tuple(sorted(self._members()))
        self.codes: dict[str, Code] = {}
        self._requirements: dict[str, list[Required]] = {}
        self.tables: list[tuple[str, CompiledTable]] = []
        for each in model.elements:
            self._compile(each)
        for name in dict.fromkeys(self.types.unknown):
            self.problems.append(Problem(name, 0, f"there is no type {name!r}"))
        self._check_circles()

    def _imported_types(self) -> dict[str, Type]:
        return {
            f"{prefix}.{name}" if prefix else name: each
            for prefix, other in self.imported.items()
            for name, each in other.types.all().items()
        }

    def _tests(self, text: str) -> Program:
        try:
            return compile_tests(text)
        except ExpressionError as error:
            self.problems.append(Problem("allowed values", 0, str(error)))
            return compile_tests("-")

    def _members(self) -> set[str]:
        """Return the names that entries of values may have."""
        names: set[str] = set()
        for other in self.imported.values():
            names |= {each.variable.name for each in other.model.elements} | set(other.members)
        stack: list[ItemDefinition] = list(self.model.types)
        while stack:
            definition = stack.pop()
            names |= {each.name for each in definition.components}
            stack += definition.components
        return names

    # -- compiling -----------------------------------------------------------------------------

    def find(self, reference: str) -> tuple[Loaded, Element] | None:
        """Return what a reference means: the model, and the element in it."""
        namespace, _, identity = reference.rpartition("#")
        if namespace in ("", self.model.namespace) and identity in self.elements:
            return self, self.elements[identity]
        for other in self.imported.values():
            found = other.find(f"#{identity}")
            if found is not None and namespace in ("", other.model.namespace):
                return found
        return next(
            (found for other in self.imported.values() if (found := other.find(reference))), None
        )

    def _required(self, element: Element) -> Iterable[str]:
        if isinstance(element, Decision):
            yield from element.requires
            yield from element.knows
        elif isinstance(element, Knowledge):
            yield from element.knows

    def requirements(self, element: Element) -> list[Required]:
        """Return what an element requires, found once."""
        known = self._requirements.get(element.id)
        if known is None:
            found = [self.find(each) for each in self._required(element)]
            known = [
                Required(owner, each, "" if owner is self else self.prefix(owner))
                for owner, each in (each for each in found if each is not None)
            ]
            self._requirements[element.id] = known
        return known

    def _names(self, element: Element) -> tuple[str, ...]:
        """Return what an element can see: what it requires, imported things below their import."""
        names = []
        for reference in self._required(element):
            found = self.find(reference)
            if found is None:
                message = f"what it requires is missing: {reference!r}"
                self.problems.append(Problem(element.variable.name, element.line, message))
            elif found[0] is self:
                names.append(found[1].variable.name)
            else:
                names.append(self.prefix(found[0]) or found[1].variable.name)
        return tuple(dict.fromkeys(names))

    def prefix(self, other: Loaded) -> str:
        """Return the name of the import by which another model is seen."""
        for name, each in self.imported.items():
            if each is other:
                return name
        return next((name for name, each in self.imported.items() if each.prefix(other)), "")

    def _compile(self, element: Element) -> None:
        if isinstance(element, Decision | Knowledge):
            names = self._names(element)
            where = element.variable.name
            places = (self.problems, self.tables)
            logic = Logic(where, names, self.members, self.types, *places)
            kind = element.variable.type_ref
            if isinstance(element, Decision):
                self.codes[element.id] = logic.typed(logic.compile(element.logic), kind)
            elif element.function is not None:
                own = logic.inside(element.variable.name)
                self.codes[element.id] = own.function(element.function)
        elif isinstance(element, InputData | Service):
            self.types.get(element.variable.type_ref)

    def parameters(self, element: Element) -> tuple[str, ...]:
        """Return the names of what a service or function takes."""
        if isinstance(element, Knowledge):
            return (
                ()
                if element.function is None
                else tuple(each.name for each in element.function.parameters)
            )
        if not isinstance(element, Service):
            return ()
        found = (self.find(each) for each in (*element.input_data, *element.input_decisions))
        return tuple(each[1].variable.name for each in found if each is not None)

    def _check_circles(self) -> None:
        """Refuse decisions that require themselves; functions may call themselves."""
        done: set[str] = set()
        for each in self.model.elements:
            self._walk(each, done, [])

    def _walk(self, element: Element, done: set[str], path: list[str]) -> None:
        if element.id in path:
            raise BadData(f"{self.model.path}: {element.variable.name!r} requires itself")
        if len(path) > _MAX_CHAIN:
            raise BadData(f"{self.model.path}: requirements are chained too deeply")
        if element.id in done:
            return
        for reference in self._required(element):
            found = self.find(reference)
            if found is not None and found[0] is self and found[1] is not element:
                self._walk(found[1], done, [*path, element.id])
            elif found is not None and found[1] is element and isinstance(element, Decision):
                raise BadData(f"{self.model.path}: {element.variable.name!r} requires itself")
        done.add(element.id)


class Required(NamedTuple):
    """What an element requires.

    Attributes:
        owner: The model that it is in.
        prefix: The name of the import by which it is seen; empty in the same model.
    """

    owner: Loaded
    element: Element
    prefix: str


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
            return self._called(element)
        except LimitReached as error:
            raise self._error(str(error)) from error
        except RecursionError as error:
            raise self._error("nests too deeply") from error

    def _error(self, problem: str) -> DecisionError:
        where = self.trace.current[-1] if self.trace.current else self.loaded.model.name
        return DecisionError(where, problem)

    def _called(self, element: Element) -> Any:
        function = self._value(self.loaded, element)
        if type(function) is not Function:
            return function
        arguments = [enter(self.run, self.inputs.get(each)) for each in function.parameters]
        return function.call(*arguments)

    # -- values of elements --------------------------------------------------------------------

    def _value(self, loaded: Loaded, element: Element) -> Any:
        key = id(element)
        if key not in self.known:
            self.run.charge(1)
            self.known[key] = self._computed(loaded, element)
        return self.known[key]

    def _computed(self, loaded: Loaded, element: Element) -> Any:
        if isinstance(element, InputData):
            return self._input(loaded, element)
        if isinstance(element, Service):
            return self._service(loaded, element)
        code = loaded.codes.get(element.id)
        if code is None:
            return None
        if isinstance(element, Decision):
            return self._decided(loaded, element, code)
        return code(self._frame(loaded, element))

    def _decided(self, loaded: Loaded, element: Decision, code: Code) -> Any:
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
        prefix = "" if loaded is self.loaded else self.loaded.prefix(loaded)
        key = f"{prefix}.{name}" if prefix else name
        given = self.inputs.get(key if key in self.inputs else name)
        value = enter(self.run, given)
        self.trace.inputs[key] = value
        if not kind:
            return value
        wanted = loaded.types.get(kind)
        if type(value) is wanted.exact:
            return value
        found = conform(self.run, wanted, value)
        if found is None and value is not None:
            self.trace.note(f"the input {name!r} is {brief(self.run, value)}, no {kind}")
        return found

    def _frame(self, loaded: Loaded, element: Element) -> Frame:
        names = Missing()
        known = self.known
        for owner, required, prefix in loaded.requirements(element):
            key = id(required)
            value = known[key] if key in known else self._value(owner, required)
            if prefix:
                names.setdefault(prefix, {})[required.variable.name] = value
            else:
                names[required.variable.name] = value
        frame = Frame(names, None, self.run)
        if isinstance(element, Knowledge):
            code = loaded.codes[element.id]
            names[element.variable.name] = code(frame)  # It may call itself.
        return frame

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
