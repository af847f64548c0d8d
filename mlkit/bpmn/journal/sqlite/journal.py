"""The journal: every event of every instance, in SQLite, on disk before anything follows."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mlkit.bpmn.engine.events import AnyEvent, Cancel, Hop
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.records import (
    DECODE_EVENT,
    DECODE_LOG,
    DECODE_STATE,
    DECODE_TRACE,
    Changes,
    Damaged,
    Entry,
    Log,
    Row,
    TakenOver,
    encode,
)
from mlkit.bpmn.journal.sqlite.mailbox import SqliteMailbox
from mlkit.bpmn.journal.sqlite.owners import Owner
from mlkit.bpmn.journal.sqlite.schema import FILE_NAME, VERSIONS
from mlkit.bpmn.journal.sqlite.stores import SqliteStores
from mlkit.errors import InputMissing, MlkitError, UsageError
from mlkit.storage.sqlite import Database

if TYPE_CHECKING:  # Who only lists instances needs no engine.
    from mlkit.bpmn.engine.engine import Engine

SNAPSHOT_EVERY = 500
SHORTEST_ID = 4
_UNREADABLE = (msgspec.DecodeError, TypeError, UnicodeDecodeError)
_COLUMNS = (
    "number", "id", "process", "definition", "options", "key", "phase", "epoch", "sequence",
    "created", "updated",
)  # fmt: skip
_EVENT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)"


class SqliteJournal:
    """The journal of a state folder in a SQLite file.

    Args:
        folder: The state folder.
        create: Whether to make what is missing.
    """

    def __init__(self, folder: Path, create: bool = False) -> None:
        self.folder = folder
        self.path = folder / FILE_NAME
        self.database = Database(self.path, VERSIONS, "journal", create)
        self.mailbox = SqliteMailbox(self.database)
        self.stores = SqliteStores(self.database)
        self.owner = Owner(folder / "locks")

    def close(self) -> None:
        """Release what this process owns, and close the file."""
        self.owner.close()
        self.database.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Make all of a block durable at once, or nothing of it."""
        return self.database.transaction()

    # -- definitions and instances ---------------------------------------------------------

    def store_definition(self, file: str, content: bytes, resources: Mapping[str, str]) -> str:
        """Keep, inside a transaction, a diagram with the files that it uses.

        Returns:
            The hash of all of them, which names them.
        """
        extra = json.dumps(dict(resources), sort_keys=True).encode()
        sha256 = hashlib.sha256(b"%d\n%s%s" % (len(content), content, extra)).hexdigest()
        self.database.execute(
            "INSERT OR IGNORE INTO definitions VALUES (?, ?, ?, ?)", (sha256, file, content, extra)
        )
        return sha256

    def definition(self, sha256: str) -> tuple[str, bytes, dict[str, str]]:
        """Return the file name, content and resources of a stored diagram.

        Raises:
            InputMissing: It is gone.
            msgspec.DecodeError: Its resources are damaged.
        """
        found = self.database.query(
            "SELECT file, content, resources FROM definitions WHERE sha256 = ?", (sha256,)
        )
        if not found:
            raise InputMissing(f"{self.path}: the definition {sha256[:12]} is gone")
        file, content, resources = found[0]
        return file, content, msgspec.json.decode(resources, type=dict[str, str])

    def create(
        self, process: str, definition: str, options: dict[str, Any], key: str, at: float
    ) -> Row:
        """Add an instance that has no event yet, inside a transaction."""
        identifier = os.urandom(4).hex()
        added = self.database.execute(
            "INSERT INTO instances (id, process, definition, options, key, phase, created,"
            " updated) VALUES (?, ?, ?, ?, ?, 'running', ?, ?)",
            (identifier, process, definition, encode(options), key, at, at),
        )
        return self.get(int(added.lastrowid or 0))

    def fork(self, row: Row, upto: int, definition: str, options: dict[str, Any]) -> Row:
        """Add, inside a transaction, an instance that begins with another one's first events."""
        new = self.create(row.process, definition, options, row.key, row.created)
        self.database.execute(
            "INSERT INTO events SELECT ?, sequence, at, event, trace, log FROM events"
            " WHERE instance = ? AND sequence <= ?",
            (new.number, row.number, upto),
        )
        self.database.execute(
            "UPDATE instances SET sequence = ? WHERE number = ?", (upto, new.number)
        )
        return self.get(new.number)

    def find(self, identifier: str) -> Row:
        """Return an instance by its id or the beginning of it, four characters at least.

        Raises:
            UsageError: It is no id.
            InputMissing: None or several have it.
            Damaged: Its row cannot be read.
        """
        if len(identifier) < SHORTEST_ID or not set(identifier) <= set("0123456789abcdef"):
            raise UsageError(
                f"{identifier!r} is no instance: an id is hexadecimal, {SHORTEST_ID} characters"
                " of it at least",
                hint="see `mlkit bpmn list`",
            )
        # "g" comes after all hexadecimal digits.
        found = self._rows("WHERE id >= ? AND id < ?", (identifier, f"{identifier}g"))
        exact = [each for each in found if each.id == identifier] or found
        if len(exact) != 1:
            problem = "there is no" if not exact else "several match: no single"
            raise InputMissing(
                f"{problem} instance {identifier!r} in {self.folder}", hint="see `mlkit bpmn list`"
            )
        return self._readable(exact[0])

    def get(self, number: int) -> Row:
        """Return an instance by its number.

        Raises:
            Damaged: Its row cannot be read.
        """
        (found,) = self._rows("WHERE number = ?", (number,))
        return self._readable(found)

    def _readable(self, row: Row) -> Row:
        row.require_readable(self.path)
        return row

    def rows(self) -> list[Row]:
        """Return all instances, oldest first; those whose rows are damaged say so."""
        return self._rows("ORDER BY number", ())

    def _rows(self, clause: str, values: tuple[Any, ...]) -> list[Row]:
        query = f"SELECT {', '.join(_COLUMNS)}, owner FROM instances {clause}"
        found = self.database.query(query, values)
        running = {owner for *_, phase, _, _, _, _, owner in found if phase == "running"}
        alive = {owner for owner in running if owner and self.owner.is_alive(owner)}
        return [_row(columns[:-1], columns[-1] in alive) for columns in found]

    # -- events ----------------------------------------------------------------------------

    def append(self, row: Row, sequence: int, state: State, changes: Changes) -> int:
        """Append events inside a transaction; return the new sequence number.

        Raises:
            TakenOver: Another process owns the instance now.
        """
        execute, number, before = self.database.execute, row.number, sequence
        sequence += len(changes.entries)
        at = changes.entries[-1].at if changes.entries else row.updated
        # The fence comes first: who was taken over writes nothing.
        fenced = execute(
            "UPDATE instances SET sequence = ?, phase = ?, key = ?, updated = ?"
            " WHERE number = ? AND epoch = ? AND sequence = ?",
            (sequence, state.phase, state.key, at, number, row.epoch, before),
        )
        if fenced.rowcount != 1:
            raise TakenOver(row)
        for position, entry in enumerate(changes.entries, before + 1):
            log = None if entry.log is None else encode(entry.log)
            values = number, position, entry.at, encode(entry.event), encode(entry.trace), log
            execute(_EVENT, values)
        self.mailbox.take(changes.verdicts)
        if state.status != "running":
            self.mailbox.forget(number, f"instance {row.id} is {state.phase}")
        if sequence // SNAPSHOT_EVERY > before // SNAPSHOT_EVERY:
            execute(
                "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?)",
                (number, sequence, encode(state)),
            )
        return sequence

    def abandon(self, row: Row, event: Cancel, at: float) -> None:
        """End an instance whose events cannot be replayed, inside a transaction."""
        state = State(row.process, status="cancelled", key=row.key)
        (last,) = self.database.query(
            "SELECT coalesce(max(sequence), 0) FROM events WHERE instance = ?", (row.number,)
        )[0]
        self.database.execute(
            "UPDATE instances SET sequence = ? WHERE number = ? AND epoch = ?",
            (last, row.number, row.epoch),
        )
        self.append(row, last, state, Changes([Entry(at, event, [])]))

    def replay(self, row: Row, engine: Engine) -> tuple[State, int]:
        """Return an instance's state and the number of its last event.

        Raises:
            Damaged: An event cannot be read, or one is missing.
        """
        state, sequence = self._snapshot(row) or (engine.create(), 0)
        for number, at, event, _ in self._events(row, sequence):
            self._apply(row, engine, state, (number, at, event))
            sequence = number
        return state, sequence

    def _apply(
        self, row: Row, engine: Engine, state: State, event: tuple[int, float, bytes]
    ) -> None:
        number, at, body = event
        try:
            engine.apply(state, self._event(row, number, body), at)
        except MlkitError:
            raise
        except Exception as error:
            problem = f"its event {number} cannot be applied: {type(error).__name__}: {error}"
            raise Damaged(self.path, row.id, problem) from error

    def _snapshot(self, row: Row) -> tuple[State, int] | None:
        found = self.database.query(
            "SELECT sequence, state FROM snapshots WHERE instance = ?", (row.number,)
        )
        try:
            return (DECODE_STATE.decode(found[0][1]), found[0][0]) if found else None
        except _UNREADABLE:
            return None  # All events give the same state.

    def events(self, row: Row) -> Iterator[tuple[float, AnyEvent, list[Hop]]]:
        """Yield an instance's events with their times and traces."""
        for number, at, event, trace in self._events(row, 0):
            try:
                steps = DECODE_TRACE.decode(trace)
            except _UNREADABLE as error:
                problem = f"the trace of its event {number} is damaged: {error}"
                raise Damaged(self.path, row.id, problem) from error
            yield at, self._event(row, number, event), steps

    def _event(self, row: Row, number: int, body: Any) -> AnyEvent:
        try:
            return DECODE_EVENT.decode(body)
        except _UNREADABLE as error:
            problem = f"its event {number} is damaged: {error}"
            raise Damaged(self.path, row.id, problem) from error

    def _events(self, row: Row, after: int) -> list[tuple[int, float, bytes, bytes]]:
        found = self.database.query(
            "SELECT sequence, at, event, trace FROM events"
            " WHERE instance = ? AND sequence > ? ORDER BY sequence",
            (row.number, after),
        )
        numbers = [each[0] for each in found]
        if numbers != list(range(after + 1, after + len(found) + 1)):
            raise Damaged(self.path, row.id, "some of its events are missing")
        if any(type(each[1]) is not float for each in found):
            raise Damaged(self.path, row.id, "the time of one of its events is damaged")
        return found

    def logs(self, row: Row) -> list[Log]:
        """Return what an instance's tasks printed, in the order that they ended."""
        found = self.database.query(
            "SELECT log FROM events WHERE instance = ? AND log IS NOT NULL ORDER BY sequence",
            (row.number,),
        )
        try:
            return [DECODE_LOG.decode(log) for (log,) in found]
        except _UNREADABLE as error:
            raise Damaged(self.path, row.id, f"one of its logs is damaged: {error}") from error

    # -- ownership -------------------------------------------------------------------------

    def _owner_of(self, row: Row) -> str:
        found = self.database.query("SELECT owner FROM instances WHERE number = ?", (row.number,))
        return str(found[0][0]) if found else ""

    def is_owned(self, row: Row) -> bool:
        """Return whether a live process owns an instance."""
        owner = self._owner_of(row)
        return bool(owner) and self.owner.is_alive(owner)

    def own(self, row: Row) -> Row | None:
        """Take an instance for this process; return it with its new epoch.

        None where another process owns it.
        """
        with self.database.failures():
            mine = self.owner.register()
        with self.transaction():
            if self._owner_of(row) != mine and self.is_owned(row):
                return None
            self.database.execute(
                "UPDATE instances SET epoch = epoch + 1, owner = ? WHERE number = ?",
                (mine, row.number),
            )
            return self.get(row.number)

    def release(self, rows: Iterable[Row]) -> None:
        """Let other processes have instances."""
        numbers = [(each.number, each.epoch) for each in rows]
        if not numbers:
            return
        with self.transaction():
            for each in numbers:
                self.database.execute(
                    "UPDATE instances SET owner = '' WHERE number = ? AND epoch = ?", each
                )

    def damage(self) -> list[str]:
        """Return what is wrong with the journal as a file, and with rows of no instance."""
        found = [f"{self.path}: {each}" for each in self.database.damage()]
        return [*found, *self.mailbox.damage(), *self.stores.damage()]


def _row(columns: tuple[Any, ...], is_owned: bool) -> Row:
    """Read a row; one that cannot be read says what is wrong with it."""
    fields = dict(zip(_COLUMNS, columns, strict=True))
    if fields["phase"] == "running" and not is_owned:
        fields["phase"] = "interrupted"
    try:
        fields["options"] = json.loads(fields["options"])
        return msgspec.convert(fields, Row)
    except (ValueError, TypeError) as error:
        number, identifier = columns[0], str(columns[1])
        damage = str(error)
        return Row(number, identifier, "?", "", {}, "", "damaged", 0, 0, 0.0, 0.0, damage)
