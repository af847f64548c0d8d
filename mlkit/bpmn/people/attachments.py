"""The documents that a task names: variables, stored values, and files of the working folder.

Nothing here runs what it reads: a stored Python object other than bytes is listed, not opened.
"""

from __future__ import annotations

import hashlib
import io
import json
import mimetypes
import os
import pickle
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlkit.bpmn.journal.artifacts import ArtifactStore, is_hash
from mlkit.bpmn.people.tasks import Task
from mlkit.errors import BadData, InputMissing, ServiceUnavailable, printable
from mlkit.workers.child.artifacts import Artifacts

MOST_BYTES = 256 * 2**20
"""The largest document that is read."""
MOST_DOCUMENTS = 50
AWAY = "the store of documents cannot be reached now"
_OCTETS = "application/octet-stream"
_TEXT_KINDS = {"builtins.bytes", "builtins.bytearray"}


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a task.

    Attributes:
        wanted: The name in the diagram.
        name: A file name, without folders and control characters.
        content: Its bytes; None where it cannot be shown.
        problem: Why it cannot be shown.
    """

    wanted: str
    name: str
    media: str = _OCTETS
    content: bytes | None = None
    problem: str = ""

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return len(self.content or b"")


def names(task: Task) -> list[str]:
    """Return the names of a task's documents: those it attaches, and the files of its form."""
    fields = [e.id for e in task.form if e.type == "file" and e.readonly]
    shown = [*task.attach, *fields]
    return list(dict.fromkeys(shown))[:MOST_DOCUMENTS]


def upload(
    store: ArtifactStore, maker: tuple[str, str], name: str, content: bytes
) -> dict[str, Any]:
    """Keep a file that somebody uploaded, where all hosts find it; return the reference to it.

    Args:
        store: The stored values.
        maker: The element and the iteration that ask for it.
        name: A name that is safe as a file name.
        content: The bytes.

    Raises:
        ServiceUnavailable: The shared store cannot be reached.
    """
    writer = Artifacts(str(store.folder))
    writer.begin(*maker, 0)
    reference = writer.store_file(content, name, media_of(name))
    store.publish(reference["$artifact"])
    return reference


def documents(
    task: Task, state: Path, store: ArtifactStore, *, now: bool = False
) -> list[Document]:
    """Read the documents of a task.

    Args:
        task: The task.
        state: The state folder: `work/INSTANCE/` is in it.
        store: The stored values.
        now: Whether documents that cannot be read now are listed with that as their problem.

    Raises:
        ServiceUnavailable: The shared store cannot be reached, and it is not `now`.
    """
    found: list[Document] = []
    is_away = False
    for each in names(task):
        try:
            if not is_away:
                found += _read(each, task, state, store)
                continue
        except ServiceUnavailable:
            if not now:
                raise
            is_away = True  # Nobody who looks at a page waits once for each document.
        found.append(Document(each, file_name(each), problem=AWAY))
    return found


def document(task: Task, name: str, state: Path, store: ArtifactStore) -> Document:
    """Read one document of a task by its file name.

    Raises:
        InputMissing: The task has no such document.
    """
    for each in documents(task, state, store):
        if each.name == name and each.content is not None:
            return each
    raise InputMissing(f"task {task.id}: there is no document {name!r}")


class _Missing(ValueError):
    """The working folder has no such file."""


def _read(wanted: str, task: Task, state: Path, store: ArtifactStore) -> Iterable[Document]:
    if task.mask.hides(wanted):
        yield Document(wanted, file_name(wanted), problem="it is a secret")
        return
    value = _variable(task.variables, wanted)
    listed = value if isinstance(value, list) and all(map(_is_reference, value)) else [value]
    for each in listed if value is not None else [None]:
        try:
            if each is None:
                yield _of_file(wanted, task, state / "work" / task.instance, store)
            elif _is_reference(each):
                yield _of_artifact(wanted, each, store)
            else:
                yield _of_value(wanted, task.mask.value(wanted, each))
        except _Missing as error:
            problem = "not given" if _was_asked_for(task, wanted) else str(error)
            yield Document(wanted, file_name(wanted), problem=problem)
        except ValueError as error:
            yield Document(wanted, file_name(wanted), problem=str(error))


def _was_asked_for(task: Task, wanted: str) -> bool:
    """Return whether somebody could give a document and did not: an empty variable, or field."""
    if any(each.id == wanted and each.type in ("file", "files") for each in task.form):
        return True
    here: Any = task.variables
    for part in [wanted] if wanted in here else wanted.split("."):
        if not isinstance(here, Mapping) or part not in here:
            return False
        here = here[part]
    return True


def _variable(variables: Mapping[str, Any], name: str) -> Any:
    value: Any = variables
    for part in [name] if name in variables else name.split("."):
        value = value.get(part) if isinstance(value, dict | Mapping) else None
    return value


def _is_reference(value: Any) -> bool:
    return isinstance(value, dict) and "$artifact" in value


def _of_value(wanted: str, value: Any) -> Document:
    """Make a document of a value: text stays text, the rest is JSON."""
    if isinstance(value, str):
        content = value.encode("utf-8", "replace")
        return Document(wanted, file_name(f"{wanted}.txt"), "text/plain", content)
    content = json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "replace")
    return Document(wanted, file_name(f"{wanted}.json"), "application/json", content)


def _of_artifact(wanted: str, reference: Mapping[str, Any], store: ArtifactStore) -> Document:
    """Read a stored value: an uploaded file, or bytes that a script left.

    Raises:
        ValueError: It is another object, missing, damaged or too large.
    """
    kind = str(reference.get("kind", "value"))
    is_file = reference.get("format") == "file"
    if not is_file and (reference.get("format") or kind not in _TEXT_KINDS):
        raise ValueError(f"it is a {kind}: leave it as text, bytes or a file to attach it")
    content = _read_stored(store, str(reference["$artifact"]))
    if is_file:
        name = file_name(str(reference.get("name") or wanted))
        return Document(wanted, name, media_of(name), content)
    return Document(wanted, file_name(wanted), media_of(wanted), _unpickle(content))


def _read_stored(store: ArtifactStore, name: str) -> bytes:
    try:
        if store.is_shared and is_hash(name):
            store.fetch(name)
    except (BadData, InputMissing) as error:
        raise ValueError(error.message) from error
    content = read_inside(store.folder, name)
    if hashlib.sha256(content).hexdigest() != name:
        raise ValueError("it is not what was stored")
    return content


class _BytesOnly(pickle.Unpickler):
    """Reads bytes and nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        """Refuse every class but that of changeable bytes."""
        if (module, name) == ("builtins", "bytearray"):
            return bytearray
        raise ValueError(f"it holds a {module}.{name}")


def _unpickle(content: bytes) -> bytes:
    try:
        value = _BytesOnly(io.BytesIO(content)).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, TypeError) as error:
        raise ValueError(f"it cannot be read: {error}") from error
    if not isinstance(value, bytes | bytearray):
        raise ValueError(f"it is a {type(value).__name__}")
    return bytes(value)


def _of_file(wanted: str, task: Task, folder: Path, store: ArtifactStore) -> Document:
    """Read a file of the working folder, from the store where hosts share it.

    Raises:
        ValueError: It is missing, damaged or too large.
    """
    known = task.files.get(wanted)
    content = read_inside(folder, wanted) if known is None else _read_stored(store, known.hash)
    name = file_name(wanted)
    return Document(wanted, name, media_of(name), content)


def read_inside(folder: Path, name: str) -> bytes:
    """Read a regular file inside a folder; no part of its path may be a link.

    Raises:
        ValueError: It is missing, no such file, too large, or outside the folder.
    """
    parts = name.split("/")
    if not name or "\0" in name or any(each in ("", ".", "..") for each in parts):
        raise ValueError("it is not a name inside the working folder")
    held: list[int] = []
    try:
        held.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for each in parts[:-1]:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            held.append(os.open(each, flags, dir_fd=held[-1]))
        # A pipe would keep who opens it waiting for a writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        held.append(os.open(parts[-1], flags, dir_fd=held[-1]))
        found = os.fstat(held[-1])
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is not a regular file")
        if found.st_size > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
        with os.fdopen(held.pop(), "rb") as file:
            return file.read(MOST_BYTES)
    except FileNotFoundError as error:
        raise _Missing("it is not there") from error
    except OSError as error:
        raise ValueError(_reason(error)) from error
    finally:
        for handle in held:
            os.close(handle)


def _reason(error: OSError) -> str:
    import errno

    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "it is a link, or lies behind one"
    return str(error.strerror)


def file_name(name: str) -> str:
    """Return a name that is safe as a file name: no folders, no control characters."""
    last = name.replace("\\", "/").rpartition("/")[2]
    text = "".join(each if each.isprintable() else "_" for each in printable(last)).strip(" .")
    return text[-150:] or "document"


def media_of(name: str) -> str:
    """Return the media type that a file name suggests."""
    return mimetypes.guess_type(name, strict=True)[0] or _OCTETS
