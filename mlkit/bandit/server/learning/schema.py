"""The tables of the journal, and which of its facts are what."""

from __future__ import annotations

from mlkit.bandit.server.learning import event_ids
from mlkit.bandit.server.learning.records import Change, Kind, SnapshotRow

FORMAT = 5
READABLE = (1, 2, 3, 4, FORMAT)

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
{ids}CREATE TABLE IF NOT EXISTS pending (
  decision BLOB PRIMARY KEY,  -- hash of the decision's id
  due REAL NOT NULL,          -- until when it waits for rewards: seconds since 1970
  details BLOB NOT NULL       -- msgpack: what its zeros are made of
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pending_due ON pending (due);
CREATE TABLE IF NOT EXISTS files (
  name TEXT PRIMARY KEY,      -- in the state directory
  content BLOB NOT NULL       -- a posteriors file of a fleet that not every host was given
);
CREATE TABLE IF NOT EXISTS journal (
  seq INTEGER PRIMARY KEY,  -- of several changes that of the last
  kind INTEGER NOT NULL,    -- see records.Kind
  context TEXT, arm TEXT NOT NULL,
  a REAL, b REAL, pulls REAL, -- of a reward: in `a`; in `b` how probably it was examined
  features BLOB,              -- JSON: of the context of a reward, or of an arm that is put;
                              -- msgpack: of several changes
  at REAL                     -- when it was earned or put: seconds since 1970
);
{snapshots}
"""
_SNAPSHOT = """
CREATE TABLE IF NOT EXISTS {table} (
  arm TEXT NOT NULL,
  context TEXT NOT NULL,    -- '': the arm's own posterior
  removed INTEGER NOT NULL DEFAULT 0,  -- the arm was removed since the posteriors file
  a REAL, b REAL, pulls REAL,          -- null: it is not there now
  state BLOB,                          -- of a model: the arm's; of the arm '': the shared one
  at REAL,                             -- of posteriors that age: when a and b weigh 1
  PRIMARY KEY (arm, context)
) WITHOUT ROWID;
"""
STABLE, CANDIDATE = "snapshot", "candidate_snapshot"
"""The snapshots of the two versions of a model."""
_SNAPSHOTS = "".join(_SNAPSHOT.format(table=table) for table in (STABLE, CANDIDATE))
SCHEMA = _TABLES.format(ids=event_ids.SCHEMA, snapshots=_SNAPSHOTS)


ADDED = (
    ("seen", "running REAL NOT NULL DEFAULT 0"),
    ("journal", "features BLOB"),
    ("snapshot", "state BLOB"),
    ("journal", "at REAL"),
    ("snapshot", "at REAL"),
    ("seen", "effect BLOB"),
)
"""Columns that formats 2 to 4 have added; format 5 has other tables."""

_NUMBER = int, float
FACTS: dict[str, type | tuple[type, ...]] = {
    "format": object, "compacted": int, "candidate_compacted": int, "window": int,
    "fleet_number": int, "fleet_tag": bytes, "fleet_time": _NUMBER, "running": _NUMBER,
    "since": _NUMBER, "half_life": _NUMBER, "new_arm_a": _NUMBER, "new_arm_b": _NUMBER,
    "candidate_since": _NUMBER, "candidate_share": _NUMBER,
}  # fmt: skip
"""What facts about the state are; the others are texts, and the format is looked at apart."""

REWARDS = (Kind.REWARD, Kind.WITHDRAW)
_CHANGES = (*REWARDS, Kind.PUT, Kind.REMOVE)


def check_change(change: Change) -> None:
    """Raise ValueError where no change of the journal has such values."""
    if change.kind not in _CHANGES or (change.kind in REWARDS and change.a is None):
        raise ValueError(f"a change of the kind {change.kind} with a = {change.a}")


def check_row(row: SnapshotRow) -> None:
    """Raise ValueError where no row of a snapshot has such values."""
    numbers = {each is None for each in (row.a, row.b, row.pulls)}
    is_empty = numbers == {True} and row.state is None
    if len(numbers) > 1 or row.removed not in (0, 1) or (is_empty and not row.removed):
        raise ValueError(f"a = {row.a}, b = {row.b}, pulls = {row.pulls}, removed = {row.removed}")
