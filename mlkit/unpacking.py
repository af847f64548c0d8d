"""Compressed input, unpacked with limits: a small file must not become an endless one."""

from __future__ import annotations

import gzip
import io
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO

from mlkit.errors import BadData

GZIP_MAGIC = b"\x1f\x8b"
FREE = 64 << 20
"""Bytes that any file may unpack to: the ratio of a small result means nothing."""
_CHUNK = 1 << 16


@dataclass(frozen=True)
class UnpackLimits:
    """How much a compressed file may unpack to.

    Attributes:
        ratio: Unpacked bytes per packed byte, once more than 64 MiB are unpacked.
        size: Unpacked bytes in all; None: any number.
    """

    ratio: float = 200.0
    size: int | None = 8 << 30

    def check(self, name: str, packed: int, unpacked: int) -> None:
        """Refuse a file that unpacks to too much.

        Args:
            name: The file, for the error.
            packed: Bytes of the file, or those that were read so far.
            unpacked: Bytes that they unpack to.

        Raises:
            BadData: `unpacked` is above a limit.
        """
        if self.size is not None and unpacked > self.size:
            found = f"unpacks to more than {self.size / 2**30:.3g} GiB"
            raise BadData(f"{name}: {found}", hint="--max-unpacked GIB raises the limit")
        if unpacked > max(FREE, self.ratio * packed):
            found = f"unpacks to more than {self.ratio:g} times its size"
            raise BadData(f"{name}: {found}", hint="--max-ratio TIMES raises the limit")


UNLIMITED = UnpackLimits(ratio=float("inf"), size=None)
STREAMED = UnpackLimits(size=None)
"""Limits of what is never in memory as a whole."""


class GzipReader(io.RawIOBase):
    """The unpacked bytes of a gzip stream, within limits.

    Args:
        stream: The packed bytes.
        name: The file, for errors.
        limits: How much it may unpack to.

    Raises:
        BadData: While reading: the stream is damaged or truncated, or unpacks to too much.
    """

    def __init__(self, stream: BinaryIO, name: str, limits: UnpackLimits | None = None) -> None:
        self._packed = _Counter(stream)
        self._gzip = gzip.GzipFile(fileobj=self._packed)
        self._name = name
        self._limits = limits or UnpackLimits()
        self._unpacked = 0

    def readable(self) -> bool:
        """Return whether this stream can be read: always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Unpack the next bytes into a buffer."""
        try:
            # Small steps: a megabyte of packed zeros is a gigabyte.
            count = self._gzip.readinto(memoryview(buffer)[:_CHUNK])
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BadData(f"{self._name}: damaged gzip file: {error}") from error
        self._unpacked += count
        self._limits.check(self._name, self._packed.count, self._unpacked)
        return count


class _Counter(io.RawIOBase):
    """A stream that counts the bytes read from it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read = self._stream.read(len(buffer))
        buffer[: len(read)] = read
        self.count += len(read)
        return len(read)


def unzip(content: bytes, name: str, limits: UnpackLimits | None = None) -> bytes:
    """Unpack gzip content; content that does not begin as gzip is returned unchanged.

    Raises:
        BadData: The content is damaged, or unpacks to more than the limits allow.
    """
    if content[:2] != GZIP_MAGIC:
        return content
    reader = GzipReader(io.BytesIO(content), name, limits)
    return io.BufferedReader(reader, _CHUNK).read()
