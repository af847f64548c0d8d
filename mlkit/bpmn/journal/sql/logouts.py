"""Sessions of browsers that were ended before they expired: every host of the journal reads them.

Every method that writes runs inside a transaction of the caller.
"""

from __future__ import annotations

from mlkit.storage.database import Database

TABLES = """
CREATE TABLE ended_sessions (
  number {id}, session TEXT UNIQUE NOT NULL, expires DOUBLE PRECISION NOT NULL
)
"""


class SqlLogouts:
    """The table of a journal that holds sessions which were ended.

    Args:
        database: The journal's.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, session: str, expires: float, now: float) -> None:
        """End a session; those that have expired meanwhile are forgotten."""
        self.database.execute("DELETE FROM ended_sessions WHERE expires <= ?", (now,))
        self.database.execute(
            "INSERT INTO ended_sessions (session, expires) VALUES (?, ?)"
            " ON CONFLICT (session) DO NOTHING",
            (session, expires),
        )

    def version(self) -> tuple[int, int]:
        """Return what is another one when a session was ended since."""
        query = "SELECT count(*), coalesce(max(number), 0) FROM ended_sessions"
        return tuple(self.database.query(query)[0])

    def all(self) -> dict[str, float]:
        """Return when each ended session expires, in seconds since 1970."""
        return dict(self.database.query("SELECT session, expires FROM ended_sessions"))
