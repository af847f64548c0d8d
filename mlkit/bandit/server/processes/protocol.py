"""The messages between the workers and the writer: msgpack, each behind its length."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from mlkit.bandit.server.learning.records import Change, Effect, Event, Shown

_LENGTH = 4


class Feedback(msgspec.Struct, tag=0, array_like=True, gc=False):
    """To the writer: events that are accepted together or not at all."""

    number: int
    events: list[Event]


class ArmChange(msgspec.Struct, tag=1, array_like=True, gc=False):
    """To the writer: put or remove an arm."""

    number: int
    change: Change


class Decided(msgspec.Struct, tag=3, array_like=True, gc=False):
    """To the writer: decisions that wait for rewards."""

    number: int
    decisions: list[Shown]


class Switch(msgspec.Struct, tag=4, array_like=True, gc=False):
    """To the writer: promote the candidate, or roll it back.

    In a fleet's stream `candidate` is its hash, so that what is appended twice has one effect.
    """

    number: int
    promote: bool
    candidate: str = ""


class StartCandidate(msgspec.Struct, tag=6, array_like=True, gc=False):
    """In a fleet's stream: a candidate starts, or has another share from now on.

    `digest` is its hash, `content` the file of that name.
    """

    digest: str
    share: float
    name: str
    content: bytes
    number: int = 0


class DecisionCounts(msgspec.Struct, tag=7, array_like=True, gc=False):
    """In a fleet's stream: the decisions of a host by version, in an epoch of the `Tally`."""

    source: str
    epoch: int
    stable: float
    candidate: float
    number: int = 0


class Tick(msgspec.Struct, tag=5, array_like=True, gc=False):
    """In a fleet's stream: count zeros of decisions whose time is over by now."""

    number: int = 0


class TableInUse(msgspec.Struct, tag=2, array_like=True, gc=False):
    """To the writer: this worker answers from the tables in these files: see `Model.files`."""

    files: str


class Accepted(msgspec.Struct, tag=0, array_like=True, gc=False):
    """To a worker: the events are on disk; which are repeats, and which of removed arms.

    `replaced` has for each amendment what was counted before. `is_queued` is set where the events
    are on the disk of this host, and not in the fleet's store yet.
    """

    number: int
    repeats: list[bool]
    ignored: list[bool]
    replaced: list[Effect | None]
    is_queued: bool = False

    def outcomes(self) -> tuple[list[bool], list[bool], list[Effect | None]]:
        """Return the three lists."""
        return self.repeats, self.ignored, self.replaced


class Conflict(msgspec.Struct, tag=1, array_like=True, gc=False):
    """To a worker: nothing was accepted, as this event's id was used with another body."""

    number: int
    index: int


class ArmChanged(msgspec.Struct, tag=2, array_like=True, gc=False):
    """To a worker: the change is on disk; whether the arm was there before."""

    number: int
    existed: bool


class Failed(msgspec.Struct, tag=3, array_like=True, gc=False):
    """To a worker: nothing was accepted, as the journal could not be written."""

    number: int
    error: str


class Table(msgspec.Struct, array_like=True, gc=False):
    """A posterior table, or the model of another policy; `base` names its posteriors file."""

    path: str
    model: str
    policy: str | None = None
    base: str = ""


class TableReady(msgspec.Struct, tag=4, array_like=True, gc=False):
    """To a worker: the tables to use from now on; `files` names them when they are in use.

    `share` is the candidate's; None: that of the settings.
    """

    files: str
    stable: Table
    candidate: Table | None = None
    share: float | None = None


class UnknownArm(msgspec.Struct, tag=5, array_like=True, gc=False):
    """To a worker: nothing was accepted, as this event's arm was never added."""

    number: int
    index: int


class UnknownEvent(msgspec.Struct, tag=6, array_like=True, gc=False):
    """To a worker: nothing was accepted, as this amendment is of an event that is not known."""

    number: int
    index: int


class Kept(msgspec.Struct, tag=7, array_like=True, gc=False):
    """To a worker: the decisions are on disk."""

    number: int


class Switched(msgspec.Struct, tag=8, array_like=True, gc=False):
    """To a worker: whether there was a candidate, which is promoted or rolled back."""

    number: int
    existed: bool


Request = Feedback | ArmChange | Decided | Tick | Switch | StartCandidate | DecisionCounts
Message = Request | TableInUse
Reply = Accepted | Conflict | UnknownArm | UnknownEvent | ArmChanged | Kept | Switched | Failed
Announcement = Reply | TableReady

_encoder = msgspec.msgpack.Encoder()
message_decoder = msgspec.msgpack.Decoder(Message)
announcement_decoder = msgspec.msgpack.Decoder(Announcement)


def frame(message: Message | Announcement) -> bytes:
    """Encode a message with its length before it."""
    body = _encoder.encode(message)
    return len(body).to_bytes(_LENGTH) + body


class Frames:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the bodies of the messages that are complete now."""
        self._rest += data
        start = 0
        while len(self._rest) - start >= _LENGTH:
            body = start + _LENGTH
            stop = body + int.from_bytes(self._rest[start:body])
            if stop > len(self._rest):
                break
            yield bytes(self._rest[body:stop])
            start = stop
        del self._rest[:start]
