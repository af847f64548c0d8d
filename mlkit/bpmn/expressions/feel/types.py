"""The types of FEEL: what `instance of` asks for, and what decisions declare."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from mlkit.bpmn.expressions.feel.budget import Run
from mlkit.bpmn.expressions.feel.values import Date, DateTime, Days, Function, Months, Range, Time

_CLASSES: dict[str, type] = {
    "number": Decimal,
    "string": str,
    "boolean": bool,
    "date": Date,
    "time": Time,
    "date and time": DateTime,
    "days and time duration": Days,
    "years and months duration": Months,
    "list": list,
    "context": dict,
    "range": Range,
    "function": Function,
}
SIMPLE = ("Any", "Null", *_CLASSES)
_NAMES = {each: name for name, each in _CLASSES.items()}


class Type:
    """A type.

    Args:
        name: One of `SIMPLE`.
        parts: The types of a list's items, of a range's ends, of a function's parameters.
        entries: The types of a context's entries, by name.
        result: The type of a function's result.

    Attributes:
        exact: The class of all of its values and of no others; None where that does not decide.
    """

    __slots__ = ("entries", "exact", "name", "parts", "result")

    def __init__(
        self,
        name: str,
        parts: tuple[Type, ...] = (),
        entries: dict[str, Type] | None = None,
        result: Type | None = None,
    ) -> None:
        self.name = name
        self.parts = parts
        self.entries = entries or {}
        self.result = result
        self.exact = None if parts or entries else _CLASSES.get(name)

    def holds(self, value: Any, run: Run) -> bool:
        """Return whether a value is of this type; null is of type Null alone."""
        if self.name == "Any":
            return value is not None
        if self.name == "Null":
            return value is None
        if type(value) is not _CLASSES[self.name]:
            return False
        return self._holds_parts(value, run) if self.parts or self.entries else True

    def _holds_parts(self, value: Any, run: Run) -> bool:
        if self.name == "list":
            run.charge(len(value))
            return all(self._conforms(self.parts[0], each, run) for each in value)
        if self.name == "range":
            ends = [each for each in (value.start, value.end) if each is not None]
            return all(self.parts[0].holds(each, run) for each in ends)
        if self.name == "function":
            return bool(value.name) or self._takes_parts(value)
        run.charge(len(self.entries))
        return all(
            name in value and self._conforms(each, value[name], run)
            for name, each in self.entries.items()
        )

    def _takes_parts(self, function: Function) -> bool:
        """Return whether a function takes parameters of these types, as far as it declares any."""
        if len(self.parts) != len(function.parameters):
            return False
        pairs = zip(self.parts, function.types, strict=False)
        return all(
            wanted is None or "Any" in (wanted.name, given.name) or wanted.name == given.name
            for given, wanted in pairs
        )

    @staticmethod
    def _conforms(part: Type, value: Any, run: Run) -> bool:
        """Inside of lists and contexts null is of every type."""
        return value is None or part.holds(value, run)


def type_name(value: Any) -> str:
    """Return the name of the type of a value."""
    return "null" if value is None else _NAMES.get(type(value), type(value).__name__)
