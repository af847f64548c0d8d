"""The journal: every event of every instance, in a database, durable before anything follows."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mlkit.bpmn.engine.events import AnyEvent, Cancel, Hop
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.owner import Owner
from mlkit.bpmn.journal.records import (
    ENDED,
    Changes,
    Entry,
    Log,
    Row,
    TakenOver,
    encode,
    require_id,
)
from mlkit.bpmn.journal.sql.absences import SqlAbsences
from mlkit.bpmn.journal.sql.archive import SqlArchive
from mlkit.bpmn.journal.sql.audit import SqlAudit
from mlkit.bpmn.journal.sql.deployments import SqlDeployments
from mlkit.bpmn.journal.sql.external import SqlExternalTasks
from mlkit.bpmn.journal.sql.history import History
from mlkit.bpmn.journal.sql.index import SqlIndex
from mlkit.bpmn.journal.sql.mailbox import STEERS, SqlMailbox
from mlkit.bpmn.journal.sql.outbox import SqlOutbox
from mlkit.bpmn.journal.sql.retention import SqlRetention
from mlkit.bpmn.journal.sql.schedules import SqlSchedules
from mlkit.bpmn.journal.sql.schema import COMPONENTS
from mlkit.bpmn.journal.sql.stores import SqlStores
from mlkit.errors import InputMissing
from mlkit.storage.database import Database, Result, migrate

if TYPE_CHECKING:  # Who only lists instances needs no engine.
    from mlkit.bpmn.engine.engine import Engine

SNAPSHOT_EVERY = 500
_COLUMNS = (
    "number", "id", "process", "definition", "options", "key", "phase", "epoch", "sequence",
    "created", "updated", "due",
)  # fmt: skip
_PHASE = _COLUMNS.index("phase")
_AT_ONCE = 500
_EVENT = "INSERT INTO events (instance, sequence, at, event, trace, log) VALUES (?, ?, ?, ?, ?, ?)"
_OPEN = "phase IN ('running', 'waiting', 'incident')"
# A row whose phase is damaged has not ended.
_NOT_ENDED = f"phase NOT IN ({', '.join(map(repr, ENDED))})"
# The index knows the tasks of instances at rest, but for those of an older mlkit that nobody has
# taken up yet: the migration has set their `due` to 0.
_MAY_HAVE_TASKS = (
    "(number IN (SELECT instance FROM open_tasks)"
    " OR phase NOT IN ('waiting', 'incident') OR due = 0)"
)


class SqlJournal:
    """A journal in a database.

    Args:
        database: Where the events are.
        owner: This process, as one that owns instances.
        folder: The state folder, where artifacts and working folders are.
        url: Where others find the database, without a password; None for a file in the folder.

    Raises:
        ConfigurationError: The journal is one of a newer mlkit.
    """

    def __init__(
        self, database: Database, owner: Owner, folder: Path, url: str | None = None
    ) -> None:
        self.folder = folder
        self.url = url
        self.place = database.place
        self.database = database
        self.owner = owner
        self.schedules = SqlSchedules(database)
        self.mailbox = SqlMailbox(database, self.schedules.note_signal)
        self.stores = SqlStores(database)
        self.external = SqlExternalTasks(database)
        self.outbox = SqlOutbox(database)
        self.absences = SqlAbsences(database)
        self.history = History(database)
        self.deployments = SqlDeployments(database)
        self.index = SqlIndex(database)
        self.audit = SqlAudit(database)
        self.retention = SqlRetention(database)
        try:
            migrate(database, COMPONENTS)
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Release what this process owns, and close the database."""
        self.owner.close()
        self.database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all of a block durable at once, or nothing of it."""
        with self._noting(), self.database.transaction():
            yield

    def atomically(self, work: Callable[[], Result]) -> Result:
        """Do a work in a transaction, and again where it was the victim of a deadlock."""
        with self._noting():
            return self.database.atomically(work)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Forget what the search tables hold where a block is undone."""
        try:
            yield
        except BaseException:
            self.index.forget()
            raise

    def wait(self, timeout: float) -> bool:
        """Wait, at most `timeout` seconds, until another connection delivers something."""
        return self.database.wait(timeout)

    def bell(self) -> int | None:
        """Return a file descriptor that can be read when `wait` would return; None: no such."""
        return self.database.bell()

    # -- definitions and instances ---------------------------------------------------------

    def store_definition(self, file: str, content: bytes, resources: Mapping[str, str]) -> str:
        """Keep, inside a transaction, a diagram with the files that it uses.

        Returns:
            The hash of all of them, which names them.
        """
        extra = json.dumps(dict(resources), sort_keys=True).encode()
        sha256 = hashlib.sha256(b"%d\n%s%s" % (len(content), content, extra)).hexdigest()
        self.database.execute(
            "INSERT INTO definitions (sha256, file, content, resources) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (sha256) DO NOTHING",
            (sha256, file, content, extra),
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
            raise InputMissing(f"{self.place}: the definition {sha256[:12]} is gone")
        file, content, resources = found[0]
        return file, content, msgspec.json.decode(resources, type=dict[str, str])

    def create(
        self, process: str, definition: str, options: dict[str, Any], key: str, at: float
    ) -> Row:
        """Add an instance that has no event yet, inside a transaction."""
        values = process, definition, encode(options), key, at, at
        found: list[Any] = []
        while not found:  # Among many ids, a new one may be one of them.
            found = self.database.query(
                "INSERT INTO instances (id, process, definition, options, key, phase, created,"
                " updated) VALUES (?, ?, ?, ?, ?, 'running', ?, ?)"
                f" ON CONFLICT (id) DO NOTHING RETURNING {', '.join(_COLUMNS)}",
                (os.urandom(4).hex(), *values),
            )
        return _row(found[0], True)

    def fork(self, row: Row, upto: int, definition: str, options: dict[str, Any]) -> Row:
        """Add, inside a transaction, an instance that begins with another one's first events."""
        new = self.create(row.process, definition, options, row.key, row.created)
        copied = self.database.execute(
            "INSERT INTO events (instance, sequence, at, event, trace, log)"
            " SELECT CAST(? AS BIGINT), sequence, at, event, trace, log FROM events"
            " WHERE instance = ? AND sequence <= ?",
            (new.number, row.number, upto),
        )
        if copied != upto:
            raise InputMissing(f"instance {row.id} is gone", hint="see `mlkit bpmn list`")
        self.database.execute(
            "UPDATE instances SET sequence = ? WHERE number = ?", (upto, new.number)
        )
        return self.get(new.number)

    def find(self, identifier: str) -> Row:
        """Return an instance by its id or the beginning of it, four characters at least.

        Raises:
            UsageError: It is not an id.
            InputMissing: None or several have it.
            Damaged: Its row cannot be read.
        """
        require_id(identifier)
        # "g" comes after all hexadecimal digits.
        found = self._rows("WHERE id >= ? AND id < ?", (identifier, f"{identifier}g"))
        exact = [each for each in found if each.id == identifier] or found
        if len(exact) != 1:
            problem = "there is no" if not exact else "several match: no single"
            raise InputMissing(
                f"{problem} instance {identifier!r} in {self.url or self.folder}",
                hint="see `mlkit bpmn list`",
            )
        return self._readable(exact[0])

    def get(self, number: int, keep: bool = False) -> Row:
        """Return an instance by its number; `keep` it so until the transaction ends.

        Raises:
            Damaged: Its row cannot be read.
        """
        share = self.database.for_share if keep else ""
        (found,) = self._rows(f"WHERE number = ?{share}", (number,))
        return self._readable(found)

    def _readable(self, row: Row) -> Row:
        row.require_readable(self.place)
        return row

    def rows(self) -> list[Row]:
        """Return all instances, oldest first; those whose rows are damaged say so."""
        return self._rows("ORDER BY number", ())

    def open_rows(self) -> list[Row]:
        """Return the instances that have not ended, oldest first, with those that are damaged."""
        return self._rows(f"WHERE {_NOT_ENDED} ORDER BY number", ())

    def rows_with_tasks(self) -> list[Row]:
        """Return those of `open_rows` in which user tasks may wait."""
        return self._rows(f"WHERE {_NOT_ENDED} AND {_MAY_HAVE_TASKS} ORDER BY number", ())

    def _rows(self, clause: str, values: tuple[Any, ...]) -> list[Row]:
        query = f"SELECT {', '.join(_COLUMNS)}, owner FROM instances {clause}"
        found = self.database.query(query, values)
        running = {each[-1] for each in found if each[_PHASE] == "running"}
        alive = {owner for owner in running if owner and self.owner.is_alive(owner)}
        return [_row(columns[:-1], columns[-1] in alive) for columns in found]

    # -- events ----------------------------------------------------------------------------

    def append(self, row: Row, sequence: int, state: State, changes: Changes) -> int:
        """Append events inside a transaction; return the new sequence number.

        Raises:
            TakenOver: Another process owns the instance now.
        """
        defer, number, before = self.database.defer, row.number, sequence

        def fence(changed: int) -> None:
            if changed != 1:
                raise TakenOver(row)

        sequence += len(changes.entries)
        at = changes.entries[-1].at if changes.entries else row.updated
        # The fence comes first: who was taken over waits for no other lock, and writes nothing.
        defer(
            "UPDATE instances SET sequence = ?, phase = ?, key = ?, updated = ?, due = ?"
            " WHERE number = ? AND epoch = ? AND sequence = ?",
            (sequence, state.phase, state.key, at, state.due, number, row.epoch, before),
            fence,
        )
        for position, each in enumerate(changes.entries, before + 1):
            log = None if each.log is None else encode(each.log)
            defer(_EVENT, (number, position, each.at, encode(each.event), encode(each.trace), log))
        self.mailbox.take(changes.verdicts)
        self.index.note(number, state, is_new=before == 0)
        self.outbox.add(changes.mails, at)
        if state.status != "running":
            self.mailbox.forget(number, f"instance {row.id} is {state.phase}")
            self.external.forget(number)
        if sequence // SNAPSHOT_EVERY > before // SNAPSHOT_EVERY:
            defer(
                "INSERT INTO snapshots (instance, sequence, state) VALUES (?, ?, ?)"
                " ON CONFLICT (instance) DO UPDATE"
                " SET sequence = excluded.sequence, state = excluded.state",
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
        return self.history.replay(row, engine)

    def events(self, row: Row) -> Iterator[tuple[float, AnyEvent, list[Hop]]]:
        """Yield an instance's events with their times and traces."""
        return self.history.events(row)

    def logs(self, row: Row) -> list[Log]:
        """Return what an instance's tasks printed, in the order that they ended."""
        return self.history.logs(row)

    def archive(self) -> SqlArchive:
        """Return the tables as lines, to be moved to another journal."""
        return SqlArchive(self.database)

    # -- ownership -------------------------------------------------------------------------

    def register(self) -> None:
        """Let others see that this process uses the journal, before it owns an instance."""
        with self.database.failures():
            self.owner.register()

    def is_used(self) -> bool:
        """Return whether another process that lives owns instances, or has registered."""
        return bool(self.owner.living() - {self.owner.name})

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
        taken = self.take([row])
        return self._readable(taken[0]) if taken else None

    def take(self, rows: Iterable[Row]) -> list[Row]:
        """Take instances for this process; return those that it got, with their new epochs."""
        with self.database.failures():
            mine = self.owner.register()
        numbers = sorted(each.number for each in rows)

        def work() -> list[Row]:
            found: list[Row] = []
            for start in range(0, len(numbers), _AT_ONCE):
                found += self._take_some(numbers[start : start + _AT_ONCE], mine)
            return sorted(found, key=lambda each: each.number)

        return self.atomically(work)

    def _take_some(self, numbers: list[int], mine: str) -> Iterator[Row]:
        """Take instances from nobody, from this process itself, and from owners that are dead."""
        among = f"number IN ({', '.join('?' * len(numbers))})"
        owners = self.database.query(f"SELECT DISTINCT owner FROM instances WHERE {among}", numbers)
        for (before,) in sorted(owners):
            if before not in ("", mine):
                if self.owner.is_alive(before):
                    continue
                self.owner.bury(before)
            found = self.database.query(
                f"UPDATE instances SET epoch = epoch + 1, owner = ? WHERE {among} AND owner = ?"
                f" RETURNING {', '.join(_COLUMNS)}",
                (mine, *numbers, before),
            )
            for each in found:
                self.index.forget(each[0])
                yield _row(each, True)

    def holds(self) -> bool:
        """Return whether this process certainly still owns what it took; else it must not act."""
        return self.owner.holds()

    def renew(self) -> bool:
        """Extend the lease of all that this process owns; return whether it still holds."""
        return self.owner.renew()

    def disown(self) -> None:
        """Own nothing any more, after `holds` was false: this process may begin anew."""
        self.owner.disown()

    def work(self, now: float, limit: int, without: Collection[int] = ()) -> list[Row]:
        """Return open instances that no other process owns and that can go on."""
        # What this process owns and does not run: the answer to its taking was lost.
        unowned, living = self._not_owned_by(self.owner.living() - {self.owner.name})
        known = f" AND number NOT IN ({', '.join('?' * len(without))})" if without else ""
        return [
            row
            for row in self._rows(
                f"WHERE {unowned}{known} AND ("
                f"{_OPEN} AND (phase = 'running' OR due <= ?"
                " OR number IN (SELECT instance FROM inbox))"
                f" OR phase = 'suspended' AND number IN"
                f" (SELECT instance FROM inbox WHERE asks = {STEERS})) ORDER BY number LIMIT ?",
                (*living, *without, now, limit),
            )
            if not row.damage
        ]

    def next_due(self) -> float | None:
        """Return when the first timer is due of the instances that nobody alive owns."""
        unowned, living = self._not_owned_by(self.owner.living())
        query = f"SELECT min(due) FROM instances WHERE due IS NOT NULL AND {unowned}"
        ((due,),) = self.database.query(query, living)
        return None if due is None else float(due)

    @staticmethod
    def _not_owned_by(names: set[str]) -> tuple[str, tuple[str, ...]]:
        """Return a condition on rows, with its values."""
        values = tuple(names)
        return f"owner NOT IN ({', '.join('?' * len(values))})" if values else "1 = 1", values

    def release(self, rows: Iterable[Row]) -> None:
        """Let other processes have instances."""
        numbers = sorted((each.number, each.epoch) for each in rows)

        def work() -> None:
            for each in numbers:
                self.database.defer(
                    "UPDATE instances SET owner = '' WHERE number = ? AND epoch = ?", each
                )

        if numbers:
            self.atomically(work)

    def damage(self) -> list[str]:
        """Return what is wrong with the journal as a file, and with rows of no instance."""
        found = [f"{self.place}: {each}" for each in self.database.damage()]
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
        return Row(number, identifier, "?", "", {}, "", "damaged", 0, 0, 0.0, 0.0, None, damage)
