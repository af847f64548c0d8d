"""What a host of a fleet has accepted and not yet appended to the stream: on its own disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlkit.storage.sqlite_file import SqliteFile

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  message BLOB NOT NULL     -- see protocol.frame
);
"""


class Outbox:
    """Messages in the order of their arrival; `add` returns when they are on disk.

    Args:
        path: The file; it is made if it is not there.

    All methods raise SqliteFailure.
    """

    def __init__(self, path: Path) -> None:
        self._database = SqliteFile(path, "rwc")
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute_script(_SCHEMA)
        self.length: int = self._database.first("SELECT count(*) FROM outbox")[0]

    def add(self, messages: Sequence[bytes]) -> None:
        """Add messages."""
        with self._database.transaction():
            rows = [(each,) for each in messages]
            self._database.execute_many("INSERT INTO outbox (message) VALUES (?)", rows)
        self.length += len(messages)

    def first(self, most: int) -> tuple[int, list[bytes]]:
        """Return the oldest messages, of about `most` bytes, and the number of the last."""
        found: list[bytes] = []
        last = size = 0
        for number, message in self._database.rows(
            "SELECT number, message FROM outbox ORDER BY number LIMIT 10000"
        ):
            if found and size + len(message) > most:
                break
            found.append(message)
            last, size = number, size + len(message)
        return last, found

    def drop(self, last: int, count: int) -> None:
        """Forget the messages up to a number, of which there are `count`."""
        self._database.execute("DELETE FROM outbox WHERE number <= ?", [last])
        self.length -= count

    def close(self) -> None:
        """Close the file."""
        self._database.close()
