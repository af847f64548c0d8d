"""What the server must not forget: rewards, changes of arms, and the event ids it has seen.

One SQLite database in WAL mode with `synchronous=FULL`: a commit returns after its fsync. The
state of the model is the posteriors file it started from, then the rows of `snapshot`, which
hold whole posteriors, then the rows of `journal` in their order. Compaction moves the effect of
`journal` into `snapshot` in one transaction.

Rewards that are committed together are one row of `journal`, with a list in it.

An event's id is remembered (`event_ids`) until two clocks agree that its window is over. The wall
clock counts from the decision if that is later than the receipt: as long as a decision is young
enough to be accepted, its events are known. The server's running time counts from the receipt: it
does not move when somebody sets the wall clock, so that what was learned under a wrong one still
counts once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from mlkit.bandit.server.learning.event_ids import EventIds
from mlkit.bandit.server.learning.records import Change, Kind, Seen, Shown, SnapshotRow
from mlkit.bandit.server.learning.schema import (
    ADDED,
    CANDIDATE,
    FACTS,
    FORMAT,
    READABLE,
    REWARDS,
    SCHEMA,
    STABLE,
    check_change,
    check_row,
)
from mlkit.errors import BadData, ConfigurationError, MlkitError, ServiceUnavailable
from mlkit.storage.sqlite_file import (
    DamagedRow,
    FailureKind,
    SqliteFailure,
    SqliteFile,
    reading,
)

_NOTED = 256  # so that an idle server writes seldom; what a crash loses keeps ids longer
_WAL_PAGES = 16_000  # 64 MB, after which a commit does what `checkpoint` has left

_decode_changes = msgspec.msgpack.Decoder(list[Change]).decode
_encode = msgspec.msgpack.Encoder().encode
Posterior = tuple[float, float, float]
_FULL_HINT = "free some space on the disk of --state"
_BACKUP_HINT = "restore the state from a backup, or start again with another --state"


def explain(path: Path, failure: SqliteFailure) -> MlkitError:
    """Return the error for the user that a failure of a journal's database amounts to."""
    text = f"{path}: {failure}"
    if failure.kind in (FailureKind.FULL, FailureKind.BROKEN_DISK):
        return ServiceUnavailable(text, hint=_FULL_HINT)
    if failure.kind in (FailureKind.FORBIDDEN, FailureKind.READ_ONLY):
        return ConfigurationError(text, hint="--state names a directory that the server may write")
    if failure.kind is FailureKind.BUSY:
        return ServiceUnavailable(text, hint="close what has it open")
    return BadData(text, hint=_BACKUP_HINT)


class Journal:
    """The database of one state directory.

    Args:
        path: The database file; it is made if it is not there.
        window: Seconds for which the ids of events are remembered.
        clock: Returns the seconds since 1970.
        elapsed: Returns seconds from any start, which nobody sets.
        read_only: Change nothing; the file has to be there.
        unchanging: Nobody else writes it, so that nothing has to be made beside it.
        shared: Returns the time of a log that hosts share, of which this is a host's copy: both
            clocks are that one, so that all hosts remember the same ids, and a commit need not
            reach the disk at once.

    Raises:
        ConfigurationError: The file is of a newer format, or cannot be opened.
        BadData: The file is not a database, or damaged.
        ServiceUnavailable: The disk is full.
    """

    def __init__(
        self,
        path: Path,
        *,
        window: float = 7 * 86400,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
        read_only: bool = False,
        unchanging: bool = False,
        shared: Callable[[], float] | None = None,
    ) -> None:
        self._path = path
        self._sync = "FULL" if shared is None else "NORMAL"
        self._housekept = 0
        self._is_committed = False
        self._touched: set[tuple[str | None, str]] | None = None  # by changes of `journal`
        try:
            self._database = SqliteFile(path, "ro" if read_only else "rwc", unchanging)
            self._ids = EventIds(self._database, window, shared or clock, self._running)
            try:
                self._open(read_only)
            except BaseException:
                self._database.close()
                raise
            self.seq: int = self._one("SELECT max(seq) FROM journal") or self.compacted
            before: float = self.meta("running") or 0.0
        except SqliteFailure as failure:
            raise explain(path, failure) from failure
        self._elapsed = shared or elapsed
        self._start = 0.0 if shared is not None else elapsed() - before

    def _running(self) -> float:
        """Return the seconds that servers have run with this journal."""
        return self._elapsed() - self._start

    def _open(self, read_only: bool) -> None:
        if read_only:
            self._check_format()
        else:
            self._prepare()

    def _prepare(self) -> None:
        for pragma in ("journal_mode=WAL", f"synchronous={self._sync}", "cache_size=-65536"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
        self._database.execute_script(SCHEMA)
        if self.meta("format") is None:
            self.set_meta({"format": FORMAT})
        self._check_format()
        if self.meta("format") != FORMAT:
            self._upgrade()

    def _upgrade(self) -> None:
        """Bring older formats to the present one: event ids of 1 count from the present start."""
        with self.transaction():
            for table, column in ADDED:
                if not self._has_column(table, column.split()[0]):
                    self._database.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
            self.set_meta({"format": FORMAT})

    def _has_column(self, table: str, name: str) -> bool:
        query = f"SELECT count(*) FROM pragma_table_info('{table}') WHERE name = ?"
        return bool(self._one(query, name))

    def _check_format(self) -> None:
        found = self.meta("format")
        if found not in READABLE:
            hint = f"this mlkit reads formats 1 to {FORMAT}; use the mlkit that wrote it"
            raise ConfigurationError(f"{self._path}: a journal of format {found}", hint=hint)

    def check_facts(self) -> None:
        """Refuse a state whose posteriors files are known by half: it would begin anew.

        Raises:
            DamagedRow: It is so.
        """
        for name in ("posteriors", "candidate"):
            if (self.meta(name) is None) != (self.meta(f"{name}_hash") is None):
                raise DamagedRow("meta", f"of {name} and {name}_hash one is missing")

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Raise what is wrong with the database in a block as the error for the user.

        Raises:
            BadData: The journal is damaged.
            ServiceUnavailable, ConfigurationError: It cannot be used.
        """
        try:
            yield
        except SqliteFailure as failure:
            raise explain(self._path, failure) from failure

    def close(self) -> None:
        """Close the database; what was committed stays."""
        self._database.close()

    def _one(self, query: str, *values: Any) -> Any:
        row = self._database.first(query, values)
        return row[0] if row else None

    def meta(self, name: str) -> Any:
        """Return a fact about the state, or None."""
        found = self._one("SELECT value FROM meta WHERE name = ?", name)
        if found is not None and not isinstance(found, FACTS.get(name, str)):
            raise DamagedRow("meta", f"{name} is {found!r:.40}")
        return found

    def set_meta(self, facts: dict[str, Any]) -> None:
        """Set facts about the state."""
        self._database.execute_many("INSERT OR REPLACE INTO meta VALUES (?, ?)", facts.items())

    @property
    def compacted(self) -> int:
        """The number of the last change that is in the snapshot."""
        return self.meta("compacted") or 0

    @property
    def new_arm_prior(self) -> tuple[float, float] | None:
        """The parameters of Beta posteriors of arms that come from feedback; None: the file's."""
        a, b = self.meta("new_arm_a"), self.meta("new_arm_b")
        return None if a is None or b is None else (a, b)

    def set_new_arm_prior(self, prior: tuple[float, float] | None) -> None:
        """Set the parameters, which hold for all changes from now on: there must be none before."""
        a, b = (None, None) if prior is None else prior
        self.set_meta({"new_arm_a": a, "new_arm_b": b})

    def copy_to(self, path: Path) -> None:
        """Write what is committed to a new file."""
        self._database.execute("VACUUM INTO ?", [str(path)])

    @contextmanager
    def transaction(self, kind: str = "IMMEDIATE") -> Iterator[None]:
        """Commit what the block does, or nothing of it."""
        try:
            with self._database.transaction(kind):
                yield
                self._ids.write()
        except BaseException:
            self._ids.discard()
            self._touched = None
            raise
        self._ids.keep()
        self._is_committed = True

    def checkpoint(self) -> None:
        """Move what is committed from SQLite's log to the database; from any thread.

        It waits for the disk, which a commit that makes the log too long would do otherwise.
        """
        if not self._is_committed:
            return
        self._is_committed = False
        database = SqliteFile(self._path, "rw")
        try:
            database.first("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            database.close()

    @property
    def touched(self) -> int:
        """About how many posteriors have changed since the snapshot."""
        return len(self._touched or ())

    # Writing

    def recall(self, keys: Iterable[bytes]) -> dict[bytes, Seen]:
        """Return what is remembered under hashes of events' ids."""
        return self._ids.recall(keys)

    def remember(self, events: Mapping[bytes, Seen]) -> None:
        """Remember events from now on, inside a transaction."""
        self._ids.remember(events)

    def append(self, changes: Sequence[Change]) -> None:
        """Append changes, inside a transaction."""
        last = self.seq + len(changes)
        rows: Iterable[tuple[int, Change]] = enumerate(changes, self.seq + 1)
        if len(changes) > 1 and all(each.kind in REWARDS for each in changes):
            rows = [(last, Change(Kind.SEVERAL, None, "", features=_encode(changes)))]
        values = ((seq, *change) for seq, change in rows)
        query = "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        self._database.execute_many(query, values)
        self.seq = last
        if self._touched is not None:
            self._touched.update((each.context, each.arm) for each in changes)

    # Decisions that wait for rewards

    def keep(self, decisions: Sequence[Shown]) -> None:
        """Keep decisions until their time is over, inside a transaction."""
        query = "INSERT OR IGNORE INTO pending (decision, due, details) VALUES (?, ?, ?)"
        self._database.execute_many(query, decisions)

    def due(self, now: float, most: int) -> list[Shown]:
        """Return decisions whose time is over, those that have waited longest first."""
        query = "SELECT decision, due, details FROM pending WHERE due <= ? ORDER BY due LIMIT ?"
        rows = list(self._database.rows(query, (now, most)))
        with reading("pending"):
            return msgspec.convert(rows, list[Shown])

    def end(self, decisions: Sequence[Shown]) -> None:
        """Forget decisions that wait, inside a transaction."""
        keys = [(each.decision,) for each in decisions]
        self._database.execute_many("DELETE FROM pending WHERE decision = ?", keys)

    def end_all(self) -> None:
        """Forget all decisions that wait: from now on no reward would settle them."""
        self._database.execute("DELETE FROM pending")

    def waiting(self) -> int:
        """Count the decisions that wait."""
        return int(self._one("SELECT count(*) FROM pending"))

    # Housekeeping

    def keep_house(self) -> None:
        """Note the running time, and forget some ids of events; no call takes long."""
        self._housekept = (self._housekept + 1) % _NOTED
        with self.transaction():
            self._ids.expire()
            if self._housekept == 0:
                self._note_running()

    def _note_running(self) -> None:
        self.set_meta({"running": self._running()})

    # Reading back

    def changes(self, after: int = 0) -> Iterator[Change]:
        """Yield the changes that are not in the snapshot, in their order."""
        later = ", ".join(self._or_null("journal", name) for name in ("features", "at"))
        columns = f"kind, context, arm, a, b, pulls, {later}"
        query = f"SELECT {columns} FROM journal WHERE seq > ? ORDER BY seq"
        for row in self._database.rows(query, (after,)):
            with reading("journal"):
                change = msgspec.convert(row, Change)
                several = change.kind == Kind.SEVERAL
                found = _decode_changes(change.features or b"") if several else [change]
                for each in found:
                    check_change(each)
            yield from found

    def _or_null(self, table: str, column: str) -> str:
        """Return a column to select, which a journal of before that is only read may lack."""
        return column if self._has_column(table, column) else "NULL"

    def snapshot(self, table: str = STABLE) -> Iterator[SnapshotRow]:
        """Yield the rows of a snapshot: of each arm its own first."""
        later = ", ".join(self._or_null(table, name) for name in ("state", "at"))
        columns = f"arm, context, removed, a, b, pulls, {later}"
        query = f"SELECT {columns} FROM {table} ORDER BY arm, context"
        for row in self._database.rows(query):
            with reading(table):
                found = msgspec.convert(row, SnapshotRow)
                check_row(found)
            yield found

    def length(self) -> int:
        """Count the changes that are not in the snapshot."""
        return sum(1 for _ in self.changes())

    # Compaction

    def compact(
        self,
        posterior_of: Callable[[str | None, str], Posterior | bytes | None],
        shared: bytes | None = None,
        *,
        at: float = 0.0,
    ) -> None:
        """Move the effect of the journal into the snapshot.

        Args:
            posterior_of: Returns the present posterior of a context (None: of the arm itself)
                and an arm, after all changes of the journal, or the state of an arm of a model;
                None if it has none of its own.
            shared: The state that all arms of a model share.
            at: When posteriors that age weigh 1, in seconds since 1970.
        """
        with self.transaction():
            self.compact_into(STABLE, posterior_of, shared, at=at)
            self.end_compaction()

    def compact_into(
        self,
        table: str,
        posterior_of: Callable[[str | None, str], Posterior | bytes | None],
        shared: bytes | None = None,
        *,
        at: float = 0.0,
    ) -> None:
        """Bring a snapshot to the end of the journal, inside a transaction: see `compact`."""
        self._compact_removals(table)
        self._compact_posteriors(table, posterior_of, at)
        if shared is not None:
            self._put_states(table, [("", "", shared)])

    def end_compaction(self) -> None:
        """Forget the changes that all snapshots have, inside a transaction."""
        self._database.execute("DELETE FROM journal")
        self._touched = set()
        self.set_meta({"compacted": self.seq})
        self._note_running()

    # Two versions of a model

    def promote(self, facts: dict[str, Any]) -> None:
        """Put the candidate's snapshot, which has all changes, in the stable one's place.

        Args:
            facts: What to set about the state; inside a transaction, as this is.
        """
        columns = "arm, context, removed, a, b, pulls, state, at"
        self._database.execute(f"DELETE FROM {STABLE}")
        into = f"INSERT INTO {STABLE} ({columns})"
        self._database.execute(f"{into} SELECT {columns} FROM {CANDIDATE}")
        self.clear_candidate(facts)
        self.end_compaction()

    def clear_candidate(self, facts: dict[str, Any]) -> None:
        """Forget the candidate's snapshot, inside a transaction."""
        self._database.execute(f"DELETE FROM {CANDIDATE}")
        self.set_meta(facts)

    # Posteriors files that hosts of a fleet have from one another

    def put_file(self, name: str, content: bytes) -> None:
        """Keep a file of the state directory in the journal."""
        self._database.execute("INSERT OR REPLACE INTO files VALUES (?, ?)", (name, content))

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield the files that the journal has, and their names."""
        for row in self._database.rows("SELECT name, content FROM files"):
            with reading("files"):
                name, content = msgspec.convert(row, tuple[str, bytes])
            yield name, content

    def file_names(self) -> list[str]:
        """Return the names of the files that the journal has."""
        return [name for (name,) in self._database.rows("SELECT name FROM files")]

    def drop_other_files(self, names: Sequence[str]) -> None:
        """Forget all files but these."""
        marks = ", ".join("?" * len(names))
        self._database.execute(f"DELETE FROM files WHERE name NOT IN ({marks})", names)

    def _compact_removals(self, table: str) -> None:
        removed = f"SELECT DISTINCT arm FROM journal WHERE kind = {Kind.REMOVE:d}"
        self._database.execute(f"DELETE FROM {table} WHERE arm IN ({removed})")
        into = f"INSERT INTO {table} (arm, context, removed)"
        self._database.execute(f"{into} SELECT arm, '', 1 FROM ({removed})")

    def _compact_posteriors(
        self,
        table: str,
        posterior_of: Callable[[str | None, str], Posterior | bytes | None],
        at: float,
    ) -> None:
        if self._touched is None:
            self._touched = {(each.context, each.arm) for each in self.changes()}
        touched = self._touched | {(None, arm) for _, arm in self._touched}
        found = [(arm, context or "", posterior_of(context, arm)) for context, arm in touched]
        rows = [(*name, *each, at) for *name, each in found if isinstance(each, tuple)]
        states = [(*name, each) for *name, each in found if isinstance(each, bytes)]
        self._put_states(table, states)
        self._database.execute_many(
            f"INSERT INTO {table} (arm, context, a, b, pulls, at) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET"
            " a = excluded.a, b = excluded.b, pulls = excluded.pulls, at = excluded.at",
            rows,
        )

    def _put_states(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        self._database.execute_many(
            f"INSERT INTO {table} (arm, context, state) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET state = excluded.state",
            rows,
        )

    def restart_from(self, facts: dict[str, Any], *, keep_after: int) -> None:
        """Forget the snapshot and the changes up to a number: other posteriors replace them.

        Args:
            facts: What to set about the state in the same transaction.
            keep_after: Changes with a higher number stay.
        """
        with self.transaction():
            self._database.execute("DELETE FROM snapshot")
            self._database.execute("DELETE FROM journal WHERE seq <= ?", (keep_after,))
            self.set_meta({**facts, "compacted": keep_after})
