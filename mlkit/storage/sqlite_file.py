"""One SQLite file: its connection, its transactions, and what its failures mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Any

import msgspec


class FailureKind(Enum):
    """What a failure of SQLite means to a user."""

    BUSY = auto()
    FULL = auto()
    BROKEN_DISK = auto()
    READ_ONLY = auto()
    FORBIDDEN = auto()
    OTHER = auto()
    """The file is damaged or something else, or the statement is wrong."""


_KINDS = {
    sqlite3.SQLITE_BUSY: FailureKind.BUSY,
    sqlite3.SQLITE_LOCKED: FailureKind.BUSY,
    sqlite3.SQLITE_FULL: FailureKind.FULL,
    sqlite3.SQLITE_IOERR: FailureKind.BROKEN_DISK,
    sqlite3.SQLITE_READONLY: FailureKind.READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: FailureKind.FORBIDDEN,
    sqlite3.SQLITE_PERM: FailureKind.FORBIDDEN,
}


def kind_of(error: sqlite3.Error) -> FailureKind:
    """Return what an error means, by its primary result code."""
    return _KINDS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, FailureKind.OTHER)


class SqliteFailure(Exception):
    """An operation of SQLite failed.

    Attributes:
        kind: What that means.
    """

    def __init__(self, error: sqlite3.Error) -> None:
        super().__init__(str(error))
        self.kind = kind_of(error)


class DamagedRow(SqliteFailure):
    """A row is missing, or does not hold what was written.

    Args:
        table: Where the row is.
        reason: What is wrong with it.
    """

    def __init__(self, table: str, reason: str) -> None:
        Exception.__init__(self, f"a row of the table {table} is damaged: {reason}")
        self.kind = FailureKind.OTHER


_OF_VALUES = (
    TypeError, ValueError, LookupError, ArithmeticError, AttributeError, msgspec.DecodeError,
)  # fmt: skip


@contextmanager
def reading(table: str) -> Iterator[None]:
    """Take it for damage of a table where a block cannot use its rows, which were once right.

    Raises:
        DamagedRow: It cannot.
    """
    try:
        yield
    except _OF_VALUES as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise DamagedRow(table, lines[0]) from error


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """Commit what the block does, or nothing of it."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class SqliteFile:
    """A connection that commits each statement, but in a `transaction`.

    Args:
        path: The file.
        mode: `ro`, `rw`, or `rwc`, which makes the file where it is missing.
        unchanging: Nobody else writes it, so that nothing has to be made beside it.

    All methods raise SqliteFailure.
    """

    def __init__(self, path: Path, mode: str, unchanging: bool = False) -> None:
        immutable = "&immutable=1" if unchanging else ""
        name = f"{path.absolute().as_uri()}?mode={mode}{immutable}"
        try:
            self._connection = sqlite3.connect(name, uri=True, isolation_level=None)
        except sqlite3.Error as error:
            raise SqliteFailure(error) from error

    def close(self) -> None:
        """Close the file; what was committed stays."""
        self._connection.close()

    @contextmanager
    def transaction(self, kind: str = "IMMEDIATE") -> Iterator[None]:
        """Commit what the block does, or nothing of it."""
        try:
            with transaction(self._connection, kind):
                yield
        except sqlite3.Error as error:
            raise SqliteFailure(error) from error

    def execute(self, statement: str, values: Sequence[Any] = ()) -> None:
        """Execute a statement."""
        try:
            self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise SqliteFailure(error) from error

    def execute_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute a statement for each row of values."""
        try:
            self._connection.executemany(statement, rows)
        except sqlite3.Error as error:
            raise SqliteFailure(error) from error

    def execute_script(self, statements: str) -> None:
        """Execute statements that are separated by `;`."""
        try:
            self._connection.executescript(statements)
        except sqlite3.Error as error:
            raise SqliteFailure(error) from error

    def first(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """Return the first row that a statement finds, or None."""
        try:
            return self._connection.execute(statement, values).fetchone()
        except sqlite3.Error as error:
            raise SqliteFailure(error) from error

    def rows(self, statement: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """Yield the rows that a statement finds, without holding all of them."""
        try:
            yield from self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise SqliteFailure(error) from error
