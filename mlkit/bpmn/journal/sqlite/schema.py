"""The tables of a journal in SQLite, by version."""

from __future__ import annotations

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
CREATE INDEX subscriptions_by_name ON subscriptions (kind, name, key)
"""
_STORES = """
CREATE TABLE stores (
  name TEXT PRIMARY KEY, value BLOB NOT NULL, instance INTEGER NOT NULL, updated REAL NOT NULL
) WITHOUT ROWID
"""
# Snapshots of an older form go: the events give the same states. An inbox row's number is used
# once, so that a verdict is about one event.
_OWNERS = """
DELETE FROM snapshots;
ALTER TABLE instances ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE inbox RENAME TO old_inbox;
CREATE TABLE inbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT, instance INTEGER NOT NULL, event BLOB NOT NULL,
  asks INTEGER NOT NULL DEFAULT 0
);
INSERT INTO inbox (id, instance, event) SELECT id, instance, event FROM old_inbox;
DROP TABLE old_inbox;
CREATE INDEX inbox_by_instance ON inbox (instance);
CREATE TABLE verdicts (row INTEGER PRIMARY KEY, refusal TEXT NOT NULL)
"""
VERSIONS = (_TABLES, _STORES, _OWNERS)
"""What each version has more than the one before it."""
