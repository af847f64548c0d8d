"""Attempts that run for a while: where, since when, and the end of what they have printed so far.

Only an attempt of which a host has written lately is known. A row that a host which died has left
is that of no attempt that runs: whoever reads compares it with the state of the instance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from mlkit.bpmn.journal.records import Damaged, Moved, Row, RunningAttempt, encode
from mlkit.storage.database import Database

TABLES = """
CREATE TABLE running_attempts (
  instance BIGINT NOT NULL, activation BIGINT NOT NULL, attempt BIGINT NOT NULL,
  updated DOUBLE PRECISION NOT NULL, content {blob} NOT NULL, PRIMARY KEY (instance, activation)
) {clustered}
"""
_COLUMNS = {
    "instance": "BIGINT", "activation": "BIGINT", "attempt": "BIGINT",
    "updated": "DOUBLE PRECISION", "content": "{blob}",
}  # fmt: skip
_NAMES = ", ".join(_COLUMNS)
_DECODER = msgspec.json.Decoder(RunningAttempt)
_AT_ONCE = 500


class SqlRunningAttempts:
    """The table of a journal that has the attempts which run.

    Args:
        database: The journal's.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def write(self, found: Iterable[tuple[int, RunningAttempt]], at: float) -> None:
        """Write attempts of instances, by their numbers, inside a transaction."""
        self.database.defer_rows(
            f"INSERT INTO running_attempts ({_NAMES}) SELECT {_NAMES} FROM {{rows}} WHERE 1 = 1"
            " ON CONFLICT (instance, activation) DO UPDATE SET attempt = excluded.attempt,"
            " updated = excluded.updated, content = excluded.content"
            " WHERE running_attempts.attempt <= excluded.attempt",
            _COLUMNS,
            [
                (number, each.activation, each.attempt, at, encode(each))
                for number, each in sorted(found, key=lambda pair: (pair[0], pair[1].activation))
            ],
        )

    def remove(self, found: Iterable[tuple[int, int, int]]) -> None:
        """Remove attempts, by the numbers of instance, activation and attempt."""
        for each in sorted(found):
            self.database.defer(
                "DELETE FROM running_attempts"
                " WHERE instance = ? AND activation = ? AND attempt <= ?",
                each,
            )

    def of(self, row: Row) -> list[RunningAttempt]:
        """Return what is known of attempts of an instance, those that have ended too.

        Raises:
            Damaged: What is known cannot be read.
        """
        found = self.database.query(
            "SELECT content FROM running_attempts WHERE instance = ? ORDER BY activation",
            (row.number,),
        )
        try:
            return [_DECODER.decode(content) for (content,) in found]
        except (msgspec.DecodeError, TypeError, UnicodeDecodeError) as error:
            problem = f"an attempt that runs is damaged: {error}"
            raise Damaged(self.database.place, row.id, problem) from error

    def read_progress(self, instances: Sequence[str]) -> Iterator[Moved]:
        """Yield how far instances have come, by their ids, and when an attempt printed last."""
        for start in range(0, len(instances), _AT_ONCE):
            some = instances[start : start + _AT_ONCE]
            rows = self.database.query(
                "SELECT i.id, i.process, i.phase, i.sequence, i.updated,"
                " (SELECT max(r.updated) FROM running_attempts r WHERE r.instance = i.number)"
                f" FROM instances i WHERE i.id IN ({', '.join('?' * len(some))})",
                some,
            )
            yield from (Moved(*each) for each in rows)

    def moved_since(self, at: float, limit: int) -> list[Moved]:
        """Return those of all instances that have moved after a time, the last ones first."""
        rows = self.database.query(
            "SELECT id, process, phase, sequence, updated, NULL FROM instances WHERE updated > ?"
            " ORDER BY updated DESC LIMIT ?",
            (at, limit),
        )
        return [Moved(*each) for each in rows]
