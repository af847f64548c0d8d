"""Move a journal with its stored values into a file, and out of it into another journal.

The file is a tar archive: `manifest.json`, `links.key` where it was asked for, the rows of each
table as lines of JSON, the digest of the state of each instance, the stored values, the working
folders of the tasks, and `summary.json` at the end: how many there are of each. What was read back
is counted and replayed, and each state compared with that of the journal it comes from. Files of
working folders have their hashes in the headers of tar; they are unpacked beside the working
folders, and moved there once all is sound.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlkit.bpmn.journal import archive_versions
from mlkit.bpmn.journal.artifacts import ArtifactStore, is_hash
from mlkit.bpmn.journal.parts import Archive
from mlkit.bpmn.journal.records import Row, encode
from mlkit.bpmn.people import links
from mlkit.bpmn.runtime.session import Session
from mlkit.errors import BadData, InputMissing, MlkitError, UsageError
from mlkit.files import FULL, enough_space, full_disk, replacing, sync

FORMAT = "mlkit.bpmn.journal"
_MANIFEST = "manifest.json"
_STATES = "states.jsonl"
_SUMMARY = "summary.json"
_SUMMARISED = "summarised"
_HASH = "MLKIT.sha256"
"""The header of a file of a working folder that has its hash."""
_UNPACKED = ".import-"
"""How the folder's name begins in which working folders are unpacked."""


def export(session: Session, file: Path, with_keys: bool = False) -> dict[str, Any]:
    """Write all of a journal into a file.

    Args:
        session: The journal.
        file: The file to write.
        with_keys: Whether the key goes with it that signs the links of mails.

    Returns:
        How many rows each table has, how many stored values there are, and whether the key is
        there.

    Raises:
        UsageError: A process uses the journal.
        InputMissing: The state folder has no key.
        ServiceUnavailable: The file cannot be written.
    """
    journal = session.journal
    key = links.require_key(journal.folder) if with_keys else None
    with journal.transaction(), replacing(file, 0o600) as output:
        archive = journal.archive()
        archive.freeze()
        _require_unused(session)
        with tarfile.open(fileobj=output, mode="w") as tar:
            _add(tar, _MANIFEST, [_json(_manifest())])
            if key is not None:
                _add(tar, links.FILE_NAME, [key])
            rows = {
                name: _add(tar, f"tables/{name}.jsonl", archive.read(name))
                for name in archive.tables
            }
            _add(tar, _STATES, _states(session))
            stored = sorted(each.name for each in journal.artifacts.all())
            for name in stored:
                tar.add(_sound(journal.artifacts, name), f"artifacts/{name}")
            if (journal.folder / "work").is_dir():
                tar.add(journal.folder / "work", "work", filter=_hashing(journal.folder))
            done = {"rows": rows, "artifacts": len(stored)}
            kept = sum(each.name.startswith("work/") for each in tar.getmembers())
            _add(tar, _SUMMARY, [_json({**done, "work": kept})])
    return {**done, "keys": with_keys}


def _manifest() -> dict[str, Any]:
    return {"format": FORMAT, "components": archive_versions(), _SUMMARISED: True}


def _hashing(folder: Path) -> Callable[[tarfile.TarInfo], tarfile.TarInfo | None]:
    """Return what notes the hashes of files below a folder, and leaves out what is no file.

    Elsewhere links, pipes and devices would lead to something else.
    """

    def note(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if member.isfile():
            member.pax_headers = {_HASH: _hash(folder / member.name)}
        return member if _is_plain(member) else None

    return note


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_plain(member: tarfile.TarInfo) -> bool:
    return member.isfile() or member.isdir() or member.islnk()


def import_(session: Session, file: Path) -> dict[str, Any]:
    """Read a file of `export` into an empty journal; see `export` for what is returned.

    Raises:
        InputMissing: There is no such file.
        BadData: It is no such file, or damaged, or of another version.
        UsageError: The journal is used or holds something, or the state folder has another key.
        ServiceUnavailable: The disk is full.
    """
    with _open(file) as tar:
        return _import_archive(session, tar, file)


def require_exported(file: Path) -> None:
    """Refuse what is not a file of `export`, or one of another version.

    Raises:
        InputMissing: There is no such file.
        BadData: It is no such file.
    """
    with _open(file) as tar:
        _require_version(tar, archive_versions(), file)


@contextmanager
def _open(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(file) as tar:
            yield tar
    except FileNotFoundError as error:
        raise InputMissing(f"{file}: there is no such file") from error
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise full_disk(error) from error
        if isinstance(error, OSError) and error.errno is not None:  # without one it is a bad gzip
            raise InputMissing(f"{file}: cannot be read: {error.strerror}", hint=_HINT) from error
        raise BadData(f"{file}: not an archive, or damaged", hint=_HINT) from error


_HINT = "expected a file of `mlkit bpmn export`"


def _import_archive(session: Session, tar: tarfile.TarFile, file: Path) -> dict[str, Any]:
    journal = session.journal
    with journal.transaction():
        archive = journal.archive()
        archive.freeze()
        _require_unused(session)
        if not archive.is_empty():
            raise UsageError(
                f"{journal.url or journal.folder}: the journal holds something already",
                hint="import into a new state folder, or another schema",
            )
        summarised = _require_version(tar, archive_versions(), file)
        with _unpacking(journal.folder) as unpacked:
            try:
                found = _read(session, archive, tar, unpacked)
            except (ValueError, KeyError, TypeError) as error:
                raise BadData(f"{file}: it cannot be read: {error}", hint=_HINT) from error
            archive.finish()
            _require_same(session, found.states, file)
            _require_whole(summarised, found.summary, {**found.done, "work": found.kept}, file)
            _move_work(unpacked, journal.folder)
            if found.key is not None:
                links.keep_key(journal.folder, found.key)
    return {**found.done, "keys": found.key is not None}


@dataclass(slots=True)
class _Found:
    """What an archive holds.

    Attributes:
        done: What `import_` returns of rows and stored values.
        kept: How many members working folders have.
        states: The digest of the state of each instance.
        summary: How many there are of each, as the archive states; None where it does not.
        key: The key that signs the links of mails; None where it was not exported.
    """

    done: dict[str, Any] = field(default_factory=lambda: {"rows": {}, "artifacts": 0})
    kept: int = 0
    states: dict[str, str | None] = field(default_factory=dict)
    summary: Any = None
    key: bytes | None = None


def _read(session: Session, archive: Archive, tar: tarfile.TarFile, unpacked: Path) -> _Found:
    """Read all of an archive: rows and stored values into the journal, files into a folder."""
    found = _Found()
    for member in tar:
        kind, _, name = member.name.partition("/")
        if kind == "tables":
            table = name.removesuffix(".jsonl")
            found.done["rows"][table] = archive.write(table, _lines(tar, member))
        elif kind == _STATES:
            for line in _lines(tar, member):
                state = json.loads(line)
                found.states[state["instance"]] = state["state"]
        elif kind == "artifacts":
            kept = _keep_stored(tar, member, name, session.journal.artifacts)
            found.done["artifacts"] += kept
        elif kind == "work" and name and _is_plain(member):
            _unpack(tar, member, unpacked)
            found.kept += 1
        elif kind == links.FILE_NAME:
            found.key = b"".join(_lines(tar, member)).strip()
            links.require_no_other_key(session.journal.folder, found.key)
        elif kind == _SUMMARY:
            found.summary = json.loads(b"".join(_lines(tar, member)))
    return found


@contextmanager
def _unpacking(folder: Path) -> Iterator[Path]:
    """Make a folder in which to unpack; what an import left there that was killed goes first.

    Raises:
        ServiceUnavailable: The disk is full.
    """
    for left in folder.glob(f"{_UNPACKED}*"):
        shutil.rmtree(left, ignore_errors=True)
    for left in (folder / "artifacts").glob(".*.part"):
        left.unlink(missing_ok=True)
    with enough_space(), tempfile.TemporaryDirectory(prefix=_UNPACKED, dir=folder) as name:
        yield Path(name)


def _require_unused(session: Session) -> None:
    if session.journal.is_used():
        raise UsageError(
            f"{session.journal.url or session.journal.folder}: a process uses the journal",
            hint="stop the servers and the commands that run instances",
        )


def _require_version(tar: tarfile.TarFile, versions: dict[str, int], file: Path) -> bool:
    """Refuse what is not a file of this version; return whether it has a summary at its end."""
    first = tar.next()
    if first is None or first.name != _MANIFEST:
        raise BadData(f"{file}: it is not an exported journal", hint=_HINT)
    try:
        found = json.loads(b"".join(_lines(tar, first)))
        components = found["components"] if found["format"] == FORMAT else None
        summarised = bool(found.get(_SUMMARISED))  # The first files had none.
    except (ValueError, KeyError, TypeError) as error:
        raise BadData(f"{file}: it is not an exported journal", hint=_HINT) from error
    if components != versions:
        raise BadData(
            f"{file}: another version of mlkit has written it",
            hint="use that version, or export it again with this one",
        )
    return summarised


# -- states --------------------------------------------------------------------------------


def _states(session: Session) -> Iterator[bytes]:
    for row in session.journal.rows():
        yield _json({"instance": row.id, "state": _digest(session, row)})


def _digest(session: Session, row: Row) -> str | None:
    """Return the digest of a state; None where it cannot be replayed."""
    try:
        row.require_readable(session.journal.folder)
        return hashlib.sha256(encode(session.state(row))).hexdigest()
    except MlkitError:
        return None


def _require_same(session: Session, states: dict[str, str | None], file: Path) -> None:
    rows = session.journal.rows()
    wrong = [each.id for each in rows if _digest(session, each) != states.get(each.id)]
    if wrong or len(rows) != len(states):
        which = ", ".join(wrong[:5]) or "some are missing"
        raise BadData(f"{file}: instances are not as they were: {which}")


def _require_whole(summarised: bool, summary: Any, found: dict[str, Any], file: Path) -> None:
    """Refuse a file that ends early: tar does not notice where that is between two members."""
    if summarised and summary != found:
        raise BadData(f"{file}: a part of it is missing", hint="copy it again, all of it")


# -- members -------------------------------------------------------------------------------


def _json(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True).encode() + b"\n"


def _add(tar: tarfile.TarFile, name: str, lines: Iterable[bytes]) -> int:
    """Add a file of lines; return how many."""
    count = 0
    with tempfile.TemporaryFile() as file:
        for line in lines:
            file.write(line)
            count += 1
        member = tarfile.TarInfo(name)
        member.size, member.mode = file.tell(), 0o600
        file.seek(0)
        tar.addfile(member, file)
    return count


def _lines(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    content = tar.extractfile(member)
    if content is None:
        raise BadData(f"{member.name}: it is not a file", hint=_HINT)
    with content:
        yield from content


def _sound(store: ArtifactStore, name: str) -> Path:
    """Return the file of a stored value, fetched where hosts share it.

    Raises:
        BadData: It is not what was stored.
    """
    path = store.fetch(name)
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != name:
            raise BadData(f"{path}: it is not what was stored", hint="see `mlkit bpmn check`")
    return path


def _keep_stored(
    tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, store: ArtifactStore
) -> int:
    """Keep a stored value; return how many it is."""
    if member.isdir():
        return 0
    content = tar.extractfile(member)
    if not is_hash(name) or content is None:
        raise BadData(f"{name!r:.80} is not a stored value", hint=_HINT)
    store.keep(name, content)
    return 1


def _unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Unpack what tasks left in their working folders, and check that it is what was exported."""
    _require_work(member.name, folder)
    if member.islnk():
        _require_work(member.linkname, folder)
    tar.extract(member, folder, filter="data")
    wanted = member.pax_headers.get(_HASH)  # The first files had none.
    if wanted is not None and _hash(folder / member.name) != wanted:
        raise BadData(f"{member.name}: it is damaged in the file", hint="copy it again, all of it")


def _move_work(unpacked: Path, folder: Path) -> None:
    """Move what was unpacked to the working folders, whole files; what is there stays as it is."""
    for name, folders, files in os.walk(unpacked / "work"):
        place = Path(name).relative_to(unpacked)
        for each in (*folders, *files):
            _require_work(str(place / each), folder)
        (folder / place).mkdir(exist_ok=True)
        for each in files:
            if not os.path.lexists(folder / place / each):
                sync(Path(name) / each)
                (Path(name) / each).replace(folder / place / each)


def _require_work(name: str, folder: Path) -> None:
    """Refuse what is not below `work/`, or would be reached through a link.

    The filter of tarfile keeps members in the folder; the keys of the state folder are there too.
    """
    path = Path(name)
    above = [folder / each for each in path.parents if each != Path()]
    if path.parts[:1] != ("work",) or ".." in path.parts or any(e.is_symlink() for e in above):
        raise BadData(f"{name!r:.80} is not in a working folder", hint=_HINT)
