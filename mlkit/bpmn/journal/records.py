"""What a journal holds, whatever keeps it: rows, entries, and how they are written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import msgspec

from mlkit.bpmn.definition.start_timers import StartTimer
from mlkit.bpmn.engine.events import AnyEvent, Hop
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.notices import NewMail
from mlkit.errors import ConfigurationError, UsageError

OPEN = ("running", "interrupted", "waiting", "incident", "suspended")
"""The states of an instance that has not ended."""
ENDED = ("completed", "failed", "cancelled")
"""The states of one that has."""
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
UNREADABLE = (msgspec.DecodeError, TypeError, UnicodeDecodeError)
"""What reading a damaged row raises."""
DECODE_EVENT: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
DECODE_STATE = msgspec.json.Decoder(State)
DECODE_TRACE = msgspec.json.Decoder(list[Hop])


class Log(msgspec.Struct, frozen=True, array_like=True):
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
        stalled: Why what it needs or leaves is not moved from or to the store; empty: it runs.
    """

    activation: int
    element: str
    iteration: str
    attempt: int
    began: float
    host: str
    stdout: str
    stderr: str
    stalled: str = ""


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


class Entry(msgspec.Struct):
    """One event to append, with its trace, and what the task printed that it ended.

    Attributes:
        ends: Whether the instance has ended with it.
    """

    at: float
    event: AnyEvent
    trace: list[Hop]
    log: Log | None = None
    ends: bool = False


class Changes(msgspec.Struct):
    """What a commit adds for one instance.

    Attributes:
        entries: Its events, in order.
        verdicts: The inbox rows that were taken: why each was refused, empty where it was not.
        mails: What its tasks send.
        moved: Its row with another version of its definition, where it was moved to one.
    """

    entries: list[Entry] = []
    verdicts: dict[int, str] = {}
    mails: list[NewMail] = []
    moved: Row | None = None


class Append(msgspec.Struct):
    """What a commit adds for an instance, with where and when.

    Attributes:
        row: The instance, with the epoch of its owner.
        sequence: The number of its last event so far.
        state: The instance after the commit.
        changes: What is added.
        releases: Whether nobody owns the instance after it.
        number: The instance's number.
        after: The number of its last event after the commit.
        at: When it was changed.
        indexed: What lists find it by after the commit: its effective status, its business key,
            and when its first timer is due.
        only_works: Whether only scripts run in it then.
    """

    row: Row
    sequence: int
    state: State
    changes: Changes
    releases: bool = False
    number: int = 0
    after: int = 0
    at: float = 0.0
    indexed: tuple[str, str, float | None] = ("running", "", None)
    only_works: bool = False

    def __post_init__(self) -> None:
        """Find out once, from the others, what each table asks for."""
        entries = self.changes.entries
        self.number = self.row.number
        self.after = self.sequence + len(entries)
        self.at = entries[-1].at if entries else self.row.updated
        state = self.state
        self.only_works = state.only_works
        self.indexed = (
            ("running", state.key, None)
            if self.only_works
            else (state.effective_status, state.key, state.due)
        )

    @property
    def status(self) -> str:
        """Its effective status after the commit."""
        return self.indexed[0]


@dataclass(slots=True)
class Arrivals:
    """What transactions leave for whoever runs instances.

    Attributes:
        created: New instances that this process has owned from their first moment on.
        delivered: The numbers of all that may go on.
        taken: Those of the others that this process has taken for that.
        handed: Events for some of those, which the transaction has to apply: they are in no inbox.
            In place of a row they have a number below 0.
        new: The instances for which events may be handed over, by their numbers.
    """

    created: list[Row] = field(default_factory=list)
    delivered: set[int] = field(default_factory=set)
    taken: list[Row] = field(default_factory=list)
    handed: list[Delivered] = field(default_factory=list)
    new: dict[int, Row] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget what a transaction that is done again has left."""
        self.created.clear()
        self.delivered.clear()
        self.taken.clear()
        self.handed.clear()
        self.new.clear()


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


class Refused(UsageError):
    """What was asked cannot be done any more: somebody or something else came first."""


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
