"""What the parts of a journal offer, whatever back end holds them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Protocol

from mlkit.bpmn.definition.start_timers import StartTimer
from mlkit.bpmn.engine.events import AnyEvent
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.listings import (
    Alike,
    Criteria,
    Found,
    OpenTask,
    Retried,
    Stopped,
    Throughput,
    Word,
)
from mlkit.bpmn.journal.notices import Absence, Audited, Mail, NewMail, Notice
from mlkit.bpmn.journal.records import (
    Begun,
    Delivered,
    Deployed,
    Moved,
    Row,
    RunningAttempt,
    Scheduled,
    StoreChange,
    Stored,
)


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

    def enqueue(self, instance: int, event: AnyEvent, asks: bool = False) -> None:
        """Put an event into an instance's inbox where nobody needs the row's number at once."""

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
        """Lease mails that are due, for a number of seconds; nobody else gets them meanwhile.

        Args:
            owner: The process that sends them, as `Journal.register` names it.
            limit: How many, at most.
            seconds: For how long.
        """

    def find_abandoned(self) -> list[str]:
        """Return the senders that have claimed mails and whose processes are gone."""

    def release(self, owners: Iterable[str]) -> None:
        """End the leases of senders before their time."""

    def renew(self, mail: Mail, owner: str, seconds: float) -> bool:
        """Lengthen a lease; return whether it was still this owner's."""

    def settle(
        self, mail: Mail, owner: str, state: str, error: str = "", again: float | None = None
    ) -> None:
        """Record how sending went: `sent`, `failed`, `dropped`, or `queued` for another time."""

    def find(self, message: str) -> Mail | None:
        """Return the mail with a Message-ID, in whichever state; None where there is none."""

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


class Schedules(Protocol):
    """When deployed processes start by themselves; whoever writes is inside a transaction."""

    def replace(self, process: str, timers: Iterable[StartTimer]) -> None:
        """Let a process start at these timers, and at no other ones.

        A timer that is the same as before goes on as it is: it keeps its next time, and stays
        paused.
        """

    def due(self, now: float) -> list[Scheduled]:
        """Return what is due and not paused, and what waits for the end of its last start."""

    def next_due(self, after: float = 0.0) -> float | None:
        """Return when the next start after a time is due, both in seconds since 1970."""

    def update(self, before: Scheduled, after: Scheduled) -> bool:
        """Write a schedule as it goes on, unless somebody else has changed it meanwhile."""

    def note(self, scheduled: Scheduled, instance: int) -> None:
        """Note, after `update`, the instance that a schedule has started last."""

    def all(self) -> list[Scheduled]:
        """Return all schedules, by process and element."""

    def require(self, process: str, element: str | None = None) -> Scheduled:
        """Return a schedule.

        Raises:
            InputMissing: The process has no such timer, or several and none is named.
        """

    def expect(self, process: str, events: Iterable[tuple[str, str, str]]) -> None:
        """Let a process start at these events (element, kind, name).

        The kind is `message`, `signal`, or `condition` with the name of a data store.
        """

    def expecting(self, kind: str, name: str) -> list[str]:
        """Return the processes that a message or signal starts where nobody waits for it."""

    def take_changes(self) -> list[StoreChange]:
        """Take the changes of the data stores that conditions mention, oldest first."""

    def conditions(self) -> list[tuple[str, str, frozenset[str]]]:
        """Return the start events with conditions: process, element, the names they mention."""

    def take_starts(self, now: float) -> list[Begun]:
        """Take what signals, and messages that nobody else waits for, have begun."""


class Deployments(Protocol):
    """The deployed definitions; whoever writes is inside a transaction."""

    def add(self, deployed: Deployed) -> Deployed:
        """Add a version of a process, unless its newest one is the same; return the newest."""

    def newest(self, process: str) -> Deployed | None:
        """Return the newest version of a process."""

    def require(self, process: str, version: int | None = None) -> Deployed:
        """Return a version of a process, the newest if none is named.

        Raises:
            InputMissing: It is not deployed.
        """

    def all(self) -> list[Deployed]:
        """Return the newest version of each process, by its key."""

    def versions(self, process: str) -> list[Deployed]:
        """Return all versions of a process, newest first."""

    def of_definition(self, process: str, definition: str) -> Deployed | None:
        """Return the version of a process that a stored definition is; None: not deployed."""

    def find_start(self, key: str) -> tuple[str, int] | None:
        """Return what was started by a key: the digest of the request, and the instance."""

    def remember(self, key: str, digest: str, instance: int, at: float) -> None:
        """Note what was started by a key."""


class FoundTasks(Protocol):
    """User tasks that were searched for."""

    def assignments(self) -> list[Alike]:
        """Return for whom they wait: those of a process that wait for the same people."""

    def oldest(self, assigned: Sequence[OpenTask], limit: int) -> list[OpenTask]:
        """Return the oldest of those that are assigned as one of some others is."""


class Index(Protocol):
    """What lists and searches read; a journal writes it in the transaction of the events."""

    def within(self, processes: Collection[str] | None) -> Index:
        """Return an index that reads the instances of some processes only; None: of all."""

    def damage(self, row: Row, state: State) -> list[str]:
        """Return what its tables, and an instance's row, hold otherwise than its events record."""

    def search(self, criteria: Criteria, before: int | None, limit: int) -> list[Found]:
        """Return instances, newest first, whose numbers lie below `before`."""

    def list_last_ended(self, limit: int) -> list[Found]:
        """Return the instances that ended last, newest end first."""

    def throughput(self, since: float) -> list[Throughput]:
        """Return what has ended since a time, by hour, process and state."""

    def count_open(self, process: str, definition: str) -> dict[tuple[str, str], int]:
        """Return how many tokens of a stored definition wait: by element and what they wait for.

        What waits is a `person`, `worker`, `retry`, `incident`, `timer`, `message`, `signal`,
        `condition`, `start`, `event`, `suspended` or a `join`; at the latter the id is that of
        the flow by which a token has come. What runs is not among them.
        """

    def counts(self) -> dict[str, int]:
        """Return how many instances have each status."""

    def task_count(self) -> int:
        """Return how many user tasks wait."""

    def incident_count(self) -> int:
        """Return how many incidents wait for somebody."""

    def tasks(
        self,
        names: Collection[str] | None,
        group: str | None,
        after: tuple[int, int],
        limit: int | None,
    ) -> list[OpenTask]:
        """Return user tasks that a person, or a group, may do, oldest instance first.

        Args:
            names: What tasks may call the person: an id, an address; None for anybody.
            group: The group; None for any.
            after: The instance and activation after which the list begins.
            limit: How many at most; None for all.
        """

    def find_tasks(self, words: Sequence[Word]) -> FoundTasks:
        """Return the user tasks that have all of some words; of none, all."""

    def elements_with_tasks(self) -> list[OpenTask]:
        """Return one user task of each element where some wait; whom it waits for is left out."""

    def assignments(self, words: Sequence[Word] = ()) -> list[Alike]:
        """Return for whom user tasks wait: those of a process that wait for the same people.

        Args:
            words: Only tasks that have all of these.
        """

    def oldest_tasks(
        self, assigned: Sequence[OpenTask], limit: int, words: Sequence[Word] = ()
    ) -> list[OpenTask]:
        """Return user tasks, oldest first, that are assigned as one of some others is.

        Args:
            assigned: The others.
            limit: How many at most.
            words: Only tasks that have all of these.
        """

    def list_incidents(
        self, process: str | None, element: str | None, after: tuple[int, int], limit: int
    ) -> list[Stopped]:
        """Return incidents, oldest instance first, of a process and at an element."""

    def list_retries(
        self, process: str | None, element: str | None, after: tuple[int, int], limit: int
    ) -> list[Retried]:
        """Return the tasks that wait for another attempt, as `list_incidents` does incidents."""

    def retry_count(self) -> int:
        """Return how many tasks wait for another attempt."""


class Audit(Protocol):
    """The audit log: entries are added inside a transaction of the caller, and never changed."""

    def add(self, entry: Audited) -> None:
        """Add an entry."""

    def entries(
        self, instance: str | None, before: int | None, limit: int
    ) -> list[tuple[int, Audited]]:
        """Return entries with their numbers, newest first, below a number."""


class RunningAttempts(Protocol):
    """Attempts that run for a while; what writes is called inside a transaction of the caller."""

    def write(self, found: Iterable[tuple[int, RunningAttempt]], at: float) -> None:
        """Write attempts of instances, by their numbers."""

    def remove(self, found: Iterable[tuple[int, int, int]]) -> None:
        """Remove attempts, by the numbers of instance, activation and attempt."""

    def of(self, row: Row) -> list[RunningAttempt]:
        """Return what is known of attempts of an instance, those that have ended too."""

    def read_progress(self, instances: Sequence[str]) -> Iterator[Moved]:
        """Yield how far instances have come, by their ids, and when an attempt printed last."""

    def moved_since(self, at: float, limit: int) -> list[Moved]:
        """Return those of all instances that have moved after a time, the last ones first."""


class Logouts(Protocol):
    """Sessions of browsers that were ended; `add` runs inside a transaction of the caller."""

    def add(self, session: str, expires: float, now: float) -> None:
        """End a session; those that have expired meanwhile are forgotten."""

    def version(self) -> tuple[int, int]:
        """Return what is another one when a session was ended since."""

    def all(self) -> dict[str, float]:
        """Return when each ended session expires, in seconds since 1970."""


class Retention(Protocol):
    """What is removed as it is old; whoever removes is inside a transaction."""

    def count(self, before: float) -> int:
        """Return how many instances have ended before a time."""

    def remove(self, before: float, limit: int) -> list[str]:
        """Remove the instances that ended first, before a time; return the ids of those removed."""

    def remove_messages(self, now: float) -> int:
        """Remove messages that nobody has taken in their time; return how many."""

    def remove_definitions(self) -> int:
        """Remove definitions that no instance has and that are not deployed; return how many."""

    def hashes(self) -> Iterator[str]:
        """Yield the hashes in all that is kept: of stored values, and of what they were made from.

        Some may be hashes of something else, and some come more than once.
        """


class Archive(Protocol):
    """All rows of a journal, to be moved; every method is called inside a transaction."""

    @property
    def tables(self) -> Collection[str]:
        """The names of the tables."""

    def freeze(self) -> None:
        """Keep others from writing until the transaction ends."""

    def is_empty(self) -> bool:
        """Return whether no table has a row."""

    def read(self, table: str) -> Iterator[bytes]:
        """Yield the rows of a table, a line of JSON each."""

    def write(self, table: str, lines: Iterable[bytes]) -> int:
        """Add rows to a table; return how many.

        Raises:
            BadData: They are not rows of it.
        """

    def finish(self) -> None:
        """Let numbers go on after those of the rows that were added; nobody owns an instance."""
