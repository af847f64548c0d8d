"""Frames, which are written whole or not at all, and the segments that hold them."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from mlkit.errors import BadData

MAGIC = 0x314B4C4D
_HEAD = struct.Struct("<III")
_CHUNK = 1 << 20


class Run(msgspec.Struct, array_like=True):
    """Consecutive records of a partition."""

    topic: str
    number: int
    base: int
    timestamps: list[int]
    keys: list[bytes]
    values: list[bytes]


class Frame(msgspec.Struct, array_like=True):
    """What becomes visible at once.

    Attributes:
        runs: Records.
        topics: Topics with their partitions and retention in milliseconds.
        ends: For topic and partition the offset that its next record gets.
        offsets: For group, topic and partition the offset that was committed.
        states: For group, topic and partition the state that was committed.
    """

    runs: list[Run] = []
    topics: list[tuple[str, int, int | None]] = []
    ends: list[tuple[str, int, int]] = []
    offsets: list[tuple[str, str, int, int]] = []
    states: list[tuple[str, str, int, bytes]] = []


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)


class Segment(NamedTuple):
    """A file of frames; a rewritten one has a higher generation."""

    number: int
    generation: int = 0

    def path(self, folder: Path) -> Path:
        """Return its place."""
        return folder / f"{self.number:010d}.{self.generation}.log"


def segments(folder: Path) -> list[Segment]:
    """List the segments of a folder in their order; of two generations the later one."""
    found: dict[int, int] = {}
    for path in folder.glob("*.log"):
        number, generation = path.name.split(".")[:2]
        found[int(number)] = max(found.get(int(number), 0), int(generation))
    return [Segment(*each) for each in sorted(found.items())]


def encode(frame: Frame) -> bytes:
    """Return a frame with its length and checksum."""
    payload = _encoder.encode(frame)
    return _HEAD.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


def scan(file: int, position: int) -> Iterator[tuple[int, int, Frame]]:
    """Yield the frames from a position on, each with its place and the place after it.

    It ends before the first frame that is not complete: one that is being written, or that was
    when its process or machine stopped.
    """
    buffer, start = b"", position
    while True:
        chunk = os.pread(file, _CHUNK, start + len(buffer))
        buffer += chunk
        used = 0
        while (size := _whole(buffer, used)) is not None:
            payload = buffer[used + _HEAD.size : used + size]
            yield start + used, start + used + size, _decoder.decode(payload)
            used += size
        buffer, start = buffer[used:], start + used
        if not chunk:
            return


def _whole(buffer: bytes, at: int) -> int | None:
    """Return the size of the frame at a place of a buffer; None if it is not complete there."""
    if len(buffer) < at + _HEAD.size:
        return None
    magic, length, check = _HEAD.unpack_from(buffer, at)
    stop = at + _HEAD.size + length
    if magic != MAGIC or len(buffer) < stop:
        return None
    if zlib.crc32(memoryview(buffer)[at + _HEAD.size : stop]) != check:
        return None
    return _HEAD.size + int(length)


def require_torn(file: int, position: int, path: Path) -> None:
    """Refuse a file in which frames follow one that is damaged: those were acknowledged.

    Raises:
        BadData: There are.
    """
    tail = os.pread(file, os.fstat(file).st_size - position, position)
    mark = struct.pack("<I", MAGIC)
    at = tail.find(mark, 1)
    while at >= 0:
        if _whole(tail, at) is not None:
            raise BadData(
                f"{path}: damaged at byte {position}, with whole records after it",
                hint="restore the file from a copy",
            )
        at = tail.find(mark, at + 1)
