"""Item definitions as types of FEEL: what values are of them, with collections and constraints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlkit.bpmn.decisions.model import ItemDefinition
from mlkit.bpmn.expressions.feel import Program
from mlkit.bpmn.expressions.feel.apply import UNFIT, coerce
from mlkit.bpmn.expressions.feel.budget import Run
from mlkit.bpmn.expressions.feel.frame import Frame
from mlkit.bpmn.expressions.feel.types import SIMPLE, Type

ANY = Type("Any")
_ALIASES = {
    "dateTime": "date and time", "dayTimeDuration": "days and time duration",
    "yearMonthDuration": "years and months duration", "any": "Any", "Undefined": "Any",
}  # fmt: skip
_MAX_LEVELS = 60
Tests = Callable[[str], Program]


class Declared(Type):
    """A type that an item definition declares.

    Args:
        definition: The definition.
        base: The type of its values, or of its items if it is a collection.
        allowed: Tests of a value, or of each item.
        constraint: Tests of the whole value.
    """

    __slots__ = ("allowed", "base", "constraint", "is_collection")

    def __init__(
        self,
        definition: ItemDefinition,
        base: Type,
        allowed: Program | None,
        constraint: Program | None,
    ) -> None:
        super().__init__("list" if definition.is_collection else base.name, entries=base.entries)
        self.exact = None
        self.base = base
        self.allowed = allowed
        self.constraint = constraint
        self.is_collection = definition.is_collection

    def holds(self, value: Any, run: Run) -> bool:
        """Return whether a value is of this type, and within its constraints."""
        if self.is_collection:
            if type(value) is not list:
                return False
            run.charge(len(value))
            fits = all(each is None or self._holds_item(each, run) for each in value)
        else:
            fits = self._holds_item(value, run)
        return fits and (self.constraint is None or passes(self.constraint, value, run))

    def _holds_item(self, value: Any, run: Run) -> bool:
        fits = self.base.holds(value, run)
        return fits and (self.allowed is None or passes(self.allowed, value, run))


class Structure(Type):
    """A context whose entries have types of their own; an entry that is missing is null."""

    __slots__ = ()

    def holds(self, value: Any, run: Run) -> bool:
        """Return whether a value is a context with these entries."""
        if type(value) is not dict:
            return False
        run.charge(len(self.entries))
        return all(
            name in value and (value[name] is None or each.holds(value[name], run))
            for name, each in self.entries.items()
        )


def passes(tests: Program, value: Any, run: Run) -> bool:
    """Return whether a value passes unary tests that need no variables."""
    return tests.code(Frame({"?": value}, Frame(Missing(), None, run), run)) is True


class Missing(dict[str, Any]):
    """Names of a model; one that is missing is null."""

    __slots__ = ()

    def __missing__(self, name: str) -> None:
        return None


def conform(run: Run, wanted: Type, value: Any) -> Any:
    """Return a value as a type has it, or null where it is not of the type."""
    if value is None or type(value) is wanted.exact:
        return value
    found = coerce(run, wanted, value)
    return None if found is UNFIT else found


class Types:
    """The types that a model knows.

    Args:
        definitions: Its own.
        imported: Those of the models that it imports, by `import name.type name`.
        tests: Compiles unary tests.
        values: The allowed values of imported types.
    """

    def __init__(
        self,
        definitions: tuple[ItemDefinition, ...],
        imported: Mapping[str, Type],
        tests: Tests,
        values: Mapping[str, str],
    ) -> None:
        self._definitions = {each.name: each for each in definitions}
        self._found: dict[str, Type] = dict(imported)
        self._simple: dict[str, Type] = {}
        self._tests = tests
        self._values = dict(values)
        self.unknown: list[str] = []
        for name in self._definitions:
            self.get(name)

    def all(self) -> dict[str, Type]:
        """Return all that are defined, by name."""
        return dict(self._found)

    def circular(self) -> Iterator[ItemDefinition]:
        """Yield the definitions whose base is, by others, themselves; entries may be."""
        done: set[str] = set()
        for name in self._definitions:
            path: list[str] = []
            while name in self._definitions and name not in done:
                done.add(name)
                path.append(name)
                name = self._definitions[name].base
            if name in path and name not in SIMPLE:
                yield from (self._definitions[each] for each in path[path.index(name) :])

    def values_of(self, name: str) -> str:
        """Return the allowed values of a type as texts between commas, in their order."""
        for _ in range(_MAX_LEVELS):
            definition = self._definitions.get(name)
            if definition is None:
                break
            if definition.allowed:
                return definition.allowed
            name = definition.base
        return self._values.get(name, "")

    def get(self, name: str, level: int = 0) -> Type:
        """Return a type by its name; an unknown one is any."""
        if name in self._simple:
            return self._simple[name]
        name = _ALIASES.get(name, name)
        if not name or level > _MAX_LEVELS:
            return ANY
        if name in self._found:
            return self._found[name]
        if name in self._definitions:
            self._found[name] = ANY  # A definition that refers to itself.
            self._found[name] = self._build(self._definitions[name], level)
            return self._found[name]
        if name not in SIMPLE:
            self.unknown.append(name)
            return ANY
        self._simple[name] = Type(name)
        return self._simple[name]

    def _build(self, definition: ItemDefinition, level: int) -> Type:
        if definition.is_function:
            return Type("function")
        if definition.components:
            entries = {each.name: self._build(each, level + 1) for each in definition.components}
            base: Type = Structure("context", entries=entries)
        else:
            base = self.get(definition.base, level + 1)
        allowed, constraint = (
            self._tests(each) if each else None
            for each in (definition.allowed, definition.constraint)
        )
        if not definition.is_collection and allowed is None and constraint is None:
            return base
        return Declared(definition, base, allowed, constraint)
