"""The tables of a journal, by version."""

from __future__ import annotations

from mlkit.bpmn.journal.sql import (
    audit,
    deployments,
    index_tables,
    logouts,
    retention,
    running_attempts,
    schedules,
)
from mlkit.bpmn.journal.sql.absences import PEOPLE_VERSIONS
from mlkit.bpmn.journal.sql.outbox import OUTBOX_VERSIONS

FILE_NAME = "journal.sqlite"

_TABLES = """
CREATE TABLE definitions (
  sha256 TEXT PRIMARY KEY, file TEXT NOT NULL, content {blob} NOT NULL, resources {blob} NOT NULL
);
CREATE TABLE instances (
  number {id}, id TEXT UNIQUE NOT NULL, process TEXT NOT NULL,
  definition TEXT NOT NULL, options {blob} NOT NULL, key TEXT NOT NULL, phase TEXT NOT NULL,
  epoch BIGINT NOT NULL DEFAULT 0, sequence BIGINT NOT NULL DEFAULT 0,
  created DOUBLE PRECISION NOT NULL, updated DOUBLE PRECISION NOT NULL
);
CREATE TABLE events (
  instance BIGINT NOT NULL, sequence BIGINT NOT NULL, at DOUBLE PRECISION NOT NULL,
  event {blob} NOT NULL, trace {blob} NOT NULL, log {blob}, PRIMARY KEY (instance, sequence)
) {clustered};
CREATE TABLE snapshots (
  instance BIGINT PRIMARY KEY, sequence BIGINT NOT NULL, state {blob} NOT NULL
);
CREATE TABLE inbox (id {id}, instance BIGINT NOT NULL, event {blob} NOT NULL);
CREATE TABLE messages (
  id {id}, name TEXT NOT NULL, key TEXT NOT NULL, variables {blob} NOT NULL,
  expires DOUBLE PRECISION NOT NULL
);
CREATE TABLE subscriptions (
  instance BIGINT NOT NULL, activation BIGINT NOT NULL, kind TEXT NOT NULL,
  name TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (instance, activation)
) {clustered};
CREATE INDEX subscriptions_by_name ON subscriptions (kind, name, key)
"""
_STORES = """
CREATE TABLE stores (
  name TEXT PRIMARY KEY, value {blob} NOT NULL, instance BIGINT NOT NULL,
  updated DOUBLE PRECISION NOT NULL
) {clustered}
"""
# Snapshots of an older form go: the events give the same states. An inbox row's number is used
# once, so that a verdict is about one event.
_OWNERS = """
DELETE FROM snapshots;
ALTER TABLE instances ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE inbox RENAME TO old_inbox;
CREATE TABLE inbox (
  id {id}, instance BIGINT NOT NULL, event {blob} NOT NULL, asks BIGINT NOT NULL DEFAULT 0
);
INSERT INTO inbox (id, instance, event) SELECT id, instance, event FROM old_inbox;
DROP TABLE old_inbox;
CREATE INDEX inbox_by_instance ON inbox (instance);
CREATE TABLE verdicts (row BIGINT PRIMARY KEY, refusal TEXT NOT NULL)
"""
# When the timers of an older instance are due is in its events: whoever takes it up writes it.
_HOSTS = """
CREATE TABLE hosts (name TEXT PRIMARY KEY, expires DOUBLE PRECISION NOT NULL);
ALTER TABLE instances ADD COLUMN due DOUBLE PRECISION;
UPDATE instances SET due = 0 WHERE phase IN ('running', 'waiting', 'incident');
CREATE INDEX instances_by_due ON instances (due) WHERE due IS NOT NULL;
CREATE INDEX instances_running ON instances (number) WHERE phase = 'running'
"""
VERSIONS = (_TABLES, _STORES, _OWNERS, _HOSTS)
_EXTERNAL = """
CREATE TABLE external_tasks (
  number {id}, instance BIGINT NOT NULL, activation BIGINT NOT NULL, name TEXT NOT NULL,
  id TEXT UNIQUE NOT NULL, element TEXT NOT NULL, topic TEXT NOT NULL,
  priority BIGINT NOT NULL, retries BIGINT,
  created DOUBLE PRECISION NOT NULL, process TEXT NOT NULL, definition TEXT NOT NULL,
  key TEXT NOT NULL, worker TEXT, expires DOUBLE PRECISION, free DOUBLE PRECISION NOT NULL,
  error TEXT, details TEXT
);
CREATE UNIQUE INDEX external_tasks_by_activation ON external_tasks (instance, activation);
CREATE INDEX external_tasks_by_age ON external_tasks (topic, free, number);
CREATE INDEX external_tasks_by_priority ON external_tasks (topic, free, priority DESC, number);
CREATE INDEX external_tasks_by_key ON external_tasks (topic, free, key, number)
"""
_ARTIFACTS = (
    "CREATE TABLE artifact_store (one BIGINT PRIMARY KEY, journal TEXT NOT NULL, url TEXT NOT NULL)"
)
COMPONENTS = {
    "journal": VERSIONS,
    "external": (_EXTERNAL,),
    "outbox": OUTBOX_VERSIONS,
    "people": PEOPLE_VERSIONS,
    "deployments": (deployments.TABLES,),
    "index": index_tables.VERSIONS,
    "audit": (audit.TABLES,),
    "schedules": (schedules.TABLES,),
    "retention": retention.VERSIONS,
    "conditions": (schedules.CHANGES,),
    "artifacts": (_ARTIFACTS,),
    "logouts": (logouts.TABLES,),
    "running": (running_attempts.TABLES,),
}
"""What each version of each component has more than the one before it.

What else is kept beside the instances, in the same transactions, is a component of its own.
"""
