"""What a log of topics is, whatever keeps it: the protocol that every back end implements.

A topic has partitions; a record's key decides its partition, and the records of a partition have
an order that never changes. A consumer group reads each partition through one of its members at
a time, from the offset that the group has committed. A commit may carry output and state: all of
it becomes visible at once, or nothing.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from mlkit.errors import UsageError

EARLIEST, LATEST = 0, -1


class Partition(NamedTuple):
    """A partition of a topic."""

    topic: str
    number: int


class Message(NamedTuple):
    """What is written.

    Attributes:
        value: The content.
        key: Records with the same key keep their order.
        timestamp: Milliseconds since 1970; None takes the time of writing.
    """

    value: bytes
    key: bytes = b""
    timestamp: int | None = None


class Record(NamedTuple):
    """What is read.

    Attributes:
        partition: Where it is.
        offset: Its position there; rising, not always by one.
        timestamp: Milliseconds since 1970.
        key: Its key.
        value: Its content.
    """

    partition: Partition
    offset: int
    timestamp: int
    key: bytes
    value: bytes


@dataclass(frozen=True)
class Output:
    """What a commit writes besides offsets.

    Attributes:
        messages: Messages for each topic.
        states: A state for each partition that the member holds; it replaces the one before.
    """

    messages: Mapping[str, Sequence[Message]] = field(default_factory=dict)
    states: Mapping[Partition, bytes] = field(default_factory=dict)


Moved = Callable[[Sequence[Partition]], None]
"""Called with partitions that a member has got, or is about to lose."""


class Consumer(Protocol):
    """A member of a consumer group."""

    @property
    def assignment(self) -> frozenset[Partition]:
        """The partitions that this member reads."""

    def poll(self, most: int = 1000, timeout: float = 1.0) -> list[Record]:
        """Return the next records, at most `most`, or none when the time in seconds is over."""

    def is_at_end(self, partition: Partition) -> bool:
        """Return whether `poll` has returned all records of a partition that are known of.

        False for one that this member does not hold.
        """

    def state(self, partition: Partition) -> bytes | None:
        """Return the state that was committed last for a partition of this group."""

    def commit(self, output: Output | None = None) -> None:
        """Commit the offsets of all that `poll` returned, with output and states, atomically.

        Raises:
            Fenced: A partition has gone to another member meanwhile; nothing was committed.
        """

    def close(self) -> None:
        """Leave the group; what was not committed is read again by others."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...  # fmt: skip


class Log(Protocol):
    """A log of topics."""

    def create(self, topic: str, partitions: int = 1, retention_ms: int | None = None) -> None:
        """Create a topic; one that is there with as many partitions stays unchanged.

        Args:
            topic: Letters, digits, `.`, `_` and `-`.
            partitions: How many members of a group can share it.
            retention_ms: Records older than this may be deleted; None keeps them.

        Raises:
            UsageError: The name is not allowed, or the topic has other partitions.
        """

    def topics(self) -> dict[str, int]:
        """Return the topics with their numbers of partitions."""

    def append(self, topic: str, messages: Sequence[Message]) -> None:
        """Write messages; they are durable when this returns.

        Raises:
            UsageError: There is no such topic.
            ServiceUnavailable: They could not be written.
        """

    def read(self, partition: Partition, offset: int, most: int = 1000) -> list[Record]:
        """Return records of a partition from an offset on, without a group.

        An offset that is no longer kept continues at the first one that is.
        """

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """Return the first offset that is kept, and the one that the next record gets."""

    def offset_at(self, partition: Partition, timestamp: int) -> int:
        """Return the offset of the first record with at least this timestamp, else the end."""

    def consume(
        self,
        group: str,
        topics: Sequence[str],
        *,
        start: int = EARLIEST,
        gained: Moved | None = None,
        lost: Moved | None = None,
    ) -> Consumer:
        """Join a consumer group.

        Args:
            group: Its name.
            topics: What it reads.
            start: `EARLIEST` or `LATEST`, for partitions without a committed offset.
            gained: Called with partitions that this member has got, before their records.
            lost: Called with partitions that go to other members, before they go.
        """

    def committed(self, group: str, partition: Partition) -> int | None:
        """Return the offset that a group has committed: that of the record it reads next."""

    def close(self) -> None:
        """Release files and connections."""


_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")


def require_name(what: str, name: str) -> None:
    """Refuse names that not every back end can keep.

    Raises:
        UsageError: The name is not allowed.
    """
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise UsageError(f"{what} '{name}': letters, digits, '.', '_' and '-' only")


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key: the same in every back end, so that logs can be copied."""
    return zlib.crc32(key) % partitions
