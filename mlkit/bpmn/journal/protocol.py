"""What a back end of the journal offers. One contract suite holds for all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mlkit.bpmn.engine.events import AnyEvent, Cancel, Hop
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.external import ExternalTasks
from mlkit.bpmn.journal.records import (
    Absence,
    Changes,
    Delivered,
    Log,
    Mail,
    NewMail,
    Notice,
    Row,
    Stored,
)

if TYPE_CHECKING:
    from mlkit.bpmn.engine.engine import Engine
    from mlkit.bpmn.journal.sql.archive import SqlArchive
    from mlkit.bpmn.journal.sql.audit import SqlAudit
    from mlkit.bpmn.journal.sql.deployments import SqlDeployments
    from mlkit.bpmn.journal.sql.index import SqlIndex
    from mlkit.bpmn.journal.sql.retention import SqlRetention
    from mlkit.bpmn.journal.sql.schedules import SqlSchedules


Result = TypeVar("Result")


class Stores(Protocol):
    """Data stores: values that outlive the instances, by the store's name."""

    def set(self, name: str, value: Any, instance: int = 0, at: float = 0.0) -> None:
        """Set a data store, inside a transaction of the caller."""

    def get(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the values of data stores; null for those that nobody has set."""

    def all(self) -> list[Stored]:
        """Return everything that the data stores hold, by name."""


class Mailbox(Protocol):
    """Durable delivery: inboxes, messages that nobody took yet, subscriptions.

    Every method but `inbox` and `verdict` runs inside a transaction of the caller.
    """

    def deliver(self, instance: int, event: AnyEvent, asks: bool = False) -> int:
        """Put an event into an instance's inbox; return the row's number.

        `asks` keeps what the owner decides about it for `verdict`.
        """

    def inbox(self, instances: Iterable[int]) -> list[Delivered]:
        """Return the events that wait for these instances, oldest first."""

    def verdict(self, row: int) -> str | None:
        """Return why an event was refused, empty where it was taken; None: not decided yet."""

    def lock(self, messages: Iterable[tuple[str, str]]) -> None:
        """Keep others from these messages, by name and key, until the transaction ends.

        A transaction that sends or awaits several locks all of them first, in one call.
        """

    def subscribe(self, instance: int, activation: int, name: str, key: str, now: float) -> None:
        """Wait for a message; one that is there already is delivered at once."""

    def listen(self, instance: int, activation: int, name: str) -> None:
        """Wait for a signal."""

    def unsubscribe(self, instance: int, activation: int) -> None:
        """Wait no longer."""

    def send(self, name: str, key: str, variables: dict[str, Any], expires: float) -> int | None:
        """Deliver a message to the one that waits for it, or keep it.

        Returns:
            The number of the instance that gets it; None where it is kept.

        Raises:
            UsageError: Several wait for it.
        """

    def waiting(self, name: str) -> list[tuple[int, int]]:
        """Return the instances and activations that wait for a message, whatever its key."""

    def keep(self, name: str, key: str, variables: dict[str, Any], expires: float) -> None:
        """Keep a message for the first that will wait for it."""

    def broadcast(self, name: str, variables: dict[str, Any], sender: int = 0) -> list[int]:
        """Deliver a signal to every instance that waits for it, except the sender."""


class Outbox(Protocol):
    """Mail that is to be sent; every method that writes runs inside a transaction of the caller."""

    def notice(self, instance: int, activation: int, kind: str, at: float) -> None:
        """Note that a user task asks for somebody."""

    def notices(self, limit: int) -> list[Notice]:
        """Return the oldest notices."""

    def add(self, mails: Iterable[NewMail], at: float) -> None:
        """Queue mails; one whose Message-ID is there already is not added."""

    def turn(self, notice: Notice, mails: Sequence[NewMail], at: float) -> bool:
        """Put mails in the place of a notice; return whether it was still there."""

    def is_due(self) -> bool:
        """Return whether a mail could be claimed; this only reads."""

    def claim(self, owner: str, limit: int, seconds: float) -> list[Mail]:
        """Lease mails that are due, for so many seconds; nobody else gets them meanwhile."""

    def renew(self, mail: Mail, owner: str, seconds: float) -> bool:
        """Lengthen a lease; return whether it was still this owner's."""

    def settle(self, mail: Mail, state: str, error: str = "", again: float | None = None) -> None:
        """Record how sending went: `sent`, `failed`, `dropped`, or `queued` for another time."""

    def mails(self, state: str | None = None, limit: int = 1000) -> list[Mail]:
        """Return mails, newest first; those of one state, where it is named."""

    def counts(self) -> dict[str, int]:
        """Return how many mails there are in each state; notices count as queued."""

    def retry(self, wanted: Iterable[int] | None = None) -> int:
        """Send mails again that failed or are delayed, of some numbers or all; return how many."""


class Absences(Protocol):
    """What people choose: substitutes and mail; whoever writes is inside a transaction."""

    def add(
        self, person: str, substitute: str, begins: float, ends: float, by: str, at: float
    ) -> Absence:
        """Name a substitute for a time."""

    def revoke(self, number: int, by: str, at: float) -> bool:
        """End an absence before its time; return whether it was still to end."""

    def all(self) -> list[Absence]:
        """Return all absences, those of the past too, oldest first."""

    def now(self, at: float) -> dict[str, str]:
        """Return who stands in for whom at a time; of several, the one named last."""

    def choose_digest(self, person: str, daily: bool, by: str, at: float) -> None:
        """Let a person have one mail a day, or one for each task."""

    def digests(self) -> dict[str, bool]:
        """Return what people chose: whether they want one mail a day."""


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
    def external(self) -> ExternalTasks:
        """The tasks that external workers do."""

    @property
    def schedules(self) -> SqlSchedules:
        """When deployed processes start by themselves."""

    @property
    def deployments(self) -> SqlDeployments:
        """The deployed definitions."""

    @property
    def index(self) -> SqlIndex:
        """What lists and searches read."""

    @property
    def audit(self) -> SqlAudit:
        """Who did what."""

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

    def wait(self, timeout: float) -> bool:
        """Wait, at most `timeout` seconds, until another connection delivers something.

        Returns:
            Whether one did; a look at the journal may still find nothing.
        """

    def bell(self) -> int | None:
        """Return a file descriptor that can be read when `wait` would return; None: no such."""

    def store_definition(self, file: str, content: bytes, resources: Mapping[str, str]) -> str:
        """Keep, inside a transaction, a diagram with the files that it uses; return its hash."""

    def definition(self, sha256: str) -> tuple[str, bytes, dict[str, str]]:
        """Return the file name, content and resources of a stored diagram."""

    def create(
        self, process: str, definition: str, options: dict[str, Any], key: str, at: float
    ) -> Row:
        """Add an instance that has no event yet, inside a transaction."""

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

    def abandon(self, row: Row, event: Cancel, at: float) -> None:
        """End an instance whose events cannot be replayed, inside a transaction.

        Raises:
            TakenOver: Another process owns the instance now.
        """

    def replay(self, row: Row, engine: Engine) -> tuple[State, int]:
        """Return an instance's state and the number of its last event.

        Raises:
            Damaged: An event cannot be read.
        """

    def events(self, row: Row) -> Iterator[tuple[float, AnyEvent, list[Hop]]]:
        """Yield an instance's events with their times and traces."""

    def logs(self, row: Row) -> list[Log]:
        """Return what an instance's tasks printed, in the order that they ended."""

    @property
    def retention(self) -> SqlRetention:
        """What goes when it is old."""

    def archive(self) -> SqlArchive:
        """Return the tables as lines, to be moved to another journal."""

    def register(self) -> None:
        """Let others see that this process uses the journal, before it owns an instance."""

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
        """Own nothing any more, after `holds` was false: this process may begin anew."""

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
