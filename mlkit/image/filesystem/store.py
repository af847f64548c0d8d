"""The named members of an archive, in a tar or in a folder, each opened as a file of its own."""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
from pathlib import Path
from typing import IO, Any, Protocol

from mlkit.errors import BadData

MOST_LINKS = 8
"""Links followed inside an archive."""


class Store(Protocol):
    """The named members of an archive."""

    @property
    def size(self) -> int:
        """The bytes of the archive as it is stored."""

    def open(self, name: str) -> Part:
        """Open a member."""

    def close(self) -> None:
        """Let the archive go."""


class Part(io.RawIOBase):
    """A part of a file as a file of its own; several can be read at the same time.

    Args:
        file: The whole file.
        begin: Where the part begins.
        size: Its bytes.
        whole: Close the file with the part.
    """

    def __init__(self, file: IO[bytes], begin: int, size: int, whole: bool = False) -> None:
        self._file = file
        self._begin = begin
        self._size = size
        self._whole = whole
        self._at = 0

    def part(self, begin: int, size: int) -> Part:
        """Return a part of this part, in its stead: the file is closed with that one."""
        size = min(size, max(0, self._size - begin))
        whole, self._whole = self._whole, False
        return Part(self._file, self._begin + begin, size, whole)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("an offset before the beginning")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read what fits, from its own place: the file's is left alone."""
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        count = os.preadv(self._file.fileno(), [view], self._begin + self._at) if view else 0
        self._at += count
        return count

    def close(self) -> None:
        """Close it."""
        if self._whole:
            self._file.close()
        super().close()


def open_file(path: Path) -> Part:
    """Open a whole file as a part."""
    return Part(path.open("rb"), 0, path.stat().st_size, whole=True)


class TarStore:
    """The members of a tar file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        try:
            with tarfile.open(fileobj=self._file, mode="r:") as tar:
                self._names = {member.name.removeprefix("./"): member for member in tar}
        except BaseException:
            self._file.close()
            raise
        self.size = path.stat().st_size

    def open(self, name: str) -> Part:
        """Open a member, following links inside the tar."""
        for _ in range(MOST_LINKS):
            member = self._names.get(name)
            if member is None or not (member.issym() or member.islnk()):
                break
            beside = posixpath.dirname(name) if member.issym() else ""
            name = posixpath.normpath(posixpath.join(beside, member.linkname))
        if member is None or not member.isreg() or member.issparse():
            raise BadData(f"{self._path}: {name} is missing", hint="the archive is incomplete")
        return Part(self._file, member.offset_data, member.size)

    def close(self) -> None:
        """Close the tar."""
        self._file.close()


class DirectoryStore:
    """The files of a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())

    def open(self, name: str) -> Part:
        """Open a file of the folder."""
        path = self._path / name
        if ".." in Path(name).parts or Path(name).is_absolute() or not path.is_file():
            raise BadData(f"{self._path}: {name} is missing", hint="the layout is incomplete")
        return open_file(path)

    def close(self) -> None:
        """Do nothing: each file is closed by whoever opened it."""
