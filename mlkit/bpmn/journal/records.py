"""What a journal holds, whatever keeps it: rows, entries, and how they are written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import msgspec

from mlkit.bpmn.definition.start_timers import StartTimer
from mlkit.bpmn.engine.events import AnyEvent, Hop
from mlkit.bpmn.engine.state import State
from mlkit.errors import ConfigurationError, UsageError

OPEN = ("running", "interrupted", "waiting", "incident", "suspended")
"""The states of an instance that has not ended."""
ENDED = ("completed", "failed", "cancelled")
"""The states of one that has."""
MAIL_STATES = ("queued", "sent", "failed", "dropped")
STATES = ("running", "waiting", "incident", "suspended", *ENDED)
"""The states that lists and counts know: an interrupted instance counts as running."""
SHORTEST_ID = 4
CONDITION = "condition"
"""The kind of a start event that begins when a condition on data stores becomes true."""
MIGRATED = "migrated"
"""The option of an instance that has the number of the event that moved it to its version."""

EARLIEST, LATEST = -62_135_596_800.0, 253_402_300_799.0
"""The first and the last second of the years 1 to 9999, in seconds since 1970."""
Moment = Annotated[float, msgspec.Meta(ge=EARLIEST, le=LATEST)]
"""A time in seconds since 1970 that a calendar has."""

_ENCODER = msgspec.json.Encoder()
encode = _ENCODER.encode
DECODE_EVENT: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
DECODE_STATE = msgspec.json.Decoder(State)
DECODE_TRACE = msgspec.json.Decoder(list[Hop])


class Log(NamedTuple):
    """What one attempt at a task left, apart from its variables.

    Attributes:
        host: Where it ran: the machine and the process of mlkit; empty where that is not known.
    """

    element: str
    iteration: str
    attempt: int
    ended: Moment
    duration: float
    peak: int
    outcome: str
    stdout: str
    stderr: str
    host: str = ""


DECODE_LOG = msgspec.json.Decoder(Log)


class RunningAttempt(NamedTuple):
    """An attempt that runs.

    Attributes:
        began: In seconds since 1970.
        host: Where it runs, as a `Log` has it.
        stdout: The end of what it has printed so far.
    """

    activation: int
    element: str
    iteration: str
    attempt: int
    began: float
    host: str
    stdout: str
    stderr: str


class Moved(NamedTuple):
    """How far an instance has come.

    Attributes:
        updated: When its last event was, in seconds since 1970.
        printed: When more of what its attempts print was written last; None: nothing is.
    """

    id: str
    process: str
    status: str
    sequence: int
    updated: float
    printed: float | None


class Recorded(NamedTuple):
    """What an instance is replayed from.

    Attributes:
        state: The state to begin with; None: that of a new instance.
        after: The number of the last event that it has in it.
        events: The numbers, times, events and traces of those that follow.
    """

    state: State | None
    after: int
    events: list[tuple[int, float, bytes, bytes]]


class Row(msgspec.Struct, frozen=True):
    """What the journal knows of an instance without replaying it.

    Attributes:
        status: `running`, `interrupted` (it was running when its process died), `waiting`,
            `incident`, `suspended`, `completed`, `failed`, `cancelled`; `damaged` where the row
            cannot be read.
        epoch: How often it was taken over; whoever has an older one writes nothing more.
        sequence: The number of its last event.
        due: When its first timer fires; None where none runs.
        damage: What is wrong with the row.
    """

    number: int
    id: str
    process: str
    definition: str
    options: dict[str, Any]
    key: str
    status: str
    epoch: int
    sequence: int
    created: Moment
    updated: Moment
    due: float | None = None
    damage: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the instance has not ended."""
        return self.status in OPEN

    def require_readable(self, place: object) -> None:
        """Refuse a row that is damaged.

        Raises:
            Damaged: It is; `place` is where.
        """
        if self.damage:
            raise Damaged(place, self.id, f"its row is damaged: {self.damage}")


@dataclass(slots=True)
class Entry:
    """One event to append, with its trace, and what the task printed that it ended."""

    at: float
    event: AnyEvent
    trace: list[Hop]
    log: Log | None = None


@dataclass(slots=True)
class Changes:
    """What a commit adds for one instance.

    Attributes:
        entries: Its events, in order.
        verdicts: The inbox rows that were taken: why each was refused, empty where it was not.
        mails: What its tasks send.
        moved: Its row with another version of its definition, where it was moved to one.
    """

    entries: list[Entry] = field(default_factory=list)
    verdicts: dict[int, str] = field(default_factory=dict)
    mails: list[NewMail] = field(default_factory=list)
    moved: Row | None = None


class Append(NamedTuple):
    """What a commit adds for an instance, with where and when.

    Attributes:
        row: The instance, with the epoch of its owner.
        sequence: The number of its last event so far.
        state: The instance after the commit.
        changes: What is added.
    """

    row: Row
    sequence: int
    state: State
    changes: Changes

    @property
    def number(self) -> int:
        """The instance's number."""
        return self.row.number

    @property
    def after(self) -> int:
        """The number of its last event after the commit."""
        return self.sequence + len(self.changes.entries)

    @property
    def at(self) -> float:
        """When it was changed."""
        return self.changes.entries[-1].at if self.changes.entries else self.row.updated


class Delivered(NamedTuple):
    """An event in an inbox: the number of the row, the instance's, and the event."""

    row: int
    instance: int
    event: AnyEvent


class Stored(NamedTuple):
    """What a data store holds.

    Attributes:
        instance: The id of the instance that set it last; None where that is not known.
        updated: When, in seconds since 1970.
    """

    name: str
    value: Any
    instance: str | None
    updated: float


class Deployed(msgspec.Struct, frozen=True):
    """A version of a process that new instances may take.

    Attributes:
        definition: The hash of its stored definition.
        options: What its instances begin with: `tasks`, the bound callables.
        at: When it was deployed, in seconds since 1970.
        version: 1, 2, 3 ...; 0 before it has one.
        is_new: Whether this deployment made the version.
    """

    process: str
    definition: str
    name: str
    file: str
    options: dict[str, Any]
    at: float
    by: str
    version: int = 0
    is_new: bool = False


class Scheduled(msgspec.Struct, frozen=True):
    """A timer start event of the newest version of a process.

    Attributes:
        queued: Starts that wait until the last one has ended.
        instance: The number of the instance that it has started last; 0: none.
        last: When that was, in seconds since 1970.
        revision: Counts the changes.
    """

    timer: StartTimer
    paused: bool = False
    queued: int = 0
    instance: int = 0
    last: float | None = None
    revision: int = 0


class Begun(NamedTuple):
    """A start event that a message or signal has reached."""

    process: str
    element: str
    key: str
    variables: dict[str, Any]


class StoreChange(NamedTuple):
    """That a data store got another value; None where nobody had set it before."""

    name: str
    earlier: Any
    later: Any


class Criteria(msgspec.Struct, frozen=True):
    """Which instances are searched for; times are seconds since 1970.

    Attributes:
        text: Part of the id, the business key or the definition's key, in any case.
    """

    state: str | None = None
    process: str | None = None
    definition: str | None = None
    key: str | None = None
    started_after: float | None = None
    started_before: float | None = None
    ended_after: float | None = None
    ended_before: float | None = None
    variables: dict[str, Any] = {}
    text: str | None = None


class Found(NamedTuple):
    """An instance as a search finds it; `version` is that of its definition, if it is deployed."""

    number: int
    id: str
    process: str
    definition: str
    status: str
    owner: str
    key: str
    created: Moment
    updated: Moment
    version: int | None = None


class OpenTask(NamedTuple):
    """A user task that waits, as a list shows it; `key` is the instance's business key."""

    number: int
    instance: str
    process: str
    definition: str
    activation: int
    element: str
    name: str | None
    assignee: str | None
    users: list[str]
    groups: list[str]
    since: Moment
    due: str | None
    priority: str | None
    key: str = ""


class Alike(NamedTuple):
    """User tasks of a process that wait for the same people.

    Attributes:
        task: One that stands for them; only its process and whom it waits for are known.
        number: How many they are.
    """

    task: OpenTask
    number: int


class Word(NamedTuple):
    """A word that a user task is searched by: one of these has it.

    Attributes:
        text: The word in lower case: part of the business key, the id, or the task's own name or
            due date.
        elements: The definitions and ids of elements, all of whose tasks have it.
        unnamed: Elements whose tasks have it unless the diagram computes their name.
        people: Tasks that wait for people whose names have it, as `Alike` has them.
    """

    text: str
    elements: list[tuple[str, str]]
    unnamed: list[tuple[str, str]]
    people: list[OpenTask]


class Throughput(NamedTuple):
    """The instances of one process that ended alike in one hour.

    Attributes:
        hour: Hours since 1970 at its begin.
        number: How many they are.
        seconds: How long they took, together.
        longest: How long the longest took, in seconds.
    """

    hour: int
    process: str
    state: str
    number: int
    seconds: float
    longest: float


class Stopped(NamedTuple):
    """An incident, as a list shows it; `updated` is when its instance moved last."""

    number: int
    instance: str
    process: str
    activation: int
    element: str
    attempt: int
    message: str
    updated: float


class Retried(NamedTuple):
    """A task that waits for another attempt after `attempt` has failed, as a list shows it.

    Attributes:
        message: Why it has failed.
        due: When the next attempt begins, in seconds since 1970.
    """

    number: int
    instance: str
    process: str
    activation: int
    element: str
    attempt: int
    message: str
    due: float


class Audited(NamedTuple):
    """Who did what, when and from where.

    Attributes:
        at: In seconds since 1970.
        source: Where it came from: `cli`, or the address of a client.
        action: `start`, `claim`, `complete`, `retry`, `variables`, `deploy`, `cancel`, ...
        subject: What it was done to: a task, a process, a message.
    """

    at: float
    who: str
    source: str
    action: str
    instance: str = ""
    subject: str = ""


def require_id(text: str) -> None:
    """Refuse what is neither an instance's id nor the beginning of one.

    Raises:
        UsageError: It has too few characters, or others than 0 to 9 and a to f.
    """
    if len(text) < SHORTEST_ID or not set(text) <= set("0123456789abcdef"):
        raise UsageError(
            f"{text!r} is not an instance: an id has digits and the letters a to f, in lower case;"
            f" {SHORTEST_ID} characters of it at least",
            hint="see `mlkit bpmn list`",
        )


class TakenOver(ConfigurationError):
    """Another process owns the instance now; nothing of this commit was written.

    Attributes:
        number: The instance's number.
    """

    def __init__(self, row: Row) -> None:
        super().__init__(f"instance {row.id}: another process took it over")
        self.number = row.number


class Damaged(ConfigurationError):
    """A row of the journal cannot be read; other instances are not affected."""

    def __init__(self, place: object, instance: str, what: str) -> None:
        super().__init__(
            f"{place}: instance {instance}: {what}",
            hint="`mlkit bpmn check` lists all damage; other instances can be used",
        )


class Notice(NamedTuple):
    """That a user task asks for somebody.

    Attributes:
        kind: `task` when it began to wait, `assigned` when it was given to somebody.
        at: When, in seconds since 1970.
    """

    id: int
    instance: int
    activation: int
    kind: str
    at: float


class NewMail(NamedTuple):
    """A mail that is to be sent.

    Attributes:
        message: Its Message-ID; no two mails have the same.
        kind: `task`, `digest`, or `text` for one that a diagram sends.
        instance: The number of the instance that it is about; 0 for none.
        activation: The user task's; 0 for none.
        person: The id of who gets it.
        recipient: The address.
        content: What cannot be read from the journal when it is sent.
        due: Not before this time, in seconds since 1970; 0: at once.
    """

    message: str
    kind: str
    instance: int
    activation: int
    person: str
    recipient: str
    content: dict[str, Any] = {}  # noqa: RUF012 - a tuple has no attributes to share
    due: float = 0.0


class Mail(NamedTuple):
    """A mail of the outbox.

    Attributes:
        state: `queued`, `sent`, `failed` (it will not be tried again by itself), or `dropped`
            (what it was about is over).
        attempts: How often it was tried.
        due: When it is tried next, in seconds since 1970.
        error: Why it was not sent.
        ended: When it was sent, failed or dropped.
    """

    id: int
    message: str
    kind: str
    instance: int
    activation: int
    person: str
    recipient: str
    content: dict[str, Any]
    state: str
    attempts: int
    due: float
    error: str
    created: float
    ended: float | None


class Absence(NamedTuple):
    """That somebody stands in for somebody else, for a time.

    Attributes:
        begins: In seconds since 1970, as all times.
        by: Who said so, at `at`.
        revoked: When it was ended before its time, by `revoked_by`.
    """

    id: int
    person: str
    substitute: str
    begins: float
    ends: float
    by: str
    at: float
    revoked: float | None = None
    revoked_by: str = ""
