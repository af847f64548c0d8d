"""SQLite files: private to their owner, migrated by numbers, opened without waiting for a writer.

A connection is in WAL mode: who reads never waits for who writes. A file in a folder that this
process may not write is opened for reading only.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlkit.errors import ConfigurationError, InputMissing, MlkitError, ServiceUnavailable

BUSY_TIMEOUT = 30.0
"""Seconds to wait for another process that writes."""

_HINTS = {
    sqlite3.SQLITE_BUSY: "another process writes to it; `fuser` shows which, try again after it",
    sqlite3.SQLITE_LOCKED: "another process writes to it; try again after it",
    sqlite3.SQLITE_FULL: "free some disk space; nothing that was committed is lost",
    sqlite3.SQLITE_IOERR: "is the disk full or failing? Nothing that was committed is lost",
    sqlite3.SQLITE_READONLY: "this user may read it, not write it; see the folder's permissions",
    sqlite3.SQLITE_CANTOPEN: "see the permissions of the file and of its folder",
    sqlite3.SQLITE_PERM: "see the permissions of the file and of its folder",
}


class Database:
    """A SQLite file with numbered migrations.

    Args:
        path: The file.
        migrations: The statements of each version, separated by `;`; a file of version n has had
            the first n of them.
        kind: What the file is, for messages, such as "journal".
        create: Whether to make the file, and its folder, where they are missing.

    Raises:
        InputMissing: The file is missing, and none is to be made.
        ConfigurationError: It is no such file, damaged, or one of a newer program.
        ServiceUnavailable: It cannot be read, written or locked.
    """

    def __init__(
        self, path: Path, migrations: Sequence[str], kind: str, create: bool = False
    ) -> None:
        self.path = path
        self.kind = kind
        with self.failures():
            if create:
                _make_private(path)
            elif not path.exists():
                raise InputMissing(
                    f"{path}: there is no {kind}", hint="--state names the state folder"
                )
            self.writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
            self.connection = self._connect()
            try:
                self._migrate(migrations)
            except BaseException:
                self.connection.close()
                raise

    def _connect(self) -> sqlite3.Connection:
        name = f"{self.path.absolute().as_uri()}?mode=rw"
        if not self.writable:
            # Nobody can be writing where there is no write-ahead log, and none could be made.
            quiet = not self.path.with_name(self.path.name + "-wal").exists()
            name = f"{self.path.absolute().as_uri()}?{'immutable=1' if quiet else 'mode=ro'}"
        connection = sqlite3.connect(name, isolation_level=None, timeout=BUSY_TIMEOUT, uri=True)
        # A damaged text is found by who reads it, not by whoever lists all rows.
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        return connection

    def _migrate(self, migrations: Sequence[str]) -> None:
        version = self._version(len(migrations))
        if self.writable:
            (mode,) = self.connection.execute("PRAGMA journal_mode").fetchone()
            if mode != "wal":
                self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = FULL")
        if version == len(migrations):
            return
        with self.transaction():
            for tables in migrations[self._version(len(migrations)) :]:
                for statement in tables.split(";"):
                    self.connection.execute(statement)
            self.connection.execute(f"PRAGMA user_version = {len(migrations)}")

    def _version(self, newest: int) -> int:
        (version,) = self.connection.execute("PRAGMA user_version").fetchone()
        if version > newest:
            raise ConfigurationError(
                f"{self.path}: {self.kind} version {version}, this mlkit reads up to {newest}",
                hint="use the mlkit that wrote it, or a newer one",
            )
        return int(version)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Execute a statement; what fails names the file."""
        if self.connection.in_transaction:  # Its block names the file.
            return self.connection.execute(statement, values)
        with self.failures():
            return self.connection.execute(statement, values)

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return all rows that a statement finds."""
        with self.failures():
            return self.connection.execute(statement, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all of a block durable at once, or nothing of it."""
        if not self.path.exists():
            raise ServiceUnavailable(
                f"{self.path}: the {self.kind} was deleted while it was in use"
            )
        with self.failures():
            if not self.writable:
                raise ConfigurationError(
                    f"{self.path}: read-only", hint=_HINTS[sqlite3.SQLITE_READONLY]
                )
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def damage(self) -> list[str]:
        """Return what SQLite's own check finds wrong with the file."""
        found = [str(row[0]) for row in self.query("PRAGMA integrity_check")]
        return [] if found == ["ok"] else found

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Turn the failures of SQLite and of the disk into errors that name the file."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._failure(error) from error
        except OSError as error:
            raise ServiceUnavailable(f"{self.path}: {error.strerror}") from error

    def _failure(self, error: sqlite3.Error) -> MlkitError:
        hint = _HINTS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        if hint is None:
            hint = f"is it a {self.kind} of mlkit? If it is damaged, restore a copy of it"
            return ConfigurationError(f"{self.path}: {error}", hint=hint)
        return ServiceUnavailable(f"{self.path}: {error}", hint=hint)


def _make_private(path: Path) -> None:
    """Make a file that only its owner may read, in a folder that only its owner may enter."""
    if not path.parent.exists():
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
