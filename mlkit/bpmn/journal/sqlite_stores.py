"""Data stores: values that outlive the instances of a state folder, by the store's name."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

_ENCODER = msgspec.json.Encoder()


class Stored(NamedTuple):
    """What a data store holds.

    Attributes:
        instance: The id of the instance that set it last; None where that is not known.
        updated: When, in seconds since 1970.
    """

    name: str
    value: Any
    instance: str | None
    updated: float


class Stores:
    """The data stores of a journal.

    Args:
        connection: The journal's; None keeps the values in memory.
    """

    def __init__(self, connection: sqlite3.Connection | None = None) -> None:
        self.connection = connection
        self.memory: dict[str, Any] = {}

    def set(self, name: str, value: Any, instance: int = 0, at: float = 0.0) -> None:
        """Set a data store, inside a transaction of the caller."""
        if self.connection is None:
            self.memory[name] = value
            return
        self.connection.execute(
            "INSERT OR REPLACE INTO stores VALUES (?, ?, ?, ?)",
            (name, _ENCODER.encode(value), instance, at),
        )

    def get(self, names: Iterable[str]) -> dict[str, Any]:
        """Give the values of data stores; null for those that nobody has set."""
        if self.connection is None:
            return {name: self.memory.get(name) for name in names}
        found: dict[str, Any] = dict.fromkeys(names)
        marks = ", ".join("?" * len(found))
        query = f"SELECT name, value FROM stores WHERE name IN ({marks})"
        for name, value in self.connection.execute(query, tuple(found)):
            found[name] = msgspec.json.decode(value)
        return found

    def all(self) -> list[Stored]:
        """Give everything that a journal's data stores hold, by name."""
        assert self.connection is not None
        rows = self.connection.execute(
            "SELECT name, value, instances.id, stores.updated FROM stores"
            " LEFT JOIN instances ON number = instance ORDER BY name"
        )
        return [Stored(row[0], msgspec.json.decode(row[1]), row[2], row[3]) for row in rows]
