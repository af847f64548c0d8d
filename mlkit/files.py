"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mlkit.errors import BadData, InputMissing, ServiceUnavailable, UsageError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""The errors of the system when a file cannot grow."""
BAD_NAME = {errno.ELOOP, errno.ENAMETOOLONG}
"""The errors of the system when a name can never be that of a file."""
_LEFTOVER = re.compile(r"tmp[a-z0-9_]{8}|\..+\.part", re.DOTALL)
"""Names of temporary files: those of `tempfile`, as workers have them, and of `replacing`."""
_KEPT_OF_NAME = 50  # Characters, so that the name of a temporary file is not too long.


def read_regular(path: Path, limit: int) -> bytes:
    """Return the bytes of a regular file; a FIFO or a device may never end.

    Raises:
        InputMissing: It cannot be read, or is no regular file.
        BadData: It holds more than `limit` bytes.
    """
    try:
        with open(path, "rb", opener=_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputMissing(f"{path}: not a regular file", hint="copy it into one first")
            content = file.read(limit + 1)
    except OSError as error:
        raise InputMissing(f"{path}: {error.strerror}") from error
    if len(content) > limit:
        raise BadData(f"{path}: larger than {limit // 1_000_000} MB")
    return content


def _at_once(path: str, flags: int) -> int:
    """Open a file without waiting for whoever writes into a FIFO."""
    return os.open(path, flags | os.O_NONBLOCK)


def check_name(path: Path) -> None:
    """Make sure that a file can have a name.

    Raises:
        UsageError: It is too long, or a symbolic link that leads back to itself.
    """
    try:
        path.stat()
    except OSError as error:
        if error.errno in BAD_NAME:
            raise bad_name(error) from error


def bad_name(error: OSError) -> UsageError:
    """Return the error that a user sees for an error of the system in `BAD_NAME`."""
    return UsageError(f"{error.filename}: {error.strerror}", hint="name another file")


def check_place(path: Path) -> None:
    """Make sure, before any work is done, that an output can be written.

    Raises:
        UsageError: It is a directory, or no file can have its name.
        InputMissing: Its directory does not exist or cannot be written.
    """
    check_name(path)
    if path.is_dir():
        raise UsageError(f"{path}: cannot be written: a directory", hint="name a file in it")
    if _is_special(path):
        return
    path = _target(path)
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputMissing(f"{path}: cannot be written: no such directory, or not allowed")


@contextlib.contextmanager
def enough_space() -> Iterator[None]:
    """Distinguish a full disk from a bug while the block runs.

    Raises:
        ServiceUnavailable: There was no space left for a file.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise full_disk(error) from error


def full_disk(error: OSError) -> ServiceUnavailable:
    """Return the error that a user sees for an error of the system in `FULL`."""
    place = error.filename or tempfile.gettempdir()
    hint = "free some disk space; temporary files go where TMPDIR points"
    return ServiceUnavailable(f"{place}: {os.strerror(error.errno or 0)}", hint=hint)


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Open an output: a regular file appears whole or not at all, anything else is written to.

    The bytes of a regular file go to a temporary file beside it, reach the disk, and then get its
    name in one step. A block that fails or is interrupted leaves `path` as it was. A file that was
    there keeps its permissions, and a symbolic link stays a link: its target is replaced. Devices,
    FIFOs and `/dev/stdout` are written to, since replacing one would break what others do with it.

    Args:
        path: The output.
        mode: Permissions of a new file, before the umask.

    Raises:
        UsageError: `path` is a directory, or no file can have its name.
        InputMissing: The directory of `path` does not exist or cannot be written.
        ServiceUnavailable: The disk is full.
    """
    check_place(path)
    with _telling_a_full_disk(path):
        if _is_special(path):
            with _open(path) as file:
                yield file
            return
        path = _target(path)
        with _part_of(path, mode) as file:
            yield file
    sync(path.parent)


def _target(path: Path) -> Path:
    """Return the file that a chain of symbolic links leads to, whether it exists or not."""
    return path.resolve() if path.is_symlink() else path


def _is_special(path: Path) -> bool:
    """Return whether something other than a regular file or a directory has that name."""
    try:
        kind = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(kind) and not stat.S_ISDIR(kind)


@contextlib.contextmanager
def _telling_a_full_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        error.filename = str(path)
        raise full_disk(error) from error


@contextlib.contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("wb")
    except OSError as error:
        raise InputMissing(f"{path}: cannot be written: {error.strerror}") from error
    with file:
        yield file


@contextlib.contextmanager
def _part_of(path: Path, mode: int) -> Iterator[BinaryIO]:
    """Write a temporary file that takes the place of `path` at the end."""
    try:
        number, name = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path), suffix=".part")
    except OSError as error:
        if error.errno in FULL:
            raise
        raise InputMissing(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(number)
        Path(name).chmod(_permissions(path, mode))
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def remove_leftovers(folder: Path, before: float) -> list[int]:
    """Remove the temporary files in a folder that writers left which died, and return their sizes.

    Args:
        folder: The folder, which may be missing.
        before: What was written to since then (seconds since 1970) may be still in use.
    """
    sizes: list[int] = []
    with contextlib.suppress(FileNotFoundError):
        for each in folder.iterdir():
            if _LEFTOVER.fullmatch(each.name):
                with contextlib.suppress(OSError):
                    known = each.lstat()
                    if stat.S_ISREG(known.st_mode) and known.st_mtime < before:
                        each.unlink()
                        sizes.append(known.st_size)
    return sizes


def _prefix(path: Path) -> str:
    """Return how the name of a temporary file begins that takes the place of a path."""
    return f".{path.name[:_KEPT_OF_NAME]}."


def _permissions(path: Path, mode: int) -> int:
    """Return the permissions of the file that is replaced, or those of a new one."""
    try:
        return stat.S_IMODE(path.stat().st_mode) & 0o777
    except OSError:
        return mode & ~_mask()


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Make a folder with its parents, where it is missing; if that fails, leave none of them.

    Args:
        path: The folder.
        mode: Its permissions, less the umask; its parents have the usual ones.

    Raises:
        OSError: It cannot be made.
    """
    made: list[Path] = []
    try:
        for each in reversed((path, *path.parents)):
            if not each.exists():
                each.mkdir(mode if each == path else 0o777, exist_ok=True)
                made.append(each)
        path.mkdir(exist_ok=True)  # refuses a file
    except OSError:
        for each in reversed(made):
            with contextlib.suppress(OSError):
                each.rmdir()
        raise


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Return a folder that becomes `path`, which is not there or empty, when the block ends well.

    Raises:
        UsageError: No folder can have the name of `path`.
        InputMissing: The directory of `path` cannot be written.
        OSError: `path` has got files meanwhile.
    """
    check_name(path)
    try:
        make_folder(path.parent)
        name = tempfile.mkdtemp(dir=path.parent, prefix=_prefix(path), suffix=".part")
    except OSError as error:
        raise InputMissing(f"{path}: cannot be written: {error.strerror}") from error
    folder = Path(name)
    try:
        yield folder
        for each in folder.rglob("*"):
            sync(each)
        folder.chmod(0o777 & ~_mask())
        folder.replace(path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    sync(path.parent)


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sync(path: Path) -> None:
    """Put a file, or a directory's entries, on disk, so that a rename outlives a power cut."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
