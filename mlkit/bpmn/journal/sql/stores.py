"""Data stores as rows of a journal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from mlkit.bpmn.journal.records import Stored, encode
from mlkit.errors import ConfigurationError
from mlkit.storage.database import Database


class SqlStores:
    """The data stores of a journal.

    Args:
        database: The journal's.
        on_set: Called with the name and the value of each store, before it is written.
    """

    def __init__(self, database: Database, on_set: Callable[[str, bytes], None]) -> None:
        self.database = database
        self.on_set = on_set

    def set(self, name: str, value: Any, instance: int = 0, at: float = 0.0) -> None:
        """Set a data store, inside a transaction of the caller."""
        body = encode(value)
        self.on_set(name, body)
        self.database.execute(
            "INSERT INTO stores (name, value, instance, updated) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value,"
            " instance = excluded.instance, updated = excluded.updated",
            (name, body, instance, at),
        )

    def get(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the values of data stores; null for those that nobody has set.

        Raises:
            ConfigurationError: A value is damaged.
        """
        found: dict[str, Any] = dict.fromkeys(names)
        if not found:
            return found
        marks = ", ".join("?" * len(found))
        query = f"SELECT name, value FROM stores WHERE name IN ({marks})"
        for name, value in self.database.query(query, tuple(found)):
            found[name] = self._decode(name, value)
        return found

    def all(self) -> list[Stored]:
        """Return everything that the data stores hold, by name.

        Raises:
            ConfigurationError: A value is damaged.
        """
        rows = self.database.query(
            "SELECT name, value, instances.id, stores.updated FROM stores"
            " LEFT JOIN instances ON number = instance"
        )
        rows.sort(key=lambda row: row[0])  # Databases differ in how they order text.
        return [Stored(row[0], self._decode(row[0], row[1]), row[2], row[3]) for row in rows]

    def damage(self) -> list[str]:
        """Return the data stores whose values cannot be read."""
        found = []
        for name, value in self.database.query("SELECT name, value FROM stores"):
            try:
                self._decode(name, value)
            except ConfigurationError as error:
                found.append(error.message)
        return sorted(found)

    def _decode(self, name: str, value: Any) -> Any:
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, TypeError, UnicodeDecodeError) as error:
            problem = f"{self.database.place}: data store {name!r} is damaged: {error}"
            raise ConfigurationError(problem, hint="a task that sets it repairs it") from error
