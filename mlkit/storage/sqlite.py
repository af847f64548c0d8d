"""SQLite files: private to their owner, migrated by numbers, opened without waiting for a writer.

A connection is in WAL mode: who reads never waits for who writes. A file in a folder that this
process may not write is opened for reading only.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from mlkit.errors import ConfigurationError, InputMissing, MlkitError, ServiceUnavailable
from mlkit.files import make_folder
from mlkit.scratch import Scratch
from mlkit.storage.database import Columns, Migrations, Result
from mlkit.storage.sqlite_file import FailureKind, kind_of, transaction

BUSY_TIMEOUT = 30.0
"""Seconds to wait for another process that writes."""
POLL_INTERVAL = 0.02
"""Seconds between two looks at whether another process has written."""
_BY_COMPONENT = 100
# The number of a file that counts versions by component; else it is that of its first component.

_TYPES = {
    "id": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "blob": "BLOB",
    "clustered": "WITHOUT ROWID",
    "postgresql": "-- ",
}
_HINTS = {
    FailureKind.BUSY: "another process writes to it; `fuser` shows which, try again after it",
    FailureKind.FULL: "free some disk space; nothing that was committed is lost",
    FailureKind.BROKEN_DISK: "is the disk full or failing? Nothing that was committed is lost",
    FailureKind.READ_ONLY: "this user may read it, not write it; see the folder's permissions",
    FailureKind.FORBIDDEN: "see the permissions of the file and of its folder",
}
_ROWS = 50
"""How many rows a statement takes at most."""
_STATEMENTS = 500
"""How many statements a connection keeps: one on rows has a text for each number of them."""
# For each value of these types, sqlite3 looks for an adapter: one that does nothing is found in a
# fraction of the time in which it finds out that there is none.
sqlite3.register_adapter(bytes, bytes)
sqlite3.register_adapter(type(None), lambda value: value)


class SqliteDatabase:
    """A connection to a SQLite file.

    Args:
        path: The file.
        kind: What the file is, for messages, such as "journal".
        create: Whether to make the file, and its folder, where they are missing.

    Raises:
        InputMissing: The file is missing, and none is to be made.
        ConfigurationError: It is no such file, or damaged.
        ServiceUnavailable: It cannot be read, written or locked.
    """

    clock = "((julianday('now') - 2440587.5) * 86400.0)"
    for_share = for_update = ""  # Whoever writes is alone.
    next_number = ""
    matches = "{} LIKE ? ESCAPE '!'"  # As `lower` of SQLite, it knows the cases of ASCII.

    def __init__(self, path: Path, kind: str, create: bool = False) -> None:
        self.path = path
        self.place = str(path)
        self.kind = kind
        self.types: Mapping[str, str] = _TYPES
        self._copy: Scratch | None = None
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
                self._set_up()
            except BaseException:
                self.close()
                raise
        self._seen = self._changes()
        self._look_again = 0.0

    def _connect(self) -> sqlite3.Connection:
        if self.writable:
            return _open(self.path, "mode=rw")
        log = self.path.with_name(self.path.name + "-wal")
        if not log.exists():
            # Nobody can be writing where there is no write-ahead log, and none could be made.
            return _open(self.path, "immutable=1")
        connection = _open(self.path, "mode=ro")
        try:
            connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error as error:
            connection.close()
            if kind_of(error) not in (FailureKind.READ_ONLY, FailureKind.FORBIDDEN):
                raise
            return self._open_copy(log)
        return connection

    def _open_copy(self, log: Path) -> sqlite3.Connection:
        """Open a copy of what a process that died has left, where its log cannot be indexed.

        Nobody writes it meanwhile: the index would be there.
        """
        self._copy = copy = Scratch("mlkit-journal-")
        try:
            for each in (self.path, log):
                shutil.copyfile(each, copy.path / each.name)
            return _open(copy.path / self.path.name, "mode=rw")
        except BaseException:
            copy.close()
            raise

    def _set_up(self) -> None:
        if self.writable:
            (mode,) = self.connection.execute("PRAGMA journal_mode").fetchone()
            if mode != "wal":
                self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = FULL")

    # -- versions --------------------------------------------------------------------------

    def versions(self, components: Migrations) -> dict[str, int]:
        """Return how many migrations each component has had."""
        ((version,),) = self.query("PRAGMA user_version")
        if version != _BY_COMPONENT:
            return {next(iter(components)): version}
        return dict(self.query("SELECT component, version FROM schema_versions"))

    def record(self, component: str, version: int) -> None:
        """Note, inside a transaction, how many migrations a component has had."""
        self.execute(
            "CREATE TABLE IF NOT EXISTS schema_versions"
            " (component TEXT PRIMARY KEY, version BIGINT NOT NULL) WITHOUT ROWID"
        )
        self.execute(
            "INSERT INTO schema_versions VALUES (?, ?)"
            " ON CONFLICT (component) DO UPDATE SET version = excluded.version",
            (component, version),
        )
        # Older programs refuse a file whose number they do not know.
        self.execute(f"PRAGMA user_version = {_BY_COMPONENT}")

    def close(self) -> None:
        """Close the file."""
        self.connection.close()
        if self._copy is not None:
            self._copy.close()

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Execute a statement; return how many rows it changed."""
        if self.connection.in_transaction:  # Its block names the file.
            return self.connection.execute(statement, values).rowcount
        with self.failures():
            return self.connection.execute(statement, values).rowcount

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute a statement for each row of values."""
        if self.connection.in_transaction:
            self.connection.executemany(statement, rows)
            return
        with self.failures():
            self.connection.executemany(statement, rows)

    def defer(
        self, statement: str, values: Sequence[Any] = (), check: Callable[[int], None] | None = None
    ) -> None:
        """Execute a statement at once: nothing travels."""
        changed = self.execute(statement, values)
        if check is not None:
            check(changed)

    def defer_rows(self, statement: str, columns: Columns, rows: Sequence[Sequence[Any]]) -> None:
        """Execute a statement at once on rows of values: each call lets go of the interpreter."""
        names = tuple(columns)
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            self.execute(_on_rows(statement, names, len(part)), list(itertools.chain(*part)))

    def defer_row(self, statement: str, columns: Columns, row: Sequence[Any]) -> None:
        """Execute a statement at once on a row of values."""
        self.defer_rows(statement, columns, [row])

    def defer_updates(
        self,
        table: str,
        keys: Columns,
        columns: Columns,
        rows: Sequence[Sequence[Any]],
        missed: Callable[[set[Any]], None],
    ) -> None:
        """Set columns of rows at once, by a statement a row: one on all takes as long."""
        statement = _update(table, tuple(keys), tuple(columns))
        lost = {row[0] for row in rows if not self.execute(statement, row)}
        if lost:
            missed(lost)

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return all rows that a statement finds or returns."""
        if self.connection.in_transaction:
            return self.connection.execute(statement, values).fetchall()
        with self.failures():
            return self.connection.execute(statement, values).fetchall()

    def query_together(self, queries: Sequence[tuple[str, Sequence[Any]]]) -> list[list[Any]]:
        """Return the rows of several statements: nothing travels."""
        return [self.query(statement, values) for statement, values in queries]

    @staticmethod
    def among(values: Collection[Any], kind: str = "BIGINT") -> tuple[str, tuple[Any, ...]]:
        """Return a list of values of a type as the right side of `IN`, and its values."""
        return f"({', '.join('?' * len(values))})", tuple(values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all of a block durable at once, or nothing of it."""
        if not os.access(self.place, os.F_OK):
            raise ServiceUnavailable(
                f"{self.path}: the {self.kind} was deleted while it was in use"
            )
        with self.failures():
            if not self.writable:
                raise ConfigurationError(
                    f"{self.path}: read-only", hint=_HINTS[FailureKind.READ_ONLY]
                )
            with transaction(self.connection):
                yield

    def atomically(self, work: Callable[[], Result]) -> Result:
        """Do a work in a transaction."""
        with self.transaction():
            return work()

    @contextmanager
    def relaxed(self) -> Iterator[None]:
        """Leave the write-ahead log to be synced by the next transaction outside of the block."""
        self.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            self.execute("PRAGMA synchronous = FULL")

    def lock(self, names: Iterable[str]) -> None:
        """Do nothing: a transaction here is alone."""

    def announce(self) -> None:
        """Do nothing: who waits looks at the file."""

    def wait(self, timeout: float) -> bool:
        """Wait, at most `timeout` seconds, until another connection has written something."""
        now = time.monotonic()
        deadline = now + timeout
        if deadline < self._look_again:
            return False
        while (changes := self._changes()) == self._seen:
            now = time.monotonic()
            self._look_again = now + POLL_INTERVAL
            if deadline <= now:
                return False
            time.sleep(min(deadline - now, POLL_INTERVAL))
        self._seen = changes
        return True

    def bell(self) -> int | None:
        """Return None: who waits for a file looks at it."""
        return None

    def _changes(self) -> int:
        """Return a number that is another one after each commit of another connection."""
        ((number,),) = self.query("PRAGMA data_version")
        return int(number)

    def tables(self) -> dict[str, tuple[str, ...]]:
        """Return the tables with their columns, in order."""
        found: dict[str, tuple[str, ...]] = {}
        for table, column in self.query(
            "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c"
            " WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite!_%' ESCAPE '!'"
            " ORDER BY t.name, c.cid"
        ):
            found[table] = (*found.get(table, ()), column)
        return found

    def freeze(self, tables: Iterable[str]) -> None:
        """Do nothing: a transaction here is alone."""

    def restart_counters(self, tables: Iterable[str]) -> None:
        """Do nothing: SQLite has counted the numbers that it was given."""

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
        hint = _HINTS.get(kind_of(error))
        if hint is None:
            hint = f"is it a {self.kind} of mlkit? If it is damaged, restore a copy of it"
            return ConfigurationError(f"{self.path}: {error}", hint=hint)
        return ServiceUnavailable(f"{self.path}: {error}", hint=hint)


@lru_cache(maxsize=1024)
def _update(table: str, keys: tuple[str, ...], columns: tuple[str, ...]) -> str:
    """Return the statement that sets columns of a row, which is found by others."""
    found = " AND ".join(f"{name} = ?{at}" for at, name in enumerate(keys, 1))
    to = ", ".join(f"{name} = ?{at}" for at, name in enumerate(columns, len(keys) + 1))
    return f"UPDATE {table} SET {to} WHERE {found}"


@lru_cache(maxsize=1024)
def _on_rows(statement: str, names: tuple[str, ...], count: int) -> str:
    """Return a statement on a number of rows with columns of these names."""
    columns = ", ".join(f"column{place} AS {name}" for place, name in enumerate(names, 1))
    rows = ", ".join([f"({', '.join('?' * len(names))})"] * count)
    return statement.replace("{rows}", f"(SELECT {columns} FROM (VALUES {rows})) AS given")


def _open(path: Path, how: str) -> sqlite3.Connection:
    name = f"{path.absolute().as_uri()}?{how}"
    connection = sqlite3.connect(
        name, isolation_level=None, timeout=BUSY_TIMEOUT, uri=True, cached_statements=_STATEMENTS
    )
    # A damaged text is found by who reads it, not by whoever lists all rows.
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    return connection


def _make_private(path: Path) -> None:
    """Make a file that only its owner may read, in a folder that only its owner may enter."""
    try:
        make_folder(path.parent, 0o700)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigurationError(f"{path.parent}: not a folder", hint="name another one") from error
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
