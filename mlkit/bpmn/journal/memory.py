"""Data stores of a run that keeps no journal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlkit.bpmn.journal.records import Stored


class MemoryStores:
    """Values by name, for as long as the process lives."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def set(self, name: str, value: Any, instance: int = 0, at: float = 0.0) -> None:
        """Set a data store."""
        self.values[name] = value

    def get(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the values of data stores; null for those that nobody has set."""
        return {name: self.values.get(name) for name in names}

    def all(self) -> list[Stored]:
        """Return everything that the data stores hold, by name."""
        return [Stored(name, value, None, 0.0) for name, value in sorted(self.values.items())]
