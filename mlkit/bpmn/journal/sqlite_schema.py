"""The tables of a journal, and how its file is opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlkit.errors import ConfigurationError, InputMissing, ServiceUnavailable

FILE_NAME = "journal.sqlite"

_TABLES = """
CREATE TABLE definitions (
  sha256 TEXT PRIMARY KEY, file TEXT NOT NULL, content BLOB NOT NULL, resources BLOB NOT NULL
);
CREATE TABLE instances (
  number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, process TEXT NOT NULL,
  definition TEXT NOT NULL, options BLOB NOT NULL, key TEXT NOT NULL, phase TEXT NOT NULL,
  epoch INTEGER NOT NULL DEFAULT 0, sequence INTEGER NOT NULL DEFAULT 0,
  created REAL NOT NULL, updated REAL NOT NULL
);
CREATE TABLE events (
  instance INTEGER NOT NULL, sequence INTEGER NOT NULL, at REAL NOT NULL,
  event BLOB NOT NULL, trace BLOB NOT NULL, log BLOB, PRIMARY KEY (instance, sequence)
) WITHOUT ROWID;
CREATE TABLE snapshots (
  instance INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, state BLOB NOT NULL
);
CREATE TABLE inbox (id INTEGER PRIMARY KEY, instance INTEGER NOT NULL, event BLOB NOT NULL);
CREATE TABLE messages (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, key TEXT NOT NULL, variables BLOB NOT NULL,
  expires REAL NOT NULL
);
CREATE TABLE subscriptions (
  instance INTEGER NOT NULL, activation INTEGER NOT NULL, kind TEXT NOT NULL,
  name TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (instance, activation)
) WITHOUT ROWID;
CREATE INDEX subscriptions_by_name ON subscriptions (kind, name, key);
"""
_STORES = """
CREATE TABLE stores (
  name TEXT PRIMARY KEY, value BLOB NOT NULL, instance INTEGER NOT NULL, updated REAL NOT NULL
) WITHOUT ROWID
"""
# Snapshots of an older form: the events give the same states.
_STATES = "DELETE FROM snapshots"
# What each version has more than the one before it.
_VERSIONS = (_TABLES, _STORES, _STATES)
VERSION = len(_VERSIONS)


def connect(folder: Path, create: bool) -> sqlite3.Connection:
    """Open the journal of a state folder.

    Args:
        folder: The state folder.
        create: Whether to make what is missing.

    Raises:
        InputMissing: There is no journal, and none is to be made.
        ConfigurationError: It is no journal, or one of a newer mlkit.
        ServiceUnavailable: It cannot be read or written.
    """
    path = folder / FILE_NAME
    if not create and not path.exists():
        raise InputMissing(f"{path}: there is no journal", hint="--state names the state folder")
    with failures(path):
        folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, isolation_level=None, timeout=30.0)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    with transaction(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise ConfigurationError(
                f"{path}: journal version {version}, this mlkit reads up to {VERSION}",
                hint="use the mlkit that wrote it, or a newer one",
            )
        for tables in _VERSIONS[version:]:
            for statement in tables.split(";"):
                connection.execute(statement)
        if version < VERSION:
            connection.execute(f"PRAGMA user_version = {VERSION}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Do all of a block or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def failures(path: Path) -> Iterator[None]:
    """Turn the failures of SQLite and of the disk into errors that name the journal."""
    try:
        yield
    except sqlite3.OperationalError as error:
        hint = "free some disk space; nothing that was journalled is lost"
        raise ServiceUnavailable(f"{path}: {error}", hint=hint) from error
    except sqlite3.DatabaseError as error:
        raise ConfigurationError(f"{path}: {error}", hint="is it a journal of mlkit?") from error
    except OSError as error:
        raise ServiceUnavailable(f"{path}: {error.strerror}") from error
