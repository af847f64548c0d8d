"""What the frames of a log add up to: topics, ends, offsets, states, and where records are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import msgspec

from mlkit.files import replacing
from mlkit.streams.embedded.frames import Frame, Segment
from mlkit.streams.log import Partition

SPARSE = 1 << 16
"""Bytes between two entries of the index of a partition."""


class Entry(msgspec.Struct, array_like=True):
    """Where records of a partition begin: those from `base` on, up to the next entry's."""

    base: int
    latest: int
    position: int


Index = dict[Partition, list[Entry]]


class Catalogue:
    """The state of a log after all frames up to a place.

    Attributes:
        topics: Partitions and retention in milliseconds of each topic.
        ends: The offset that the next record of a partition gets.
        offsets: The committed offset of a group's partition.
        states: Its committed state.
        index: Sparse, for each segment.
    """

    def __init__(self) -> None:
        self.topics: dict[str, tuple[int, int | None]] = {}
        self.ends: dict[Partition, int] = {}
        self.offsets: dict[tuple[str, Partition], int] = {}
        self.states: dict[tuple[str, Partition], bytes] = {}
        self.index: dict[Segment, Index] = {}

    def apply(self, frame: Frame, segment: Segment, position: int) -> None:
        """Take a frame in."""
        for name, partitions, retention in frame.topics:
            self.topics[name] = (partitions, retention)
        for topic, number, end in frame.ends:
            self.ends[Partition(topic, number)] = end
        index = self.index.setdefault(segment, defaultdict(list))
        for run in frame.runs:
            place = Partition(run.topic, run.number)
            self.ends[place] = run.base + len(run.values)
            entries, latest = index[place], max(run.timestamps)
            if entries and position - entries[-1].position < SPARSE:
                entries[-1].latest = max(entries[-1].latest, latest)
            else:
                entries.append(Entry(run.base, latest, position))
        for group, topic, number, offset in frame.offsets:
            self.offsets[group, Partition(topic, number)] = offset
        for group, topic, number, state in frame.states:
            self.states[group, Partition(topic, number)] = state

    def snapshot(self) -> Frame:
        """Return all but the records as a frame, with which a segment begins."""
        return Frame(
            topics=[(name, *each) for name, each in self.topics.items()],
            ends=[(*place, end) for place, end in self.ends.items()],
            offsets=[(group, *place, offset) for (group, place), offset in self.offsets.items()],
            states=[(group, *place, state) for (group, place), state in self.states.items()],
        )

    def first(self, place: Partition) -> int:
        """Return the first offset that is kept."""
        for segment in sorted(self.index):
            if entries := self.index[segment].get(place):
                return entries[0].base
        return self.ends.get(place, 0)

    def find(self, place: Partition, offset: int) -> tuple[Segment, int] | None:
        """Return where to look for the first record from an offset on; None if there is none."""
        found = None
        for segment in sorted(self.index):
            for entry in self.index[segment].get(place, ()):
                if found is not None and entry.base > offset:
                    return found
                found = (segment, entry.position)
        return found if offset < self.ends.get(place, 0) else None

    def find_time(self, place: Partition, timestamp: int) -> tuple[Segment, int] | None:
        """Return where to look for the first record with at least a timestamp."""
        for segment in sorted(self.index):
            for entry in self.index[segment].get(place, ()):
                if entry.latest >= timestamp:
                    return segment, entry.position
        return None

    def find_expired(self, segment: Segment, now: int) -> set[str]:
        """Return the topics of a segment whose records are all older than their retention."""
        latest: dict[str, int] = {}
        for place, entries in self.index[segment].items():
            newest = max(entry.latest for entry in entries)
            latest[place.topic] = max(latest.get(place.topic, newest), newest)
        return {
            topic for topic, newest in latest.items()
            if (keep := self.topics[topic][1]) is not None and newest < now - keep
        }  # fmt: skip


def _sidecar(segment: Segment, folder: Path) -> Path:
    return segment.path(folder).with_suffix(".index")


def save_index(index: Index, segment: Segment, folder: Path) -> None:
    """Write the index of a segment that is closed, so that opening the log need not scan it."""
    rows = [(*place, entries) for place, entries in index.items()]
    with replacing(_sidecar(segment, folder)) as file:
        file.write(msgspec.msgpack.encode(rows))


def load_index(segment: Segment, folder: Path) -> Index | None:
    """Read the index of a segment; None if it has none that can be read."""
    kind = list[tuple[str, int, list[Entry]]]
    try:
        rows = msgspec.msgpack.decode(_sidecar(segment, folder).read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None
    return {Partition(topic, number): entries for topic, number, entries in rows}


def remove(segments: Iterable[Segment], folder: Path) -> None:
    """Delete segments and their indexes."""
    for segment in segments:
        segment.path(folder).unlink(missing_ok=True)
        _sidecar(segment, folder).unlink(missing_ok=True)
