"""What a task needs brought to this machine, and what it leaves brought to the server.

Contents travel by their hash and are compared with it on both sides. A file of the working folder
is put in its place once all of them are here, and a result is reported once all that it names is
there. A transfer that fails is a failed attempt, which names the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from mlkit.bpmn.engine.printed import Printed
from mlkit.bpmn.engine.work_file import WorkFile
from mlkit.bpmn.journal.artifacts import ArtifactStore, is_hash, names
from mlkit.bpmn.runtime import working_folders
from mlkit.bpmn.runtime.running_attempts import this_host
from mlkit.bpmn.worker.connection import Connection, Lost
from mlkit.errors import BadData, MlkitError, ServiceUnavailable, UsageError
from mlkit.storage.objects import Objects, Sink, Stored
from mlkit.workers.pool import Result

_CACHE = 1 << 30
"""Bytes of contents that are kept for further tasks."""
_PAUSES = (0.2, 1.0, 3.0)
_FILES = dict[str, WorkFile]
T = TypeVar("T")


class Contents:
    """The contents of a task as objects of a server.

    Args:
        connection: To the server; one thread uses it.
        task: The task that this worker has locked.
    """

    def __init__(self, connection: Connection, task: str) -> None:
        self.place = connection.url
        self._connection = connection
        self._task = task

    def put(self, name: str, content: IO[bytes]) -> None:
        """Send a content, which the server keeps as a whole or not at all."""
        _patiently(lambda: self._send(name, content))

    def _send(self, name: str, content: IO[bytes]) -> None:
        content.seek(0)
        self._connection.send_content(self._task, name, content)

    def get(self, name: str, target: Sink) -> bool:
        """Copy a content into a file."""
        self._connection.copy_content(self._task, name, target)
        return True

    def find(self, name: str) -> Stored | None:
        """Return None: what the server has is not asked."""
        return None

    def all(self) -> Iterator[Stored]:
        """Yield nothing: no content is listed."""
        return iter(())

    def remove(self, name: str) -> None:
        """Leave it: what the server keeps is its own."""

    def remove_leftovers(self, before: float) -> list[int]:
        """Return nothing: the server removes what is left there."""
        return []


class _TaskStore(ArtifactStore):
    """The stored values of this machine; those of a task are fetched from its server."""

    def __init__(self, folder: Path, contents: Contents) -> None:
        super().__init__(folder, contents)
        self._contents = contents

    @property
    def shared(self) -> Objects:
        return self._contents


class Carrier:
    """Brings files to this machine and back; its methods run in threads.

    Args:
        connect: Opens a connection, one for each thread.
        folder: Where contents lie, as the worker processes have it.
        work: Where the working folders of tasks are made.
    """

    def __init__(self, connect: Callable[[], Connection], folder: Path, work: Path) -> None:
        self._connect = connect
        self._folder = folder
        self._work = work
        self._local = threading.local()
        self._lock = threading.Lock()
        self._begun: dict[str, float] = {}

    @property
    def connection(self) -> Connection:
        """The connection of this thread."""
        found: Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = self._connect()
        return found

    def prepare(self, task: str) -> dict[str, Any] | None:
        """Return the job of a task, with all that it needs on this machine.

        Returns:
            None where the server has no jobs: it is not of mlkit.

        Raises:
            Lost: The task is no longer this worker's.
            MlkitError: A variable or a file cannot be brought here; the message names it.
        """
        with self._lock:
            self._begun[task] = time.time()
        job = _patiently(lambda: self.connection.job(task))
        if job is None:
            return None
        store = _TaskStore(self._folder, Contents(self.connection, task))
        files = msgspec.convert(job.pop("files"), _FILES)
        working_folders.check_all(files)

        def bring(name: str) -> None:
            if is_hash(name):
                with self._lock, contextlib.suppress(FileNotFoundError):
                    os.utime(self._folder / name)  # What is used now is not removed.
            store.fetch(name)

        for name, each in job["variables"].items():
            _move(f"variable {name!r:.80}", sorted(names(each)), bring)
        for path, file in files.items():
            _move(f"the file {path!r:.200}", [file.hash] if file.hash else [], bring)
        folder = self.folder_of(task)
        folder.mkdir(parents=True, exist_ok=True)
        working_folders.restore(folder, files, store)
        given = {each.hash for each in files.values()} | names(job["variables"])
        return {**job, "work": str(folder), "carries": True, "given": given}

    def deliver(self, task: str, job: Mapping[str, Any], result: Result) -> None:
        """Send what a completed task has left, then complete it.

        Raises:
            Lost: The task is no longer this worker's.
            MlkitError: A variable or a file cannot be sent; the message names it.
        """
        store = _TaskStore(self._folder, Contents(self.connection, task))
        given, limit = job["given"], job["limit"]

        def send(name: str) -> None:
            if name in given:
                return
            size = (self._folder / name).stat().st_size
            if size > limit:
                raise UsageError(f"{size} bytes are more than the {limit} of --max-upload")
            store.publish(name)

        for name, each in result.variables.items():
            _move(f"variable {name!r:.80}", sorted(names(each)), send)
        for path, kept in result.files.items():
            _move(f"the file {path!r:.200}", [kept[0]] if kept and kept[0] else [], send)
        files = {path: kept and kept[:3] for path, kept in result.files.items()}
        body = {"variables": result.variables, "files": files, "log": describe_printed(result)}
        _patiently(lambda: self.connection.task(task, "result", body))

    def folder_of(self, task: str) -> Path:
        """Return the working folder of a task on this machine."""
        # The id is the server's word, and might lead out of here.
        return self._work / hashlib.sha256(task.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def end(self, task: str) -> None:
        """Remove the working folder of a task, and contents that nothing needs any more."""
        working_folders.remove(self.folder_of(task))
        with self._lock:
            self._begun.pop(task, None)
            _shrink(self._folder, min(self._begun.values(), default=time.time()))


def describe_printed(result: Result) -> dict[str, Any]:
    """Return what an attempt leaves for its log, as a server of mlkit takes it."""
    printed = Printed(
        result.stdout, result.stderr, result.duration, result.peak, this_host()
    ).shorten()
    found: dict[str, Any] = msgspec.to_builtins(printed)
    return found


def _move(what: str, contents: Iterable[str], move: Callable[[str], object]) -> None:
    """Move the contents of a variable or a file; name the one if it fails."""
    for each in contents:
        try:
            move(each)
        except Lost:
            raise
        except (MlkitError, OSError) as error:
            problem = error.message if isinstance(error, MlkitError) else str(error)
            raise BadData(f"{what} did not arrive: {problem}") from error


def _patiently(move: Callable[[], T]) -> T:
    """Ask a server again that is away for a moment."""
    for pause in _PAUSES:
        with contextlib.suppress(ServiceUnavailable):
            return move()
        time.sleep(pause)
    return move()


def _shrink(folder: Path, earliest: float) -> None:
    """Remove the contents that were used longest ago and by no task that is here now."""
    found = []
    for each in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):
            known = each.stat()
            found.append((known.st_mtime, known.st_size, each))
    size = sum(each[1] for each in found)
    for modified, own, path in sorted(found):
        if size <= _CACHE or modified >= earliest:
            return
        path.unlink(missing_ok=True)
        size -= own
