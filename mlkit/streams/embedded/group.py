"""Consumer groups of the embedded log: members and partitions are held by file locks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mlkit.streams.embedded.cursor import Cursor
from mlkit.streams.errors import Fenced
from mlkit.streams.log import LATEST, Moved, Output, Partition, Record

if TYPE_CHECKING:
    from mlkit.streams.embedded.store import EmbeddedLog

RENEWAL = 0.25
"""Seconds between two looks at who is in the group."""
LONGEST_WAIT = 0.005


class Member:
    """A member of a group; see `mlkit.streams.log.Consumer`.

    Each member and each partition has a file, which its holder locks: the system releases the
    locks of a process that dies. Partitions are dealt out by the sorted names of those alive. A
    partition is given up only when nothing of it is uncommitted, so that a commit of a member
    that runs is never too late.
    """

    def __init__(
        self, log: EmbeddedLog, group: str, places: Sequence[Partition], start: int,
        gained: Moved | None, lost: Moved | None,
    ) -> None:  # fmt: skip
        self._log, self._group, self._places, self._start = log, group, sorted(places), start
        self._gained, self._lost = gained, lost
        self._folder = log.folder / "groups" / group
        (self._folder / "members").mkdir(parents=True, exist_ok=True, mode=0o700)
        self._name, self._own = self._join()
        self._locks: dict[Partition, int] = {}
        self._next: dict[Partition, int] = {}
        self._pending = False
        self._renewed = 0.0
        self._cursor = Cursor(log)

    def _join(self) -> tuple[str, int]:
        """Lock a file of this member's own; another that looks who is alive may be faster."""
        while True:
            name = f"{time.time_ns():020d}-{uuid.uuid4().hex}"
            path = self._folder / "members" / name
            lock = _lock(path)
            if lock is not None and path.exists():
                return name, lock
            if lock is not None:
                os.close(lock)

    @property
    def assignment(self) -> frozenset[Partition]:
        """The partitions that this member reads."""
        return frozenset(self._locks)

    def poll(self, most: int = 1000, timeout: float = 1.0) -> list[Record]:
        """Return the next records; see `Consumer.poll`."""
        deadline = time.monotonic() + timeout
        wait = 0.0005
        while True:
            self._renew()
            records = self._cursor.next(most) if self._locks else []
            if records:
                self._pending = True
                for record in records:
                    self._next[record.partition] = record.offset + 1
                return records
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            with self._log.changed:
                # Appends of this process wake it; others are seen by looking.
                self._log.changed.wait(min(wait, left))
            wait = min(2 * wait, LONGEST_WAIT)

    def _renew(self) -> None:
        """Take and give up partitions, as those who are alive share them."""
        now = time.monotonic()
        if self._own < 0:
            raise Fenced(f"{self._group}: this member has left the group")
        if self._pending or now - self._renewed < RENEWAL:
            return
        self._renewed = now
        members = self._alive()
        mine = self._share(members.index(self._name), len(members))
        if leaving := sorted(set(self._locks) - mine):
            self._give_up(leaving)
        taken = {}
        for place in sorted(mine - set(self._locks)):
            lock = _lock(self._folder / f"{place.topic}-{place.number}.lock")
            if lock is not None:
                taken[place] = lock
        if taken:
            self._take(taken)

    def _share(self, at: int, members: int) -> set[Partition]:
        """Return the partitions of a member: those of one number together, for joins of topics."""
        numbers = sorted({place.number for place in self._places})
        own = set(numbers[at::members])
        return {place for place in self._places if place.number in own}

    def _alive(self) -> list[str]:
        alive = [self._name]
        for path in (self._folder / "members").iterdir():
            if path.name == self._name:
                continue
            lock = _lock(path, create=False)
            if lock is None:
                if path.exists():
                    alive.append(path.name)
            else:
                path.unlink(missing_ok=True)
                os.close(lock)
        return sorted(alive)

    def _take(self, taken: dict[Partition, int]) -> None:
        self._locks |= taken
        for place in taken:
            committed = self._log.committed(self._group, place)
            first, end = self._log.bounds(place)
            if committed is None:
                committed = end if self._start == LATEST else first
            self._next[place] = committed
        self._cursor.seek(self._next)
        if self._gained is not None:
            self._gained(sorted(taken))

    def _give_up(self, leaving: Sequence[Partition]) -> None:
        if self._lost is not None:
            self._lost(leaving)
        for place in leaving:
            os.close(self._locks.pop(place))
            del self._next[place]
        self._cursor.seek(self._next)

    def is_at_end(self, partition: Partition) -> bool:
        """Return whether `poll` has returned all records; see `Consumer.is_at_end`."""
        return partition in self._next and self._next[partition] >= self._log.bounds(partition)[1]

    def state(self, partition: Partition) -> bytes | None:
        """Return the state that was committed last for a partition of this group."""
        self._log.update()
        return self._log.catalogue.states.get((self._group, partition))

    def commit(self, output: Output | None = None) -> None:
        """Commit offsets with output and states; see `Consumer.commit`."""
        if self._own < 0:
            raise Fenced(f"{self._group}: this member has left the group")
        foreign = set(output.states) - set(self._locks) if output is not None else set()
        if foreign:
            raise Fenced(f"{self._group}: partition {min(foreign)} belongs to another member")
        if self._pending or output is not None:
            self._log.commit(self._group, self._next, output)
        self._pending = False

    def close(self) -> None:
        """Leave the group."""
        if self._own < 0:
            return
        for lock in self._locks.values():
            os.close(lock)
        self._locks.clear()
        self._cursor.close()
        (self._folder / "members" / self._name).unlink(missing_ok=True)
        os.close(self._own)
        self._own = -1

    def __enter__(self) -> Self:
        """Return the member."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """Leave the group."""
        self.close()


def _lock(path: Path, *, create: bool = True) -> int | None:
    """Open a file and lock it; None if another holds the lock, or it is not there."""
    with contextlib.suppress(FileNotFoundError, BlockingIOError):
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        file = os.open(path, flags, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise
        return file
    return None
