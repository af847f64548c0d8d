"""What a back end of the journal offers. One contract suite holds for all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mlkit.bpmn.engine.events import AnyEvent, Cancel, Hop
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.artifacts import ArtifactStore
from mlkit.bpmn.journal.external import ExternalTasks
from mlkit.bpmn.journal.parts import (
    Absences,
    Archive,
    Audit,
    Deployments,
    Index,
    Logouts,
    Mailbox,
    Outbox,
    Retention,
    RunningAttempts,
    Schedules,
    Stores,
)
from mlkit.bpmn.journal.records import Append, Arrivals, Changes, Log, Recorded, Row

if TYPE_CHECKING:
    from mlkit.bpmn.engine.engine import Engine


Result = TypeVar("Result")


class Journal(Protocol):
    """The journal of a state folder.

    An instance is owned by one process at a time: `own` raises its epoch, and `append` refuses
    whoever has an older one. An instance at rest is owned by nobody: a process takes it when there
    is `work` for it, and releases it when it rests again.

    Attributes:
        folder: The state folder, where artifacts and working folders are.
        url: Where the database is that hosts share, without a password; None for a file in the
            folder.
    """

    folder: Path
    url: str | None

    @property
    def mailbox(self) -> Mailbox:
        """The inboxes, messages and subscriptions."""

    @property
    def artifacts(self) -> ArtifactStore:
        """The stored values."""

    @property
    def external(self) -> ExternalTasks:
        """The tasks that external workers do."""

    @property
    def schedules(self) -> Schedules:
        """When deployed processes start by themselves."""

    @property
    def deployments(self) -> Deployments:
        """The deployed definitions."""

    @property
    def index(self) -> Index:
        """What lists and searches read."""

    @property
    def audit(self) -> Audit:
        """Who did what."""

    @property
    def running_attempts(self) -> RunningAttempts:
        """Attempts that run for a while."""

    @property
    def logouts(self) -> Logouts:
        """The sessions that were ended before they expired."""

    @property
    def stores(self) -> Stores:
        """The data stores."""

    @property
    def outbox(self) -> Outbox:
        """The mail that is to be sent."""

    @property
    def absences(self) -> Absences:
        """What people choose: substitutes and mail."""

    def close(self) -> None:
        """Release what this process owns, and close."""

    def transaction(self) -> AbstractContextManager[None]:
        """Make all of a block durable at once, or nothing of it."""

    def atomically(self, work: Callable[[], Result]) -> Result:
        """Do a work in a transaction, and again where it was the victim of a deadlock."""

    def relaxed(self) -> AbstractContextManager[None]:
        """Let the transactions of a block be durable no later than the next one outside of it."""

    def wait(self, timeout: float) -> bool:
        """Wait, at most `timeout` seconds, until another connection delivers something.

        Returns:
            Whether one did; a look at the journal may still find nothing.
        """

    def bell(self) -> int | None:
        """Return a file descriptor that can be read when `wait` would return; None: no such."""

    def share_artifacts(self) -> None:
        """Use the shared store of this process, which others that open the journal find then.

        Raises:
            UsageError, ConfigurationError, ServiceUnavailable: The store cannot be used.
        """

    def store_definition(self, file: str, content: bytes, resources: Mapping[str, str]) -> str:
        """Keep, inside a transaction, a diagram with the files that it uses; return its hash."""

    def definition(self, sha256: str) -> tuple[str, bytes, dict[str, str]]:
        """Return the file name, content and resources of a stored diagram."""

    def create(
        self, process: str, definition: str, options: dict[str, Any], key: str, at: float
    ) -> Row:
        """Add an instance that has no event yet, inside a transaction."""

    def take_free(self, numbers: Collection[int]) -> list[Row]:
        """Take, inside a transaction, those of some open instances that nobody owns or locks.

        This process has to hold; what is left out may be somebody else's work, see `work`.
        """

    def foresee(self, tasks: Collection[str]) -> None:
        """Claim, inside a transaction, the instances of external tasks, and read those tasks.

        What workers report of them in the same transaction has then all that it needs.

        Args:
            tasks: Their ids; none, or others than there are, are no error.
        """

    def claim(self, number: int) -> Row:
        """Return, inside a transaction, an instance for which an event comes next.

        It is taken where `gathering` lets it, else kept as it is until the transaction ends.
        """

    def hand(self, number: int, event: AnyEvent, asks: bool = True) -> int:
        """Deliver an event, inside a transaction; return its number for the verdict about it.

        For an instance that the transaction has made or claimed it comes into no inbox: whoever
        gathers applies it in the same transaction.

        Args:
            number: The instance.
            event: What it is for.
            asks: Whether somebody waits for the verdict; else the number may be 0.
        """

    def gathering(
        self, adopts: bool, here: Collection[int] | None = None, most: int = 1
    ) -> AbstractContextManager[Arrivals]:
        """Note what the transactions of a block leave for whoever runs instances.

        The block clears it whenever it begins a transaction, which may be done again.

        Args:
            adopts: Whether this process, which holds, owns what they create.
            here: The instances that it moves already, where it applies in the same transaction what
                is handed to others; None: it does not.
            most: How many instances a transaction of the block creates, about.
        """

    def fork(self, row: Row, upto: int, definition: str, options: dict[str, Any]) -> Row:
        """Add, inside a transaction, an instance that begins with another one's first events."""

    def find(self, identifier: str) -> Row:
        """Return an instance by its id or the beginning of it, four characters at least.

        Raises:
            UsageError: It is not an id.
            InputMissing: None or several have it.
            Damaged: Its row cannot be read.
        """

    def get(self, number: int, keep: bool = False) -> Row:
        """Return an instance by its number.

        `keep` it as it is until the transaction ends, so that it cannot end before an event that
        is delivered to it.
        """

    def rows_of(self, numbers: Iterable[int]) -> list[Row]:
        """Return those instances of some numbers that there are, oldest first.

        Raises:
            Damaged: A row cannot be read.
        """

    def rows(self) -> list[Row]:
        """Return all instances, oldest first."""

    def open_rows(self) -> list[Row]:
        """Return the instances that have not ended, oldest first, with those that are damaged."""

    def rows_with_tasks(self) -> list[Row]:
        """Return those of `open_rows` in which user tasks may wait."""

    def append(self, row: Row, sequence: int, state: State, changes: Changes) -> int:
        """Append events inside a transaction; return the new sequence number.

        Raises:
            TakenOver: Another process owns the instance now.
        """

    def append_all(self, appends: Sequence[Append]) -> dict[int, int]:
        """Append events of several instances inside a transaction; return the new sequence numbers.

        Raises:
            TakenOver: Another process owns one of the instances now.
        """

    def abandon(self, row: Row, event: Cancel, at: float) -> None:
        """End an instance whose events cannot be replayed, inside a transaction.

        Raises:
            TakenOver: Another process owns the instance now.
        """

    def replay(
        self, row: Row, engine: Engine, recorded: Recorded | None = None
    ) -> tuple[State, int]:
        """Return an instance's state and the number of its last event.

        Args:
            row: The instance.
            engine: The engine of its definition.
            recorded: What `recorded` has read of it, whose state is changed; None: it is read now.

        Raises:
            Damaged: An event cannot be read.
        """

    def follow(
        self,
        row: Row,
        engine: Engine,
        state: State,
        after: int,
        recorded: Recorded | None = None,
    ) -> Iterator[tuple[int, AnyEvent]]:
        """Apply an instance's events after one to a state; yield each that is, with its number.

        Those of an older version, which the instance has left, are yielded and not applied.

        Raises:
            Damaged: An event cannot be read, or one is missing.
        """

    def load_recorded(self, rows: Sequence[Row]) -> Iterator[tuple[Row, Recorded | None]]:
        """Yield instances with what `replay` needs of them, many of which are read together."""

    def events(self, row: Row) -> Iterator[tuple[float, AnyEvent, list[Hop]]]:
        """Yield an instance's events with their times and traces."""

    def traces(self, instances: Sequence[int], most: int) -> Iterator[tuple[float, Hop]]:
        """Yield what instances passed, with the times: their newest events, up to a number."""

    def logs(self, row: Row) -> list[Log]:
        """Return what an instance's tasks printed, in the order that they ended."""

    @property
    def retention(self) -> Retention:
        """What goes when it is old."""

    def archive(self) -> Archive:
        """Return all rows as lines, to be moved to another journal."""

    def register(self) -> str:
        """Let others see that this process uses the journal, before it owns an instance.

        Returns:
            Its name among them.

        Raises:
            ServiceUnavailable: Others may have seen it as gone meanwhile; see `disown`.
        """

    def is_used(self) -> bool:
        """Return whether another process that lives owns instances, or has registered."""

    def own(self, row: Row) -> Row | None:
        """Take an instance for this process; return it with its new epoch.

        None where another process owns it.
        """

    def take(self, rows: Iterable[Row]) -> list[Row]:
        """Take instances for this process; return those that it got, with their new epochs."""

    def holds(self) -> bool:
        """Return whether this process certainly still owns what it took.

        Where it does not, it must not act any more: its instances may be another one's.
        """

    def renew(self) -> bool:
        """Extend the lease of all that this process owns; return whether it still holds."""

    def disown(self) -> None:
        """Own nothing any more, after `holds` was false: this process may begin again."""

    def work(self, now: float, limit: int, without: Collection[int] = ()) -> list[Row]:
        """Return open instances that no other process owns and that can go on.

        Something is in their inboxes, a timer is due, or the process that ran them has died.

        Args:
            now: Timers that are due until then count, in seconds since 1970.
            limit: How many at most.
            without: The numbers of instances that are left out: those that this process runs.
                What it owns beside them is found again, since the answer to `take` may be lost.
        """

    def next_due(self) -> float | None:
        """Return when the first timer is due of the instances that nobody alive owns."""

    def release(self, rows: Iterable[Row]) -> None:
        """Let other processes have instances."""

    def is_owned(self, row: Row) -> bool:
        """Return whether a live process owns an instance."""

    def damage(self) -> list[str]:
        """Return what is wrong with the journal as a file, and with rows of no instance."""
