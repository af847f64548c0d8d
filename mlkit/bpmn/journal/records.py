"""What a journal holds, whatever keeps it: rows, entries, and how they are written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from mlkit.bpmn.engine.events import AnyEvent, Hop
from mlkit.bpmn.engine.state import State
from mlkit.errors import ConfigurationError

OPEN = ("running", "interrupted", "waiting", "incident")
"""The states of an instance that has not ended."""

_ENCODER = msgspec.json.Encoder()
encode = _ENCODER.encode
DECODE_EVENT: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
DECODE_STATE = msgspec.json.Decoder(State)
DECODE_TRACE = msgspec.json.Decoder(list[Hop])


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


DECODE_LOG = msgspec.json.Decoder(Log)


class Row(msgspec.Struct, frozen=True):
    """What the journal knows of an instance without replaying it.

    Attributes:
        phase: `running`, `interrupted` (it was running when its process died), `waiting`,
            `incident`, `completed`, `failed`, `cancelled`; `damaged` where the row cannot be read.
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
    phase: str
    epoch: int
    sequence: int
    created: float
    updated: float
    due: float | None = None
    damage: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the instance has not ended."""
        return self.phase in OPEN

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
    """

    entries: list[Entry] = field(default_factory=list)
    verdicts: dict[int, str] = field(default_factory=dict)


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
