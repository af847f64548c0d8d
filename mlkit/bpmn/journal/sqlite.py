"""The journal: every event of every instance, in SQLite, on disk before anything follows."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from mlkit.bpmn.engine.events import AnyEvent, Step
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal import sqlite_schema
from mlkit.bpmn.journal.sqlite_mailbox import Mailbox
from mlkit.bpmn.journal.sqlite_stores import Stores
from mlkit.errors import ConfigurationError, InputMissing, ServiceUnavailable

if TYPE_CHECKING:  # Who only lists instances needs no engine.
    from mlkit.bpmn.engine.engine import Engine

SNAPSHOT_EVERY = 500
_ENCODER = msgspec.json.Encoder()
_EVENTS: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_STATES = msgspec.json.Decoder(State)
_TRACES = msgspec.json.Decoder(list[Step])


class Log(NamedTuple):
    """What one attempt at a task left, apart from its variables."""

    element: str
    iteration: str
    attempt: int
    ended: float
    duration: float
    peak: int
    outcome: str
    stdout: str
    stderr: str


_LOGS = msgspec.json.Decoder(Log)


@dataclass(frozen=True, slots=True)
class Row:
    """What the journal knows of an instance without replaying it."""

    number: int
    id: str
    process: str
    definition: str
    options: dict[str, Any]
    key: str
    phase: str
    epoch: int
    sequence: int
    created: float
    updated: float


@dataclass(slots=True)
class Entry:
    """One event to append, with its trace, and what the task printed that it ended."""

    at: float
    event: AnyEvent
    trace: list[Step]
    log: Log | None = None


@dataclass(slots=True)
class Changes:
    """What a commit adds for one instance.

    Attributes:
        entries: Its events, in order.
        taken: The inbox rows that the events came from.
    """

    entries: list[Entry] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)


class Journal:
    """The journal of a state folder.

    Args:
        folder: The state folder.
        create: Whether to make what is missing.
    """

    def __init__(self, folder: Path, create: bool = False) -> None:
        self.folder = folder
        self.path = folder / sqlite_schema.FILE_NAME
        self.connection = sqlite_schema.connect(folder, create)
        self.mailbox = Mailbox(self.connection)
        self.stores = Stores(self.connection)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all of a block durable at once, or nothing of it."""
        if not self.path.exists():
            raise ServiceUnavailable(f"{self.path}: the journal was deleted while it was in use")
        with sqlite_schema.failures(self.path), sqlite_schema.transaction(self.connection):
            yield

    # -- definitions and instances ---------------------------------------------------------

    def store_definition(self, file: str, content: bytes, resources: Mapping[str, str]) -> str:
        """Keep, inside a transaction, a diagram with the files that it uses.

        Returns:
            The hash of all of them, which names them.
        """
        extra = json.dumps(dict(resources), sort_keys=True).encode()
        sha256 = hashlib.sha256(b"%d\n%s%s" % (len(content), content, extra)).hexdigest()
        self.connection.execute(
            "INSERT OR IGNORE INTO definitions VALUES (?, ?, ?, ?)", (sha256, file, content, extra)
        )
        return sha256

    def definition(self, sha256: str) -> tuple[str, bytes, dict[str, str]]:
        """Give the file name, content and resources of a stored diagram."""
        row = self.connection.execute(
            "SELECT file, content, resources FROM definitions WHERE sha256 = ?", (sha256,)
        ).fetchone()
        if row is None:
            raise ConfigurationError(f"{self.path}: the definition {sha256[:12]} is gone")
        return row[0], row[1], json.loads(row[2])

    def create(
        self, process: str, definition: str, options: dict[str, Any], key: str, at: float
    ) -> Row:
        """Add an instance that has no event yet, inside a transaction."""
        identifier = os.urandom(4).hex()
        number = self.connection.execute(
            "INSERT INTO instances (id, process, definition, options, key, phase, created,"
            " updated) VALUES (?, ?, ?, ?, ?, 'running', ?, ?)",
            (identifier, process, definition, _ENCODER.encode(options), key, at, at),
        ).lastrowid
        return next(self._rows("WHERE number = ?", (number,)))

    def find(self, identifier: str) -> Row:
        """Give an instance by its id or the beginning of it.

        Raises:
            InputMissing: None or several have it.
        """
        found = list(self._rows("WHERE id = ? OR id LIKE ? || '%'", (identifier, identifier)))
        exact = [each for each in found if each.id == identifier] or found
        if len(exact) != 1:
            problem = "there is no" if not exact else "several match: no single"
            raise InputMissing(
                f"{problem} instance {identifier!r} in {self.folder}", hint="see `mlkit bpmn list`"
            )
        return exact[0]

    def rows(self) -> list[Row]:
        """Give all instances, oldest first."""
        return list(self._rows("ORDER BY number", ()))

    def _rows(self, clause: str, values: tuple[Any, ...]) -> Iterator[Row]:
        names = Row.__slots__
        query = f"SELECT {', '.join(names)} FROM instances {clause}"
        with sqlite_schema.failures(self.path):
            found = self.connection.execute(query, values).fetchall()
        for row in found:
            yield Row(**{**dict(zip(names, row, strict=True)), "options": json.loads(row[4])})

    # -- events ----------------------------------------------------------------------------

    def append(self, row: Row, sequence: int, state: State, changes: Changes) -> int:
        """Append events inside a transaction; give the new sequence number.

        Raises:
            ConfigurationError: Another process took the instance over.
        """
        connection, number = self.connection, row.number
        for entry in changes.entries:
            sequence += 1
            body, trace = _ENCODER.encode(entry.event), _ENCODER.encode(entry.trace)
            log = None if entry.log is None else _ENCODER.encode(entry.log)
            connection.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)",
                (number, sequence, entry.at, body, trace, log),
            )
        for taken in changes.taken:
            connection.execute("DELETE FROM inbox WHERE id = ?", (taken,))
        at = changes.entries[-1].at if changes.entries else row.updated
        updated = connection.execute(
            "UPDATE instances SET sequence = ?, phase = ?, key = ?, updated = ?"
            " WHERE number = ? AND epoch = ?",
            (sequence, state.phase, state.key, at, number, row.epoch),
        )
        if updated.rowcount != 1:
            raise ConfigurationError(f"instance {row.id}: another process took it over")
        if state.status != "running":
            self.mailbox.forget(number)
        if sequence // SNAPSHOT_EVERY > (sequence - len(changes.entries)) // SNAPSHOT_EVERY:
            connection.execute(
                "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?)",
                (number, sequence, _ENCODER.encode(state)),
            )
        return sequence

    def fork(self, row: Row, upto: int, definition: str, options: dict[str, Any]) -> Row:
        """Add, inside a transaction, an instance that begins with another one's first events."""
        new = self.create(row.process, definition, options, row.key, row.created)
        self.connection.execute(
            "INSERT INTO events SELECT ?, sequence, at, event, trace, log FROM events"
            " WHERE instance = ? AND sequence <= ?",
            (new.number, row.number, upto),
        )
        self.connection.execute(
            "UPDATE instances SET sequence = ? WHERE number = ?", (upto, new.number)
        )
        return next(self._rows("WHERE number = ?", (new.number,)))

    def replay(self, row: Row, engine: Engine) -> tuple[State, int]:
        """Give an instance's state and the number of its last event."""
        found = self.connection.execute(
            "SELECT sequence, state FROM snapshots WHERE instance = ?", (row.number,)
        ).fetchone()
        sequence, state = (
            (0, engine.create()) if found is None else (found[0], _STATES.decode(found[1]))
        )
        for number, at, event, _ in list(self._events(row.number, sequence)):
            engine.apply(state, _EVENTS.decode(event), at)
            sequence = number
        return state, sequence

    def events(self, row: Row) -> Iterator[tuple[float, AnyEvent, list[Step]]]:
        """Go through an instance's events with their trace."""
        for _, at, event, trace in self._events(row.number, 0):
            yield at, _EVENTS.decode(event), _TRACES.decode(trace)

    def _events(self, number: int, after: int) -> Iterable[tuple[int, float, bytes, bytes]]:
        return self.connection.execute(
            "SELECT sequence, at, event, trace FROM events"
            " WHERE instance = ? AND sequence > ? ORDER BY sequence",
            (number, after),
        ).fetchall()

    def logs(self, row: Row) -> list[Log]:
        """Give what an instance's tasks printed, in the order that they ended."""
        found = self.connection.execute(
            "SELECT log FROM events WHERE instance = ? AND log IS NOT NULL ORDER BY sequence",
            (row.number,),
        )
        return [_LOGS.decode(log) for (log,) in found]

    # -- ownership -------------------------------------------------------------------------

    def is_owned(self, row: Row) -> bool:
        """Say whether a process runs an instance now."""
        try:
            lock = os.open(self.folder / "locks" / row.id, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def own(self, row: Row) -> tuple[Row, int] | None:
        """Take an instance for this process; None where another one runs it.

        Returns:
            The instance with its new epoch, and the file descriptor that holds the lock.
        """
        folder = self.folder / "locks"
        with sqlite_schema.failures(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / row.id, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        with self.transaction():
            self.connection.execute(
                "UPDATE instances SET epoch = epoch + 1 WHERE number = ?", (row.number,)
            )
        return self.find(row.id), lock
