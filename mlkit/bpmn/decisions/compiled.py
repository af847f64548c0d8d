"""A model that is compiled: its closures, types and tables, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

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
from mlkit.bpmn.decisions.types import Types
from mlkit.bpmn.expressions.feel import Program, compile_tests
from mlkit.bpmn.expressions.feel.frame import Code
from mlkit.bpmn.expressions.feel.types import Type
from mlkit.bpmn.expressions.tree import ExpressionError
from mlkit.errors import BadData


class Loaded:
    """A model that is compiled.

    Args:
        model: As it was read.
        imported: The models that it imports, each with the name of the import (which may be empty).

    Attributes:
        problems: What is wrong with it.
        tables: Its decision tables, each with its element.
    """

    def __init__(self, model: Model, imported: Iterable[tuple[str, Loaded]]) -> None:
        self.model = model
        self.imported = tuple(imported)
        self.problems: list[Problem] = list(model.problems)
        self.elements: dict[str, Element] = {each.id: each for each in model.elements}
        self.types = Types(
            model.types,
            self._collect_imported_types(),
            self._tests,
            self._collect_imported_values(),
        )
        self.members = tuple(sorted(self._members()))
        self.codes: dict[str, Code] = {}
        self._requirements: dict[str, list[Required]] = {}
        self.tables: list[tuple[str, CompiledTable]] = []
        for each in model.elements:
            self._compile(each)
        for name in dict.fromkeys(self.types.unknown):
            self.problems.append(Problem(name, 0, f"there is no type {name!r}"))
        self.problems += [
            Problem(circular.name, circular.line, "the type is defined by itself")
            for circular in self.types.circular()
        ]
        self._check_circles()

    def _collect_imported_types(self) -> dict[str, Type]:
        return {
            f"{prefix}.{name}" if prefix else name: each
            for prefix, other in self.imported
            for name, each in other.types.all().items()
        }

    def _collect_imported_values(self) -> dict[str, str]:
        return {
            f"{prefix}.{name}" if prefix else name: values
            for prefix, other in self.imported
            for name in other.types.all()
            if (values := other.types.values_of(name))
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
        for _, other in self.imported:
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
        for _, other in self.imported:
            found = other.find(f"#{identity}")
            if found is not None and namespace in ("", other.model.namespace):
                return found
        return next((found for _, other in self.imported if (found := other.find(reference))), None)

    def _list_required(self, element: Element) -> Iterable[str]:
        if isinstance(element, Decision):
            yield from element.requires
            yield from element.knows
        elif isinstance(element, Knowledge):
            yield from element.knows

    def requirements(self, element: Element) -> list[Required]:
        """Return what an element requires, found once."""
        known = self._requirements.get(element.id)
        if known is None:
            found = [self.find(each) for each in self._list_required(element)]
            known = [
                Required(owner, each, "" if owner is self else self.prefix(owner))
                for owner, each in (each for each in found if each is not None)
            ]
            self._requirements[element.id] = known
        return known

    def _names(self, element: Element) -> tuple[str, ...]:
        """Return what an element can see: what it requires, imported things below their import."""
        names = []
        for reference in self._list_required(element):
            found = self.find(reference)
            if found is None:
                self._missing(element, reference)
            elif found[0] is self:
                names.append(found[1].variable.name)
            else:
                names.append(self.prefix(found[0]) or found[1].variable.name)
        return tuple(dict.fromkeys(names))

    def _kinds(self, element: Element) -> dict[str, str]:
        """Return the types of the values that an element requires from the same model, by name."""
        return {
            each.variable.name: each.variable.type_ref
            for owner, each, _ in self.requirements(element)
            if owner is self and isinstance(each, InputData | Decision) and each.variable.type_ref
        }

    def prefix(self, other: Loaded) -> str:
        """Return the name of the import by which another model is seen."""
        for name, each in self.imported:
            if each is other:
                return name
        return next((name for name, each in self.imported if each.prefix(other)), "")

    def _compile(self, element: Element) -> None:
        if isinstance(element, Decision | Knowledge):
            names = self._names(element)
            where = element.variable.name
            places = (self.problems, self.tables)
            kinds = self._kinds(element)
            logic = Logic(where, names, self.members, self.types, *places, kinds)
            kind = element.variable.type_ref
            if isinstance(element, Decision):
                self.codes[element.id] = logic.ensure_type(
                    logic.compile(element.logic), kind, element.logic
                )
            elif element.function is not None:
                own = logic.inside(element.variable.name)
                self.codes[element.id] = own.function(element.function)
        elif isinstance(element, InputData | Service):
            self.types.get(element.variable.type_ref)
        if isinstance(element, Service):
            self._check_references(element)

    def _check_references(self, service: Service) -> None:
        inside = (*service.outputs, *service.encapsulated)
        for reference in (*inside, *service.input_decisions, *service.input_data):
            if self.find(reference) is None:
                self._missing(service, reference)

    def _missing(self, element: Element, reference: str) -> None:
        message = f"what it requires is missing: {reference!r}"
        self.problems.append(Problem(element.variable.name, element.line, message))

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
        """Refuse decisions that require themselves; functions may call each other."""
        graph = {
            each.id: [self._own(reference) for reference in each.requires]
            for each in self.model.elements
            if isinstance(each, Decision)
        }
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            name = self.elements[error.args[1][0]].variable.name
            raise BadData(f"{self.model.path}: {name!r} requires itself") from error

    def _own(self, reference: str) -> str:
        """Return the id of an element of this model; of what is elsewhere, the reference."""
        found = self.find(reference)
        return found[1].id if found is not None and found[0] is self else f"#{reference}"


class Required(NamedTuple):
    """What an element requires.

    Attributes:
        owner: The model that it is in.
        prefix: The name of the import by which it is seen; empty in the same model.
    """

    owner: Loaded
    element: Element
    prefix: str
