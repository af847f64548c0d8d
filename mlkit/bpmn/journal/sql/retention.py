"""Ended instances that are old go, with all that is kept of them, a few in each transaction."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlkit.bpmn.journal.records import ENDED
from mlkit.bpmn.journal.sql.criteria import HAVE_ENDED
from mlkit.storage.database import Database

_ENDED = f"phase IN ({', '.join(map(repr, ENDED))})"
_INDEX = f"CREATE INDEX instances_by_end ON instances (updated, number) WHERE {_ENDED}"
# While an instance runs, no commit changes a column that has an index, and half of each page is
# left for the rows as they are next: PostgreSQL then writes a row, and no entry of an index.
_ENDS = f"""
ALTER TABLE instances ADD COLUMN ended DOUBLE PRECISION;
UPDATE instances SET ended = updated WHERE {_ENDED};
DROP INDEX instances_ended;
DROP INDEX instances_by_end;
CREATE INDEX instances_by_end ON instances (ended, number) WHERE {HAVE_ENDED};
{{postgresql}} ALTER TABLE instances SET (fillfactor = 50)
"""
VERSIONS = (_INDEX, _ENDS)
_OF_INSTANCES = (
    "events", "snapshots", "inbox", "subscriptions", "external_tasks", "open_tasks", "incidents",
    "retries", "running_attempts", "instance_variables", "notices", "mails", "starts",
)  # fmt: skip
_HOLDING = (
    ("inbox", "event"), ("messages", "variables"), ("stores", "value"), ("begun", "variables"),
    ("mails", "content"),
)  # fmt: skip
# Beside the events, what may name stored values.
_RANGE = 200
_HASH = re.compile(rb"[0-9a-f]{64}")


class SqlRetention:
    """What goes from a journal; every method that writes runs inside a transaction of the caller.

    Args:
        database: The journal's.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def count(self, before: float) -> int:
        """Return how many instances have ended before a time."""
        query = f"SELECT count(*) FROM instances WHERE {_ENDED} AND ended < ?"
        return int(self.database.query(query, (before,))[0][0])

    def remove(self, before: float, limit: int) -> list[str]:
        """Remove the instances that ended first, before a time; return the ids of those removed."""
        self.database.lock(["retention"])
        found = self.database.query(
            f"SELECT number, id FROM instances WHERE {_ENDED} AND ended < ?"
            " ORDER BY ended, number LIMIT ?",
            (before, limit),
        )
        numbers = [number for number, _ in found]
        if numbers:
            among, values = self.database.among(numbers)
            # A schedule may name its last instance.
            self.database.defer(
                "UPDATE schedules SET instance = 0, revision = revision + 1"
                f" WHERE instance IN {among}",
                values,
            )
            for table in _OF_INSTANCES:
                self.database.defer(f"DELETE FROM {table} WHERE instance IN {among}", values)
            self.database.defer(f"DELETE FROM instances WHERE number IN {among}", values)
        return [identifier for _, identifier in found]

    def remove_messages(self, now: float) -> int:
        """Remove messages that nobody has taken in their time; return how many."""
        return self.database.execute("DELETE FROM messages WHERE expires < ?", (now,))

    def remove_definitions(self) -> int:
        """Remove definitions that no instance has and that are not deployed; return how many."""
        self.database.freeze(["definitions"])  # Who begins an instance just now is waited for.
        return self.database.execute(
            "DELETE FROM definitions WHERE sha256 NOT IN (SELECT definition FROM instances)"
            " AND sha256 NOT IN (SELECT definition FROM deployments)"
        )

    def hashes(self) -> Iterator[str]:
        """Yield the hashes in all that is kept: of stored values, and of what they were made from.

        Some may be hashes of something else, and some come more than once.
        """
        # First what is handed on: from there it only goes into events.
        for table, column in _HOLDING:
            yield from _hashes(self.database.query(f"SELECT {column} FROM {table}"))
        ((first, last),) = self.database.query("SELECT min(number), max(number) FROM instances")
        for start in range(first or 0, (last or -1) + 1, _RANGE):
            query = "SELECT event FROM events WHERE instance >= ? AND instance < ?"
            yield from _hashes(self.database.query(query, (start, start + _RANGE)))


def _hashes(rows: list[tuple[bytes]]) -> Iterator[str]:
    for (content,) in rows:
        if isinstance(content, bytes):
            for each in _HASH.findall(content):
                yield each.decode()
