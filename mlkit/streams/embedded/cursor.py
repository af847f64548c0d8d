"""A place in the journal, from which the records of some partitions are read on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING

from mlkit.streams.embedded import frames
from mlkit.streams.embedded.frames import Segment
from mlkit.streams.log import Partition, Record

if TYPE_CHECKING:
    from mlkit.streams.embedded.store import EmbeddedLog


class Cursor:
    """Reads the frames in their order, and picks what is wanted of them."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._log = log
        self._file = -1
        self._wanted: dict[Partition, int] = {}
        self._held: list[Record] = []
        self._frames: Iterator[tuple[int, int, frames.Frame]] = iter(())

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        """Continue at the given offset of each partition, or at the first that is kept."""
        with self._log.changed:
            places = [self._log.catalogue.find(*each) for each in offsets.items()]
            end = (self._log._segment, self._log._position)
        self.start(offsets, min((each for each in places if each is not None), default=end))

    def start(self, offsets: Mapping[Partition, int], place: tuple[Segment, int]) -> None:
        """Continue at a place of the journal."""
        self._wanted = dict(offsets)
        self._held = []
        self._open(*place)

    def _open(self, segment: Segment, position: int) -> None:
        self.close()
        try:
            self._file = os.open(segment.path(self._log.folder), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            # Another process has dropped or rewritten it: look the records up again.
            self._log.reload()
            self.seek(self._wanted)
            return
        self._segment, self._position = segment, position
        self._frames = frames.scan(self._file, position)

    def next(self, most: int) -> list[Record]:
        """Return the next records, at most `most`; none at the end of the journal."""
        found, self._held = self._held[:most], self._held[most:]
        while len(found) < most and self._advance():
            room = most - len(found)
            found += self._held[:room]
            self._held = self._held[room:]
        return found

    def _advance(self) -> bool:
        """Take records of further frames; False at the end of the journal."""
        while True:
            for _, after, frame in self._frames:
                self._position = after
                self._pick(frame)
                if self._held:
                    return True
            self._frames = frames.scan(self._file, self._position)
            if os.fstat(self._file).st_size <= self._position and not self._onward():
                return False
            if not self._has_grown():
                return False

    def _has_grown(self) -> bool:
        """Return whether a whole frame follows, which may be a while in coming."""
        following = next(self._frames, None)
        if following is None:
            self._frames = frames.scan(self._file, self._position)
            return False
        self._frames = chain([following], self._frames)
        return True

    def _onward(self) -> bool:
        """Move to the next segment if there is one and this one is read to its end."""
        later = [each for each in frames.segments(self._log.folder)
                 if each.number > self._segment.number]  # fmt: skip
        if not later:
            return False
        if not self._has_grown():
            self._open(later[0], 0)
        return True

    def _pick(self, frame: frames.Frame) -> None:
        for run in frame.runs:
            place = Partition(run.topic, run.number)
            wanted = self._wanted.get(place)
            if wanted is None or run.base + len(run.values) <= wanted:
                continue
            skip = max(wanted - run.base, 0)
            rows = zip(run.timestamps[skip:], run.keys[skip:], run.values[skip:], strict=True)
            self._held += [
                Record(place, offset, *row) for offset, row in enumerate(rows, run.base + skip)
            ]
            self._wanted[place] = run.base + len(run.values)

    def close(self) -> None:
        """Release the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
