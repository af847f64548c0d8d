"""The tables that lists and searches read, by version."""

from __future__ import annotations

from mlkit.bpmn.journal.records import ENDED
from mlkit.bpmn.journal.sql.index_rows import LONGEST_ALIKE

TABLES = """
CREATE TABLE instance_variables (
  instance BIGINT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (instance, name)
) {clustered};
CREATE INDEX instance_variables_by_value ON instance_variables (name, value, instance);
CREATE TABLE open_tasks (
  instance BIGINT NOT NULL, activation BIGINT NOT NULL, element TEXT NOT NULL, name TEXT,
  assignee TEXT, users TEXT NOT NULL, teams TEXT NOT NULL, since DOUBLE PRECISION NOT NULL,
  due TEXT, priority TEXT, PRIMARY KEY (instance, activation)
) {clustered};
CREATE INDEX open_tasks_by_assignee ON open_tasks (assignee, instance, activation);
CREATE TABLE incidents (
  instance BIGINT NOT NULL, activation BIGINT NOT NULL, element TEXT NOT NULL,
  attempt BIGINT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (instance, activation)
) {clustered};
CREATE INDEX incidents_by_element ON incidents (element, instance);
CREATE INDEX instances_by_process ON instances (process, number);
CREATE INDEX instances_by_phase ON instances (phase, number);
CREATE INDEX instances_by_key ON instances (key, number);
CREATE INDEX instances_by_definition ON instances (definition, number)
"""
RETRIES = """
CREATE TABLE retries (
  instance BIGINT NOT NULL, activation BIGINT NOT NULL, element TEXT NOT NULL,
  attempt BIGINT NOT NULL, message TEXT NOT NULL, due DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (instance, activation)
) {clustered}
"""
_KEPT = (
    ("incidents", "attempt BIGINT NOT NULL, message TEXT NOT NULL", "attempt, message"),
    ("retries", "attempt BIGINT NOT NULL, message TEXT NOT NULL, due DOUBLE PRECISION NOT NULL",
     "attempt, message, due"),
)  # fmt: skip
_HAVE_ENDED = f"coalesce(phase, '') IN ({', '.join(map(repr, ENDED))})"
_COPY = "FROM {0} o JOIN instances i ON i.number = o.instance"
# A list is read without a look at the instances. What an instance of an older version shows
# (tokens, retries) is in its events: whoever takes it up writes it.
LISTS = (
    f"""
ALTER TABLE open_tasks RENAME TO old_open_tasks;
DROP INDEX open_tasks_by_assignee;
CREATE TABLE open_tasks (
  instance BIGINT NOT NULL, activation BIGINT NOT NULL, element TEXT NOT NULL, name TEXT,
  assignee TEXT, users TEXT NOT NULL, teams TEXT NOT NULL, since DOUBLE PRECISION NOT NULL,
  due TEXT, priority TEXT, alike TEXT NOT NULL, process TEXT NOT NULL, definition TEXT NOT NULL,
  PRIMARY KEY (instance, activation)
) {{clustered}};
INSERT INTO open_tasks SELECT o.instance, o.activation, o.element, o.name, o.assignee, o.users,
  o.teams, o.since, o.due, o.priority,
  CASE WHEN length(coalesce(o.assignee, '')) + length(o.users) + length(o.teams)
    <= {LONGEST_ALIKE - 2} THEN (CASE WHEN o.assignee IS NULL THEN '-' ELSE '=' || o.assignee END)
    || ' ' || o.users || o.teams ELSE o.instance || ' ' || o.activation END,
  i.process, i.definition {_COPY.format("old_open_tasks")};
DROP TABLE old_open_tasks;
CREATE INDEX open_tasks_alike ON open_tasks (process, alike, since, instance);
CREATE INDEX open_tasks_by_age ON open_tasks (since);
CREATE INDEX open_tasks_by_definition ON open_tasks (definition, process, element);
DROP INDEX incidents_by_element;
"""
    + "".join(
        f"""ALTER TABLE {table} RENAME TO old_{table};
CREATE TABLE {table} (
  instance BIGINT NOT NULL, activation BIGINT NOT NULL, element TEXT NOT NULL, {columns},
  process TEXT NOT NULL, definition TEXT NOT NULL, PRIMARY KEY (instance, activation)
) {{clustered}};
INSERT INTO {table} SELECT o.instance, o.activation, o.element,
  {", ".join(f"o.{each}" for each in names.split(", "))}, i.process, i.definition
  {_COPY.format(f"old_{table}")};
DROP TABLE old_{table};
CREATE INDEX {table}_by_process ON {table} (process, instance, activation);
CREATE INDEX {table}_by_definition ON {table} (definition, process, element);
"""
        for table, columns, names in _KEPT
    )
    + f"""CREATE TABLE tokens (
  instance BIGINT NOT NULL, element TEXT NOT NULL, kind TEXT NOT NULL, count BIGINT NOT NULL,
  process TEXT NOT NULL, definition TEXT NOT NULL, PRIMARY KEY (instance, element, kind)
) {{clustered}};
CREATE INDEX tokens_by_definition ON tokens (definition, process, element, kind, count);
CREATE INDEX external_tasks_by_definition ON external_tasks (definition, process, element);
CREATE INDEX instances_ended ON instances (updated) WHERE {_HAVE_ENDED};
UPDATE instances SET due = 0 WHERE phase IN ('running', 'waiting', 'incident')
"""
)
VERSIONS = (TABLES, RETRIES, LISTS)
