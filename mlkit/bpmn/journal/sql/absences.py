"""Who stands in for whom, and who wants one mail a day: what people choose for themselves.

Nothing is ever deleted: who was substitute when, and who entered it, can be seen later.
Every method that writes runs inside a transaction of the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlkit.bpmn.journal.notices import Absence
from mlkit.storage.database import Database

PEOPLE_VERSIONS = (
    """
CREATE TABLE absences (
  id {id}, person TEXT NOT NULL, substitute TEXT NOT NULL, begins DOUBLE PRECISION NOT NULL,
  ends DOUBLE PRECISION NOT NULL, by_whom TEXT NOT NULL, at DOUBLE PRECISION NOT NULL,
  revoked DOUBLE PRECISION, revoked_by TEXT NOT NULL DEFAULT ''
);
CREATE TABLE digests (
  person TEXT PRIMARY KEY, daily BIGINT NOT NULL, by_whom TEXT NOT NULL,
  at DOUBLE PRECISION NOT NULL
)
""",
)
_COLUMNS = "id, person, substitute, begins, ends, by_whom, at, revoked, revoked_by"


class SqlAbsences:
    """The tables of a journal that hold what people choose.

    Args:
        database: The journal's.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(
        self, person: str, substitute: str, begins: float, ends: float, by: str, at: float
    ) -> Absence:
        """Name a substitute for a time."""
        statement = (
            "INSERT INTO absences (person, substitute, begins, ends, by_whom, at)"
            f" VALUES (?, ?, ?, ?, ?, ?) RETURNING {_COLUMNS}"
        )
        values = (person, substitute, begins, ends, by, at)
        (row,) = self.database.query(statement, values)
        return Absence(*row)

    def revoke(self, number: int, by: str, at: float) -> bool:
        """End an absence before its time; return whether it was still to end."""
        statement = (
            "UPDATE absences SET revoked = ?, revoked_by = ?"
            " WHERE id = ? AND revoked IS NULL AND ends > ?"
        )
        values = (at, by, number, at)
        return bool(self.database.execute(statement, values))

    def all(self) -> list[Absence]:
        """Return all absences, those of the past too, oldest first."""
        rows = self.database.query(f"SELECT {_COLUMNS} FROM absences ORDER BY id")
        return [Absence(*row) for row in rows if _are_texts(row[1:3])]

    def now(self, at: float) -> dict[str, str]:
        """Return who stands in for whom at a time; of several, the one named last."""
        rows = self.database.query(
            "SELECT person, substitute FROM absences"
            " WHERE begins <= ? AND ends > ? AND revoked IS NULL ORDER BY id",
            (at, at),
        )
        return dict(row for row in rows if _are_texts(row))

    def choose_digest(self, person: str, daily: bool, by: str, at: float) -> None:
        """Let a person have one mail a day, or one for each task."""
        statement = (
            "INSERT INTO digests (person, daily, by_whom, at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (person) DO UPDATE SET daily = excluded.daily,"
            " by_whom = excluded.by_whom, at = excluded.at"
        )
        self.database.execute(statement, (person, int(daily), by, at))

    def digests(self) -> dict[str, bool]:
        """Return what people chose: whether they want one mail a day."""
        rows = self.database.query("SELECT person, daily FROM digests")
        return {person: bool(daily) for person, daily in rows if _are_texts([person])}

    def damage(self) -> list[str]:
        """Return the absences and choices that cannot be read, and count for nothing."""
        place = self.database.place
        rows = self.database.query("SELECT id, person, substitute FROM absences ORDER BY id")
        chosen = self.database.query("SELECT person FROM digests")
        damaged = [f"absence {number}" for number, *names in rows if not _are_texts(names)]
        damaged += ["a choice of mail" for each in chosen if not _are_texts(each)]
        return [f"{place}: {each} is damaged" for each in damaged]


def _are_texts(values: Sequence[Any]) -> bool:
    return all(isinstance(each, str) for each in values)
