"""What a task has changed in its working folder, stored by the hash of its content.

Links, pipes and devices are not kept: elsewhere they would lead to something else.

This file uses the standard library only.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from typing import NamedTuple

MOST_FILES = 10_000
"""Files of a working folder that move between hosts."""
MOST_BYTES = 1 << 30
"""Bytes that one task may add or change."""
_CHUNK = 1 << 20
_MODE = 0o777
_SHOWN = 3


class TooMuch(Exception):
    """A working folder holds more than may be kept."""


class Stamp(NamedTuple):
    """What changes with a file: its inode, size, permissions, and times in nanoseconds."""

    inode: int
    size: int
    mode: int
    modified: int
    changed: int


class Scan(NamedTuple):
    """What is in a working folder.

    Attributes:
        files: The files by their paths, and the empty folders, whose paths end with a slash.
        left_out: The paths of what is neither, or has a name that is not text; and the folders
            and files that cannot be looked at, whose paths end with a slash or, for the folder
            itself, are empty.
    """

    files: dict[str, Stamp]
    left_out: list[str]


def scan(folder: str) -> Scan:
    """List a working folder without following links; one that is missing is empty.

    Tasks that run at the same time share a folder: what goes meanwhile is not there. Whatever a
    script has made of it, this fails no task: what cannot be read is left out.
    """
    found = Scan({}, [])
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            entries = sorted(os.scandir(os.path.join(folder, below)), key=lambda each: each.name)
            if below and not entries:
                found.files[below] = _stamp(os.lstat(os.path.join(folder, below)))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            found.left_out.append(below)
            continue
        for each in entries:
            try:
                _sort(each, below + each.name, found, waiting)
            except FileNotFoundError:
                continue
            except OSError:  # Its folder can be listed, and not entered; or its path is too long.
                found.left_out.append(f"{below}{each.name}/")
    return found


def _sort(entry: os.DirEntry[str], path: str, found: Scan, waiting: list[str]) -> None:
    if not _is_text(path):
        found.left_out.append(path)
    elif entry.is_dir(follow_symlinks=False):
        waiting.append(f"{path}/")
    elif entry.is_file(follow_symlinks=False):
        found.files[path] = _stamp(entry.stat(follow_symlinks=False))
    else:
        found.left_out.append(path)


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(
        status.st_ino,
        status.st_size,
        status.st_mode & _MODE,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def keep(
    folder: str, before: Scan, since: float | None, store: str
) -> tuple[dict[str, tuple[str, int, int, int] | None], str]:
    """Store what a task has changed.

    Args:
        folder: The working folder.
        before: What was in it when the task's last attempt began.
        since: When its first attempt began, in seconds since 1970, if that is another one: it may
            have left what the last one has used.
        store: The folder of stored values.

    Returns:
        The hash, size, permissions and time of the last change (ctime, nanoseconds) of each file
        that was changed, by its path, None for what is gone; an empty folder has no hash. And a
        note about what is not kept, for the log.

    Raises:
        TooMuch: It is more than may be kept.
        OSError: It cannot be read, or stored.
    """
    after = scan(folder)
    earliest = float("inf") if since is None else since * 1e9
    changed = {
        path: stamp
        for path, stamp in after.files.items()
        if before.files.get(path) != stamp or stamp.changed >= earliest
    }
    if changed:
        _check(len(after.files), sum(each.size for each in changed.values()))
    kept: dict[str, tuple[str, int, int, int] | None] = {}
    for path, stamp in changed.items():
        try:
            if path.endswith("/"):
                kept[path] = ("", 0, stamp.mode, stamp.changed)
            else:
                kept[path] = _store(folder, path, store)
        except FileNotFoundError:  # Another task has removed it meanwhile.
            kept[path] = None
    hidden = tuple(each for each in after.left_out if not each or each.endswith("/"))
    gone = (path for path in before.files if path not in after.files)
    kept.update((path, None) for path in gone if not f"{path}/".startswith(hidden))
    return kept, _note(after.left_out, before.left_out)


def _check(files: int, size: int) -> None:
    if files > MOST_FILES:
        raise TooMuch(
            f"the working folder holds {files} files: at most {MOST_FILES} can move between hosts"
        )
    if size > MOST_BYTES:
        raise TooMuch(
            f"the task has changed {size} bytes of its working folder: at most {MOST_BYTES}"
            " can move between hosts"
        )


def _note(left_out: list[str], known: list[str]) -> str:
    before = set(known)
    new = [each for each in left_out if each not in before]
    if not new:
        return ""
    shown = ", ".join(ascii(each or ".") for each in new[:_SHOWN]) + (
        ", ..." if len(new) > _SHOWN else ""
    )
    return f"mlkit: not carried to other hosts: {shown}: not a file or folder that can be read\n"


def _store(folder: str, path: str, store: str) -> tuple[str, int, int, int]:
    """Copy a file into the stored values; return what it was before it was read."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(os.path.join(folder, path), flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path!r} is no longer a regular file")
        os.makedirs(store, mode=0o700, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=store)
        try:
            name, size = _copy(file.fileno(), handle)
            os.replace(temporary, os.path.join(store, name))
        except BaseException:
            os.unlink(temporary)
            raise
        finally:
            os.close(handle)
    return name, size, stat.S_IMODE(status.st_mode) & _MODE, status.st_ctime_ns


def _copy(source: int, target: int) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while part := os.read(source, _CHUNK):
        digest.update(part)
        size += len(part)
        if size > MOST_BYTES:
            raise TooMuch(f"a file of the working folder has grown beyond {MOST_BYTES} bytes")
        while part:
            part = part[os.write(target, part) :]
    os.fsync(target)
    return digest.hexdigest(), size
