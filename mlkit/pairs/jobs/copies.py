"""Running copies of a job's file on a log: of one partition, or of one of each joined topic."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from mlkit.errors import BadData
from mlkit.pairs.jobs import join
from mlkit.pairs.jobs.file import JobFile
from mlkit.pairs.jobs.join import JoinPlan, Late
from mlkit.pairs.jobs.rows import Row
from mlkit.streams import Message, Record

Given = Sequence[tuple[str, Row]]
"""Records with the topics that they come from, in their order."""


@dataclass
class Made:
    """What a copy has made of records.

    Attributes:
        rows: What the job returned.
        messages: What it returned of plain records, as messages already.
        late: Records that came too late to be joined.
    """

    rows: list[Row] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)

    def add(self, other: Made) -> None:
        """Add what another call has made."""
        self.rows += other.rows
        self.messages += other.messages
        self.late += other.late


class Copy(Protocol):
    """A running copy of a job's file."""

    def take(self, given: Given, unread: Collection[str]) -> Made:
        """Process records; `unread` are the topics that have more of them."""

    def take_plain(self, records: Sequence[Record], *, shared: bool) -> Made | None:
        """Process records of one topic without reading each; None where that has to be done."""

    def finish(self) -> Made:
        """Process what has been waiting for records that do not come any more."""

    def state(self) -> bytes | None:
        """Return what has to be kept; None for nothing."""


class PlainCopy:
    """A copy that gets the records as they come."""

    def __init__(self, file: JobFile, state: bytes | None) -> None:
        self._task = file.start(state)

    def take(self, given: Given, unread: Collection[str]) -> Made:
        """Process records; see `Copy.take`."""
        return Made(self._task.process([row for _, row in given]) if given else [])

    def take_plain(self, records: Sequence[Record], *, shared: bool) -> Made | None:
        """Process records; see `Copy.take_plain`."""
        made = self._task.process_plain(records, shared=shared)
        return None if made is None else Made(messages=made)

    def finish(self) -> Made:
        """Do nothing: no record waits."""
        return Made()

    def state(self) -> bytes | None:
        """Return the job's state."""
        return self._task.state()


class _State(msgspec.Struct, array_like=True):
    join: bytes
    job: bytes | None


class JoinedCopy:
    """A copy that gets joined records.

    Raises:
        BadData: The state is damaged, or that of a job without a join.
    """

    def __init__(self, file: JobFile, plan: JoinPlan, state: bytes | None) -> None:
        self._join = join.start(plan)
        kept = None if state is None else _decode(state)
        if kept is not None:
            self._join.load(kept.join)
        self._task = file.start(None if kept is None else kept.job)

    def take(self, given: Given, unread: Collection[str]) -> Made:
        """Join records, and process what is ready; see `Copy.take`."""
        taken = (self._join.take(topic, row) for topic, row in given)
        late = [each for each in taken if each is not None]
        return Made(self._process(self._join.advance(unread)), late=late)

    def take_plain(self, records: Sequence[Record], *, shared: bool) -> None:
        """Return None: records are joined one by one."""

    def finish(self) -> Made:
        """Process all that waits."""
        return Made(self._process(self._join.finish()))

    def _process(self, joined: Sequence[Row]) -> list[Row]:
        return self._task.process(joined) if joined else []

    def state(self) -> bytes | None:
        """Return the states of the join and of the job."""
        return msgspec.msgpack.encode(_State(self._join.save(), self._task.state()))


def _decode(state: bytes) -> _State:
    try:
        return msgspec.msgpack.decode(state, type=_State)
    except msgspec.MsgspecError as error:
        hint = "a job that joins needs a --group of its own"
        raise BadData("the state of the join cannot be read", hint=hint) from error


def start(file: JobFile, plan: JoinPlan | None, state: bytes | None) -> Copy:
    """Return a running copy of a file, with a join before it if there is one."""
    return PlainCopy(file, state) if plan is None else JoinedCopy(file, plan, state)
