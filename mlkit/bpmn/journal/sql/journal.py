"""The journal in a database: every event of every instance, durable before anything follows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlkit.bpmn.engine.events import AnyEvent, Cancel, Hop
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.artifacts import ArtifactStore
from mlkit.bpmn.journal.external import instance_of
from mlkit.bpmn.journal.owner import Owner
from mlkit.bpmn.journal.records import Append, Arrivals, Changes, Delivered, Log, Recorded, Row
from mlkit.bpmn.journal.sql.absences import SqlAbsences
from mlkit.bpmn.journal.sql.archive import SqlArchive
from mlkit.bpmn.journal.sql.audit import SqlAudit
from mlkit.bpmn.journal.sql.definitions import SqlDefinitions
from mlkit.bpmn.journal.sql.deployments import SqlDeployments
from mlkit.bpmn.journal.sql.event_writer import EventWriter
from mlkit.bpmn.journal.sql.external import SqlExternalTasks
from mlkit.bpmn.journal.sql.history import History
from mlkit.bpmn.journal.sql.index import SqlIndex
from mlkit.bpmn.journal.sql.instances import SqlInstances
from mlkit.bpmn.journal.sql.logouts import SqlLogouts
from mlkit.bpmn.journal.sql.mailbox import SqlMailbox
from mlkit.bpmn.journal.sql.outbox import SqlOutbox
from mlkit.bpmn.journal.sql.ownership import SqlOwnership
from mlkit.bpmn.journal.sql.retention import SqlRetention
from mlkit.bpmn.journal.sql.running_attempts import SqlRunningAttempts
from mlkit.bpmn.journal.sql.schedules import SqlSchedules
from mlkit.bpmn.journal.sql.schema import COMPONENTS
from mlkit.bpmn.journal.sql.shared_artifacts import SharedArtifacts
from mlkit.bpmn.journal.sql.stores import SqlStores
from mlkit.storage.database import Database, Result, migrate

if TYPE_CHECKING:  # Who only lists instances needs no engine.
    from mlkit.bpmn.engine.engine import Engine


class SqlJournal:
    """A journal in a database: the parts that the work is in, as the one that the protocol has.

    Args:
        database: Where the events are.
        owner: This process, as one that owns instances.
        folder: The state folder, where artifacts and working folders are.
        url: Where others find the database, without a password; None for a file in the folder.
        artifacts: Where hosts share stored values; None: as recorded in the journal, or in the
            folder.

    Raises:
        ConfigurationError: The journal is one of a newer mlkit.
    """

    def __init__(
        self,
        database: Database,
        owner: Owner,
        folder: Path,
        url: str | None = None,
        artifacts: str | None = None,
    ) -> None:
        self.folder = folder
        self.url = url
        self.database = database
        self.owner = owner
        self.schedules = SqlSchedules(database)
        self.mailbox = SqlMailbox(database, self.schedules.note_signal)
        self.stores = SqlStores(database, self.schedules.note_store)
        self.external = SqlExternalTasks(database)
        self.outbox = SqlOutbox(database, owner.is_alive)
        self.absences = SqlAbsences(database)
        self.deployments = SqlDeployments(database)
        self.index = SqlIndex(database)
        self.audit = SqlAudit(database)
        self.logouts = SqlLogouts(database)
        self.running_attempts = SqlRunningAttempts(database)
        self.retention = SqlRetention(database)
        self._history = History(database)
        self._definitions = SqlDefinitions(database)
        self._instances = SqlInstances(database, owner.is_alive, str(url or folder))
        self._ownership = SqlOwnership(database, owner, self._instances)
        self._writer = EventWriter(database, self.mailbox, self.index, self.outbox, self.external)
        self._shared = SharedArtifacts(database, folder, artifacts)
        self._arrivals: Arrivals | None = None
        self._here: Collection[int] | None = None
        self._handed = 0
        self._most = 1
        try:
            migrate(database, COMPONENTS)
        except BaseException:
            database.close()
            raise

    @cached_property
    def artifacts(self) -> ArtifactStore:
        """The stored values.

        Raises:
            UsageError, ConfigurationError, ServiceUnavailable: The shared store cannot be used.
        """
        return self._shared.open()

    def share_artifacts(self) -> None:
        """Use the shared store of this process, which others that open the journal find then."""
        self._shared.share()

    def close(self) -> None:
        """Release what this process owns, and close the database."""
        self.owner.close()
        self.database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all of a block durable at once, or nothing of it."""
        with self._noted(), self.database.transaction():
            yield

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Let the parts note what they read and write in the transaction of a block."""
        self.deployments.keep_newest(True)
        try:
            yield
        except BaseException:  # What the index has noted was undone.
            self.index.forget()
            raise
        finally:
            self.deployments.keep_newest(False)

    def atomically(self, work: Callable[[], Result]) -> Result:
        """Do a work in a transaction, and again where it was the victim of a deadlock."""
        attempts = itertools.count()

        def attempt() -> Result:
            if next(attempts):  # What the one before has noted was undone.
                self.index.forget()
            return work()

        with self._noted():
            return self.database.atomically(attempt)

    def relaxed(self) -> AbstractContextManager[None]:
        """Let the transactions of a block be durable no later than the next one outside of it."""
        return self.database.relaxed()

    def wait(self, timeout: float) -> bool:
        """Wait, at most `timeout` seconds, until another connection delivers something."""
        return self.database.wait(timeout)

    def bell(self) -> int | None:
        """Return a file descriptor that can be read when `wait` would return; None: no such."""
        return self.database.bell()

    def archive(self) -> SqlArchive:
        """Return all rows as lines, to be moved to another journal."""
        return SqlArchive(self.database)

    def damage(self) -> list[str]:
        """Return what is wrong with the journal as a file, and with rows of no instance."""
        found = [f"{self.database.place}: {each}" for each in self.database.damage()]
        parts = (
            self.mailbox, self.stores, self.deployments, self.schedules, self.outbox, self.absences,
        )  # fmt: skip
        return [*found, *(each for part in parts for each in part.damage())]

    # -- definitions and instances ---------------------------------------------------------

    def store_definition(self, file: str, content: bytes, resources: Mapping[str, str]) -> str:
        """Keep, inside a transaction, a diagram with the files that it uses; return its hash."""
        return self._definitions.store(file, content, resources)

    def definition(self, sha256: str) -> tuple[str, bytes, dict[str, str]]:
        """Return the file name, content and resources of a stored diagram."""
        return self._definitions.get(sha256)

    def create(
        self, process: str, definition: str, options: dict[str, Any], key: str, at: float
    ) -> Row:
        """Add an instance that has no event yet, inside a transaction."""
        if self._arrivals is None:
            return self._instances.create(process, definition, options, key, at)
        # From now on it is this process's: nobody has to find and take it.
        row = self._instances.create_owned(
            process, definition, options, key, at, self.owner.name, self._most
        )
        self._arrivals.created.append(row)
        if self._here is not None:
            self._arrivals.new[row.number] = row
        return row

    def fork(self, row: Row, upto: int, definition: str, options: dict[str, Any]) -> Row:
        """Add, inside a transaction, an instance that begins with another one's first events."""
        new = self._instances.fork(row, upto, definition, options)
        self.mailbox.on_delivery(new.number)
        return new

    def find(self, identifier: str) -> Row:
        """Return an instance by its id or the beginning of it, four characters at least."""
        return self._instances.find(identifier)

    def get(self, number: int, keep: bool = False) -> Row:
        """Return an instance by its number; `keep` it so until the transaction ends."""
        return self._instances.get(number, keep)

    def rows_of(self, numbers: Iterable[int]) -> list[Row]:
        """Return those instances of some numbers that there are, oldest first."""
        return self._instances.rows_of(numbers)

    def rows(self) -> list[Row]:
        """Return all instances, oldest first; those whose rows are damaged are marked."""
        return self._instances.rows()

    def open_rows(self) -> list[Row]:
        """Return the instances that have not ended, oldest first, with those that are damaged."""
        return self._instances.open_rows()

    def rows_with_tasks(self) -> list[Row]:
        """Return those of `open_rows` in which user tasks may wait."""
        return self._instances.rows_with_tasks()

    # -- events ----------------------------------------------------------------------------

    def append(self, row: Row, sequence: int, state: State, changes: Changes) -> int:
        """Append events inside a transaction; return the new sequence number."""
        return self.append_all([Append(row, sequence, state, changes)])[row.number]

    def append_all(self, appends: Sequence[Append]) -> dict[int, int]:
        """Append events of several instances inside a transaction; return the new numbers."""
        return self._writer.append_all(appends)

    def abandon(self, row: Row, event: Cancel, at: float) -> None:
        """End an instance whose events cannot be replayed, inside a transaction."""
        self._writer.abandon(row, event, at)

    def replay(
        self, row: Row, engine: Engine, recorded: Recorded | None = None
    ) -> tuple[State, int]:
        """Return an instance's state and the number of its last event."""
        return self._history.replay(row, engine, recorded)

    def load_recorded(self, rows: Sequence[Row]) -> Iterator[tuple[Row, Recorded | None]]:
        """Yield instances with what `replay` needs of them, many of which are read together."""
        return self._history.load_recorded(rows)

    def follow(
        self,
        row: Row,
        engine: Engine,
        state: State,
        after: int,
        recorded: Recorded | None = None,
    ) -> Iterator[tuple[int, AnyEvent]]:
        """Apply an instance's events after one to a state; yield each that is, with its number."""
        return self._history.follow(row, engine, state, after, recorded)

    def events(self, row: Row) -> Iterator[tuple[float, AnyEvent, list[Hop]]]:
        """Yield an instance's events with their times and traces."""
        return self._history.events(row)

    def traces(self, instances: Sequence[int], most: int) -> Iterator[tuple[float, Hop]]:
        """Yield what instances passed, with the times: their newest events, up to a number."""
        return self._history.traces(instances, most)

    def logs(self, row: Row) -> list[Log]:
        """Return what an instance's tasks printed, in the order that they ended."""
        return self._history.logs(row)

    # -- ownership -------------------------------------------------------------------------

    def register(self) -> str:
        """Let others see that this process uses the journal; return its name among them."""
        return self._ownership.register()

    def is_used(self) -> bool:
        """Return whether another process that lives owns instances, or has registered."""
        return self._ownership.is_used()

    def is_owned(self, row: Row) -> bool:
        """Return whether a live process owns an instance."""
        return self._ownership.is_owned(row)

    def own(self, row: Row) -> Row | None:
        """Take an instance; return it with its new epoch, None where another process owns it."""
        taken = self.take([row])
        return self._instances.readable(taken[0]) if taken else None

    @contextmanager
    def gathering(
        self, adopts: bool, here: Collection[int] | None = None, most: int = 1
    ) -> Iterator[Arrivals]:
        """Note what the transactions of a block leave for whoever runs instances."""
        found = Arrivals()
        self._arrivals, self._here, self._most = found if adopts else None, here, most
        known, self.mailbox.on_delivery = self.mailbox.on_delivery, found.delivered.add
        try:
            yield found
        finally:
            self._arrivals = self._here = None
            self.mailbox.on_delivery = known
            self._instances.forget_reserved()
            self.external.foresee((), ())

    def foresee(self, tasks: Collection[str]) -> None:
        """Claim the instances of external tasks, and read those tasks, all together."""
        self.external.foresee((), ())
        arrivals = self._arrivals
        if arrivals is None or self._here is None or not tasks:
            return
        # A task is read after its instance is claimed: from then on nobody else ends it.
        taken, read = self.database.query_together(
            [self._ownership.taking({instance_of(e) for e in tasks}), self.external.reading(tasks)]
        )
        rows = self._ownership.read_taken(taken)
        arrivals.taken += rows
        arrivals.new |= {each.number: each for each in rows}
        self.external.foresee(read, {each.number for each in rows})

    def claim(self, number: int) -> Row:
        """Return, inside a transaction, an instance for which an event comes next."""
        arrivals, here = self._arrivals, self._here
        if arrivals is None or here is None or number in here:
            return self.get(number, keep=True)
        if number not in arrivals.new:
            for row in self.take_free([number]):
                arrivals.taken.append(row)
                arrivals.new[number] = row
        return arrivals.new.get(number) or self.get(number, keep=True)

    def hand(self, number: int, event: AnyEvent, asks: bool = True) -> int:
        """Deliver an event, inside a transaction; return its number for the verdict about it."""
        arrivals = self._arrivals
        if arrivals is None or number not in arrivals.new:
            if asks:
                return self.mailbox.deliver(number, event, asks=True)
            self.mailbox.enqueue(number, event)
            return 0
        self._handed -= 1
        arrivals.handed.append(Delivered(self._handed, number, event))
        return self._handed

    def take_free(self, numbers: Collection[int]) -> list[Row]:
        """Take, inside a transaction, those of some open instances that nobody owns or locks."""
        return self._ownership.take_free(numbers)

    def take(self, rows: Iterable[Row]) -> list[Row]:
        """Take instances for this process; return those that it got, with their new epochs."""
        return self._ownership.take(rows)

    def holds(self) -> bool:
        """Return whether this process certainly still owns what it took; else it must not act."""
        return self.owner.holds()

    def renew(self) -> bool:
        """Extend the lease of all that this process owns; return whether it still holds."""
        return self.owner.renew()

    def disown(self) -> None:
        """Own nothing any more, after `holds` was false: this process may begin again."""
        self.owner.disown()

    def work(self, now: float, limit: int, without: Collection[int] = ()) -> list[Row]:
        """Return open instances that no other process owns and that can go on."""
        return self._ownership.work(now, limit, without)

    def next_due(self) -> float | None:
        """Return when the first timer is due of the instances that nobody alive owns."""
        return self._ownership.next_due()

    def release(self, rows: Iterable[Row]) -> None:
        """Let other processes have instances."""
        self._ownership.release(rows)
