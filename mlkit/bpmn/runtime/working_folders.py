"""The working folder of an instance on this host, made what the journal records.

A note beside the folder lists which files this host has known last. Where the journal records
others, another host has moved the instance on meanwhile: what its tasks have changed is fetched,
and what they have removed is removed. Files that the note does not list are none of the
journal's, and stay.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from mlkit.bpmn.engine.work_file import WorkFile
from mlkit.bpmn.journal.artifacts import ArtifactStore, is_hash
from mlkit.bpmn.runtime.concurrent_changes import find_conflict
from mlkit.errors import BadData, ConfigurationError
from mlkit.files import FULL, full_disk
from mlkit.workers.child.kept_files import scan

_CHUNK = 1 << 20
_MODE = 0o777
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOTE = msgspec.json.Decoder(dict[str, WorkFile])
Files = Mapping[str, WorkFile]


def note_of(folder: Path) -> Path:
    """Return the file that records what this host knows of a working folder."""
    return folder.with_name(f"{folder.name}.json")


def note(folder: Path, files: Files) -> None:
    """Write what is in a working folder of this host."""
    note_of(folder).write_bytes(msgspec.json.encode(files))


def _noted(folder: Path) -> dict[str, WorkFile] | None:
    """Return what this host has known last; None where it has known nothing."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return _NOTE.decode(note_of(folder).read_bytes())
    return None


def remove(folder: Path) -> None:
    """Remove a working folder with its note."""
    shutil.rmtree(folder, ignore_errors=True)
    note_of(folder).unlink(missing_ok=True)


def restore(folder: Path, files: Files, store: ArtifactStore, is_used: bool = False) -> None:
    """Make a working folder what the journal records.

    Args:
        folder: The folder, which is made where it is missing.
        files: What the journal records.
        store: Where the contents are; those that are missing here are fetched.
        is_used: Whether a task runs in it now: what is known to be here is then left to that task.

    Raises:
        BadData: A path leads out of the folder or is both a file and a folder, or a content is not
            what was stored.
        InputMissing: A content is nowhere.
        ServiceUnavailable: The store cannot be reached, or the disk is full.
        ConfigurationError: The folder cannot be written.
    """
    known = _noted(folder)
    if known == files:
        return
    check_all(files)
    for each in files.values():
        if each.hash:
            store.fetch(each.hash)
    try:
        folder.mkdir(mode=0o777, parents=True, exist_ok=True)
        if known is not None:
            _remove_stale(folder, known, files)
        for path, each in files.items():
            if not (is_used and known is not None and known.get(path) == each):
                _place(folder, path, each, store)
        note(folder, files)
    except OSError as error:
        if error.errno in FULL:
            raise full_disk(error) from error
        raise ConfigurationError(f"the working folder cannot be restored: {error}") from error


def check_all(files: Files) -> None:
    """Refuse what cannot be in a working folder.

    Raises:
        BadData: A path leads out of the folder or is both a file and a folder.
    """
    for path, each in files.items():
        _check(path, each)
    conflict = find_conflict(files)
    if conflict is not None:
        raise BadData(f"{conflict!r:.80} is both a file and a folder of a working folder")


def _check(path: str, file: WorkFile) -> None:
    """Refuse what is no path inside a folder: a journal may have been imported from anywhere."""
    parts = path.removesuffix("/").split("/")
    is_inside = not any(each in ("", ".", "..") for each in parts) and "\0" not in path
    is_whole = is_hash(file.hash) if not path.endswith("/") else not file.hash
    if not (is_inside and is_whole):
        raise BadData(f"{path!r:.80} is not the name of a file in a working folder")


def _remove_stale(folder: Path, known: Files, files: Files) -> None:
    """Remove what was carried and has gone; of whatever else is here the journal knows nothing."""
    for path in scan(str(folder)).files:
        if path in known and path not in files:
            with _opened_parent(folder, path) as (parent, name):
                _remove(parent, name)
            _remove_empty(folder, Path(path).parent, files)


def _remove_empty(folder: Path, below: Path, files: Files) -> None:
    """Remove the folders that hold nothing any more."""
    with contextlib.suppress(OSError):
        while below != Path() and f"{below}/" not in files:
            (folder / below).rmdir()
            below = below.parent


def _place(folder: Path, path: str, file: WorkFile, store: ArtifactStore) -> None:
    """Put a file, or an empty folder, where it belongs; what is there already is kept."""
    with _opened_parent(folder, path) as (parent, name):
        if not file.hash:
            handle = _enter(parent, name)
            try:
                os.fchmod(handle, file.mode & _MODE)
            finally:
                os.close(handle)
        elif not _is_same(parent, name, file):
            _write(parent, name, file, store.folder / file.hash)


@contextmanager
def _opened_parent(folder: Path, path: str) -> Iterator[tuple[int, str]]:
    """Open the folder that a path lies in, making it; no part of the path may be a link."""
    *above, name = path.removesuffix("/").split("/")
    handle = os.open(folder, _FOLDER)
    try:
        for each in above:
            inner = _enter(handle, each)
            os.close(handle)
            handle = inner
        yield handle, name
    finally:
        os.close(handle)


def _enter(parent: int, name: str) -> int:
    """Open a folder in a folder; it takes the place of what else has its name."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o777, dir_fd=parent)
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
    os.unlink(name, dir_fd=parent)
    os.mkdir(name, 0o777, dir_fd=parent)
    return os.open(name, _FOLDER, dir_fd=parent)


def _remove(parent: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except IsADirectoryError:
        os.rmdir(name, dir_fd=parent)


def _is_same(parent: int, name: str, file: WorkFile) -> bool:
    """Return whether a file is there already with the same content; it gets its permissions."""
    try:
        with os.fdopen(os.open(name, _READ, dir_fd=parent), "rb") as found:
            if os.fstat(found.fileno()).st_size != file.size:
                return False
            is_same = hashlib.file_digest(found, "sha256").hexdigest() == file.hash
            if is_same:
                os.fchmod(found.fileno(), file.mode & _MODE)
            return is_same
    except OSError:  # It is not there, or a link, a folder, a device.
        return False


def _write(parent: int, name: str, file: WorkFile, stored: Path) -> None:
    """Copy a stored value to its place in one step, comparing it with its hash."""
    temporary = f".mlkit-{secrets.token_hex(8)}"
    digest = hashlib.sha256()
    try:
        with (
            os.fdopen(os.open(temporary, _NEW, 0o600, dir_fd=parent), "wb") as target,
            stored.open("rb") as source,
        ):
            while part := source.read(_CHUNK):
                digest.update(part)
                target.write(part)
            target.flush()
            os.fchmod(target.fileno(), file.mode & _MODE)
            os.fsync(target.fileno())
        if digest.hexdigest() != file.hash:
            raise BadData(f"{stored}: the stored value is not what was stored: its hash differs")
        with contextlib.suppress(OSError):
            _remove_folder(parent, name)
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=parent)
        raise


def _remove_folder(parent: int, name: str) -> None:
    """Remove a folder that has the name of a file; a file or link is replaced in one step."""
    os.close(os.open(name, _FOLDER, dir_fd=parent))
    shutil.rmtree(name, dir_fd=parent)
