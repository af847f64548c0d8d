"""The embedded log itself: one journal of frames, appended under a lock and synced to disk."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlkit.errors import BadData, InputMissing, ServiceUnavailable, UsageError
from mlkit.files import make_folder, replacing
from mlkit.streams.embedded import catalogue, frames
from mlkit.streams.embedded.frames import Frame, Run, Segment
from mlkit.streams.log import (
    EARLIEST,
    Message,
    Moved,
    Output,
    Partition,
    Record,
    partition_of,
    require_name,
)

if TYPE_CHECKING:
    from mlkit.streams.embedded.group import Member

SEGMENT_BYTES = 64 << 20


class EmbeddedLog:
    """A log in a folder; see `mlkit.streams.log.Log`.

    Every process opens it for itself. Appends are serialised by a file lock, which the system
    releases when a process dies; a frame that was not complete then is cut off by the next one.

    Args:
        folder: Where it is; created with access for its owner only.
        segment_bytes: The size at which a new file begins.
    """

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self._segment_bytes = segment_bytes
        self.changed = threading.Condition(threading.RLock())
        try:
            make_folder(folder, 0o700)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InputMissing(f"{folder}: cannot be written: {error.strerror}") from error
        self._file = -1
        with self._exclusive():
            if not frames.segments(folder):
                self._begin(Segment(0), Frame())
            self._load()
            self._require_whole()

    def _load(self) -> None:
        """Read the indexes of closed segments, and the frames of the last one."""
        self.catalogue = catalogue.Catalogue()
        *closed, last = frames.segments(self.folder)
        for segment in closed:
            index = catalogue.load_index(segment, self.folder)
            self.catalogue.index[segment] = self._index(segment) if index is None else index
        self._open(last)
        self._catch_up()

    def _index(self, segment: Segment) -> catalogue.Index:
        alone = catalogue.Catalogue()
        file = os.open(segment.path(self.folder), os.O_RDONLY | os.O_CLOEXEC)
        try:
            for position, _, frame in frames.scan(file, 0):
                alone.apply(frame, segment, position)
        finally:
            os.close(file)
        return alone.index.get(segment, {})

    def _open(self, segment: Segment) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = os.open(segment.path(self.folder), os.O_RDWR | os.O_CLOEXEC)
        self._segment, self._position = segment, 0

    def _begin(self, segment: Segment, frame: Frame) -> None:
        with replacing(segment.path(self.folder)) as file:
            file.write(frames.encode(frame))

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self.changed:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _catch_up(self) -> None:
        """Take in what other processes have written."""
        while True:
            if os.fstat(self._file).st_size > self._position:
                for position, after, frame in frames.scan(self._file, self._position):
                    self.catalogue.apply(frame, self._segment, position)
                    self._position = after
            following = Segment(self._segment.number + 1)
            if not following.path(self.folder).exists():
                return
            self._open(following)

    def _require_whole(self) -> None:
        """Refuse a damaged log, whose records whoever only reads would miss; the lock is held.

        Raises:
            BadData: It does not begin with a frame, as each file does, or frames follow damage.
        """
        path = self._segment.path(self.folder)
        if self._position == 0:
            raise BadData(f"{path}: damaged at byte 0", hint="restore the file from a copy")
        frames.require_torn(self._file, self._position, path)

    def _cut(self) -> None:
        """Cut off a frame that was not written to its end."""
        if os.fstat(self._file).st_size > self._position:
            frames.require_torn(self._file, self._position, self._segment.path(self.folder))
            os.ftruncate(self._file, self._position)

    def _write(self, frame: Frame) -> None:
        """Append a frame and wait until it is on disk; the lock is held."""
        content = frames.encode(frame)
        try:
            self._put(content)
            os.fdatasync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._position)
            place = self._segment.path(self.folder)
            hint = "free some space" if error.errno == 28 else None
            raise ServiceUnavailable(f"{place}: {error.strerror}", hint=hint) from error
        self.catalogue.apply(frame, self._segment, self._position)
        self._position += len(content)
        self.changed.notify_all()
        if self._position > self._segment_bytes:
            self._roll()

    def _put(self, content: bytes) -> None:
        done = 0
        while done < len(content):
            done += os.pwrite(self._file, content[done:], self._position + done)

    def _roll(self) -> None:
        """Begin a new segment, and drop what is older than its retention."""
        closed = self._segment
        catalogue.save_index(self.catalogue.index.get(closed, {}), closed, self.folder)
        self._begin(Segment(closed.number + 1), self.catalogue.snapshot())
        self._catch_up()
        self._retain(int(time.time() * 1000))

    def _retain(self, now: int) -> None:
        for segment in sorted(self.catalogue.index):
            if segment == self._segment:
                continue
            expired = self.catalogue.find_expired(segment, now)
            topics = {place.topic for place in self.catalogue.index[segment]}
            if expired and expired < topics:
                self._rewrite(segment, expired)
            if expired or not topics:
                del self.catalogue.index[segment]
                catalogue.remove([segment], self.folder)

    def _rewrite(self, segment: Segment, expired: set[str]) -> None:
        """Copy a closed segment without some topics."""
        later = Segment(segment.number, segment.generation + 1)
        file = os.open(segment.path(self.folder), os.O_RDONLY | os.O_CLOEXEC)
        try:
            with replacing(later.path(self.folder)) as copy:
                for _, _, frame in frames.scan(file, 0):
                    kept = [run for run in frame.runs if run.topic not in expired]
                    copy.write(frames.encode(Frame(runs=kept)))
        finally:
            os.close(file)
        index = self._index(later)
        catalogue.save_index(index, later, self.folder)
        self.catalogue.index[later] = index

    def retain(self, now: int | None = None) -> None:
        """Drop records that are older than their topic's retention, where whole files are.

        Args:
            now: Milliseconds since 1970; None takes the clock's.
        """
        with self._exclusive():
            self._refresh()
            if os.fstat(self._file).st_size > 0:
                self._roll_if_used()
            self._retain(int(time.time() * 1000) if now is None else now)

    def _roll_if_used(self) -> None:
        if self.catalogue.index.get(self._segment):
            self._roll()

    def _refresh(self) -> None:
        """Take in what others wrote, and reload after others dropped segments; lock held."""
        known = {each for each in self.catalogue.index if each != self._segment}
        if not known <= set(frames.segments(self.folder)):
            self._load()
        self._catch_up()
        self._cut()

    def create(self, topic: str, partitions: int = 1, retention_ms: int | None = None) -> None:
        """Create a topic; see `Log.create`."""
        require_name("topic", topic)
        if partitions < 1:
            raise UsageError(f"topic '{topic}': {partitions} partitions")
        with self._exclusive():
            self._refresh()
            there = self.catalogue.topics.get(topic)
            if there is not None and there[0] != partitions:
                raise UsageError(f"topic '{topic}' has {there[0]} partitions, not {partitions}")
            if there != (partitions, retention_ms):
                self._write(Frame(topics=[(topic, partitions, retention_ms)]))

    def topics(self) -> dict[str, int]:
        """Return the topics with their numbers of partitions."""
        self.update()
        return {name: each[0] for name, each in self.catalogue.topics.items()}

    def append(self, topic: str, messages: Sequence[Message]) -> None:
        """Write messages; see `Log.append`."""
        if messages:
            with self._exclusive():
                self._refresh()
                self._write(Frame(runs=self._runs({topic: messages})))

    def commit(
        self, group: str, offsets: Mapping[Partition, int], output: Output | None = None
    ) -> None:
        """Write a group's offsets with output and states, in one frame."""
        output = output or Output()
        with self._exclusive():
            self._refresh()
            self._write(
                Frame(
                    runs=self._runs(output.messages),
                    offsets=[(group, *place, offset) for place, offset in offsets.items()],
                    states=[(group, *place, state) for place, state in output.states.items()],
                )
            )

    def _runs(self, messages: Mapping[str, Sequence[Message]]) -> list[Run]:
        now = int(time.time() * 1000)
        return [
            Run(
                *place,
                self.catalogue.ends.get(place, 0),
                [now if each.timestamp is None else each.timestamp for each in some],
                [each.key for each in some],
                [each.value for each in some],
            )
            for topic, all_of_it in messages.items()
            for place, some in self._by_partition(topic, all_of_it)
        ]

    def _by_partition(
        self, topic: str, messages: Sequence[Message]
    ) -> Iterable[tuple[Partition, Sequence[Message]]]:
        count = self._partitions(topic)
        if count == 1:
            return [(Partition(topic, 0), messages)] if messages else []
        dealt: dict[Partition, list[Message]] = {}
        for each in messages:
            dealt.setdefault(Partition(topic, partition_of(each.key, count)), []).append(each)
        return dealt.items()

    def _partitions(self, topic: str) -> int:
        if topic not in self.catalogue.topics:
            raise UsageError(f"{self.folder}: no topic '{topic}'", hint="create it first")
        return self.catalogue.topics[topic][0]

    def update(self) -> None:
        """Take in what other processes have written."""
        with self.changed:
            self._catch_up()

    def reload(self) -> None:
        """Read the catalogue again, after another process has dropped segments."""
        with self._exclusive():
            self._load()

    def read(self, partition: Partition, offset: int, most: int = 1000) -> list[Record]:
        """Return records of a partition; see `Log.read`."""
        from mlkit.streams.embedded.cursor import Cursor

        self.update()
        self._partitions(partition.topic)
        cursor = Cursor(self)
        cursor.seek({partition: offset})
        try:
            return cursor.next(most)
        finally:
            cursor.close()

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """Return the first offset that is kept, and the one that the next record gets."""
        self.update()
        with self.changed:
            return self.catalogue.first(partition), self.catalogue.ends.get(partition, 0)

    def offset_at(self, partition: Partition, timestamp: int) -> int:
        """Return the offset of the first record with at least this timestamp, else the end."""
        from mlkit.streams.embedded.cursor import Cursor

        self.update()
        with self.changed:
            place = self.catalogue.find_time(partition, timestamp)
            end = self.catalogue.ends.get(partition, 0)
        if place is None:
            return end
        cursor = Cursor(self)
        cursor.start({partition: 0}, place)
        try:
            while records := cursor.next(1000):
                for record in records:
                    if record.timestamp >= timestamp:
                        return record.offset
        finally:
            cursor.close()
        return end

    def committed(self, group: str, partition: Partition) -> int | None:
        """Return the offset that a group has committed."""
        self.update()
        return self.catalogue.offsets.get((group, partition))

    def consume(
        self,
        group: str,
        topics: Sequence[str],
        *,
        start: int = EARLIEST,
        gained: Moved | None = None,
        lost: Moved | None = None,
    ) -> Member:
        """Join a consumer group; see `Log.consume`."""
        from mlkit.streams.embedded.group import Member

        require_name("group", group)
        self.update()
        places = [
            Partition(topic, number)
            for topic in topics
            for number in range(self._partitions(topic))
        ]
        return Member(self, group, places, start, gained, lost)

    def close(self) -> None:
        """Release the files."""
        with self.changed:
            for file in (self._file, self._lock):
                if file >= 0:
                    os.close(file)
            self._file = self._lock = -1
