"""The audit log: who did what, when and from where."""

from __future__ import annotations

from typing import Any

from mlkit.bpmn.journal.notices import Audited
from mlkit.storage.database import Database

TABLES = """
CREATE TABLE audit (
  number {id}, at DOUBLE PRECISION NOT NULL, who TEXT NOT NULL, source TEXT NOT NULL,
  action TEXT NOT NULL, instance TEXT NOT NULL, subject TEXT NOT NULL
);
CREATE INDEX audit_by_instance ON audit (instance, number)
"""
_ENTRY = {
    "at": "DOUBLE PRECISION", "who": "TEXT", "source": "TEXT", "action": "TEXT",
    "instance": "TEXT", "subject": "TEXT",
}  # fmt: skip
_COLUMNS = ", ".join(_ENTRY)
_ADD = f"INSERT INTO audit ({_COLUMNS}) SELECT {_COLUMNS} FROM {{rows}}"


class SqlAudit:
    """The audit log of a journal; rows are added inside a transaction, and never changed.

    Args:
        database: The journal's.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, entry: Audited) -> None:
        """Add an entry."""
        self.database.defer_row(_ADD, _ENTRY, entry)

    def entries(
        self, instance: str | None, before: int | None, limit: int
    ) -> list[tuple[int, Audited]]:
        """Return entries with their numbers, newest first, below a number."""
        where: list[str] = []
        values: list[Any] = []
        for condition, value in (("instance = ?", instance), ("number < ?", before)):
            if value is not None:
                where.append(condition)
                values.append(value)
        condition = f" WHERE {' AND '.join(where)}" if where else ""
        rows = self.database.query(
            f"SELECT number, {_COLUMNS} FROM audit{condition} ORDER BY number DESC LIMIT ?",
            (*values, limit),
        )
        return [(int(row[0]), Audited(*row[1:])) for row in rows]
