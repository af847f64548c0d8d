"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mlkit.errors import InputMissing, ServiceUnavailable

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What the system says when a file cannot grow."""


def check_place(path: Path) -> None:
    """Make sure, before any work is done, that a file can be written.

    Raises:
        InputMissing: Its directory does not exist or cannot be written.
    """
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputMissing(f"{path}: cannot be written: no such directory, or not allowed")
    if path.is_dir():
        raise InputMissing(f"{path}: cannot be written: a directory")


@contextlib.contextmanager
def enough_space() -> Iterator[None]:
    """Tell a full disk from a bug while the block runs.

    Raises:
        ServiceUnavailable: There was no space left for a file.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        place = error.filename or tempfile.gettempdir()
        hint = "free some, or point TMPDIR to a larger disk"
        raise ServiceUnavailable(f"{place}: {os.strerror(error.errno)}", hint=hint) from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends well.

    The bytes go to a temporary file beside `path`, reach the disk, and then get its name in
    one step. A block that fails or is interrupted leaves `path` as it was.

    Raises:
        InputMissing: The directory of `path` does not exist or cannot be written.
    """
    try:
        number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise InputMissing(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(number)
        _allow_as_usual(name)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync(path.parent)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give a folder that becomes `path`, which is not there or empty, when the block ends well.

    Raises:
        InputMissing: The directory of `path` cannot be written.
        OSError: `path` has got files meanwhile.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        name = tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise InputMissing(f"{path}: cannot be written: {error.strerror}") from error
    folder = Path(name)
    try:
        yield folder
        for each in folder.rglob("*"):
            _sync(each)
        folder.chmod(0o777 & ~_mask())
        folder.replace(path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _sync(path.parent)


def _allow_as_usual(name: str) -> None:
    """Give a temporary file, which only its owner may read, the permissions of any new file."""
    Path(name).chmod(0o666 & ~_mask())


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    """Put a file, or a directory's entries, on disk, so that a rename outlives a power cut."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
