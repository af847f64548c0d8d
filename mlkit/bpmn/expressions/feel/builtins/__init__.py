"""The built-in functions of FEEL, by subject."""

from __future__ import annotations

from mlkit.bpmn.expressions.feel.builtins import registry
from mlkit.bpmn.expressions.feel.builtins.conversion import CONVERSION
from mlkit.bpmn.expressions.feel.builtins.lists import LISTS
from mlkit.bpmn.expressions.feel.builtins.numeric import NUMERIC
from mlkit.bpmn.expressions.feel.builtins.ranges import RANGES
from mlkit.bpmn.expressions.feel.builtins.registry import Overload, Table
from mlkit.bpmn.expressions.feel.builtins.temporal import TEMPORAL
from mlkit.bpmn.expressions.feel.builtins.text import TEXT

TABLE: Table = {**CONVERSION, **NUMERIC, **TEXT, **LISTS, **TEMPORAL, **RANGES}


def by_count(name: str, count: int) -> Overload | None:
    """Return how a function is called with a number of arguments."""
    return registry.by_count(TABLE[name], count)


def by_names(name: str, names: tuple[str, ...]) -> Overload | None:
    """Return how a function is called with arguments of these names."""
    return registry.by_names(TABLE[name], names)
