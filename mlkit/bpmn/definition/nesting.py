"""Targets of mappings that lie within objects, as Camunda 8 has them: `order.fee`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlkit.bpmn.expressions import Expression, Lookup

TARGET = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")


@dataclass(frozen=True, slots=True)
class Nested(Expression):
    """An object that several mappings make together.

    Attributes:
        text: The variable.
        parts: By path within it, what is set there, in order; an empty path sets the whole.
        merges: Whether what the variable holds already is kept.
    """

    parts: tuple[tuple[tuple[str, ...], Expression], ...] = ()
    merges: bool = False

    def evaluate(self, lookup: Lookup, now: datetime) -> Any:
        """Return the object; what is not an object on the way is replaced by one."""
        value: Any = None
        if self.merges:
            try:
                value = lookup(self.text)
            except KeyError:
                value = None
        for path, each in self.parts:
            value = _with(value, path, each.evaluate(lookup, now))
        return value

    def check(self) -> None:
        """Do nothing: each part was checked when it was read."""


def _with(whole: Any, path: tuple[str, ...], value: Any) -> Any:
    """Return a copy of an object in which a value lies at a path."""
    if not path:
        return value
    known = whole if isinstance(whole, dict) else {}
    return {**known, path[0]: _with(known.get(path[0]), path[1:], value)}


def group(mappings: Iterable[tuple[str, Expression]], merges: bool) -> list[tuple[str, Expression]]:
    """Let mappings into one variable make its value together, at the place of the first of them.

    Args:
        mappings: By target.
        merges: Whether the variable's own value is kept, as outputs do.
    """
    by_root: dict[str, list[tuple[tuple[str, ...], Expression]]] = {}
    for target, value in mappings:
        root, *path = target.split(".")
        by_root.setdefault(root, []).append((tuple(path), value))
    return [
        (root, Nested(root, "nested", parts[0][1].line, tuple(parts), merges))
        if any(path for path, _ in parts)
        else (root, parts[-1][1])
        for root, parts in by_root.items()
    ]
