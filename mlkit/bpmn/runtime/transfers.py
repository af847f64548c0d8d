"""Stored values and working folders on their way between this host and the shared store.

The engine's thread never waits for the store: it begins a transfer, and does what follows from it
once it has ended.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mlkit.bpmn.engine.events import Complete
from mlkit.bpmn.engine.work_file import WorkFile
from mlkit.bpmn.journal.artifacts import ArtifactStore, names
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Changes
from mlkit.bpmn.runtime import working_folders
from mlkit.bpmn.runtime.running import Running
from mlkit.errors import MlkitError, ServiceUnavailable
from mlkit.workers.pool import Result

_PAUSE = 2.0
"""Seconds after which a store that cannot be reached is asked again."""
_SILENCE = 60.0
"""Seconds after which the log reports again that it cannot."""
_AT_ONCE = 8
Then = Callable[[MlkitError | None], None]
Move = Callable[[], object]
logger = logging.getLogger("mlkit.bpmn")


class Transfers:
    """Transfers of stored values.

    Args:
        journal: Where the stored values are, and the events of instances.

    Attributes:
        shares: Whether hosts share stored values.
        stalled: Why the store cannot be reached, for each job that waits for it.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.store: ArtifactStore = journal.artifacts
        self.shares = self.store.is_shared
        self.pending = 0
        self.stalled: dict[int, str] = {}
        self._ended: deque[tuple[Then, MlkitError | None]] = deque()
        self._closing = threading.Event()
        self._restoring = threading.Lock()
        self._reporting = threading.Lock()
        self._report_at = 0.0
        self._executor: ThreadPoolExecutor | None = None

    def carries(self, running: Running) -> bool:
        """Return whether what tasks change in a working folder is kept for other machines."""
        return self.shares or bool(running.state.files or running.state.external)

    def lacks_folder(self, running: Running) -> bool:
        """Return whether a working folder may not be what the journal records."""
        if not running.has_folder:
            is_apart = self.carries(running) and working_folders.note_of(_folder(running)).exists()
            running.has_folder = not (running.state.files or is_apart)
        return not running.has_folder

    def note_folder(self, running: Running, changes: Changes) -> None:
        """Keep what the journal records of a working folder since a commit."""
        for each in changes.entries:
            event = each.event
            if isinstance(event, Complete) and event.files and running.has_folder:
                try:
                    working_folders.note(_folder(running), running.state.files)
                except OSError as error:  # It is compared file by file, then.
                    logger.warning("%s", error)
                return

    def is_ready(self, running: Running, variables: dict[str, Any]) -> bool:
        """Return whether a task that these variables are for needs no preparation."""
        return not (self.lacks_folder(running) or self.missing(variables))

    def missing(self, variables: dict[str, Any]) -> set[str]:
        """Return the values that variables name and that are not known to be here."""
        if not self.shares:
            return set()
        return {each for each in names(variables) if not self.store.is_known_here(each)}

    def find_unpublished(self, result: Result) -> set[str]:
        """Return the values that a task has made and that are not known to be in the store."""
        made = names(result.variables) | {e[0] for e in result.files.values() if e and e[0]}
        return {each for each in made if not self.store.is_published(each)}

    def prepare(self, running: Running, job: int, wanted: Iterable[str], then: Then) -> None:
        """Fetch values for a job, and make a working folder what the journal records.

        Then call a function in the thread that calls `finish`.
        """
        moves: list[Move] = [functools.partial(self.store.fetch, each) for each in sorted(wanted)]
        if self.lacks_folder(running):
            files = dict(running.state.files)
            if files or self._is_emptied(running):
                moves.append(functools.partial(self._restore, running, files))
        self._begin(job, moves, then)

    def _is_emptied(self, running: Running) -> bool:
        """Return whether the events record that tasks have removed whatever was in a folder.

        A state may lack its files for another reason: an older mlkit that knows of none has kept
        it. Nothing is deleted for that.
        """
        if running.row is None:
            return False
        left: set[str] = set()
        has_files = False
        for _, event, _ in self.journal.events(running.row):
            for path, each in event.files.items() if isinstance(event, Complete) else ():
                has_files = True
                (left.discard if each is None else left.add)(path)
        return has_files and not left

    def _restore(self, running: Running, files: dict[str, WorkFile]) -> None:
        """Restore a working folder, unless another task of the instance has it and may change it.

        Two tasks of an instance may begin at once; whoever comes first restores it for both.
        """
        with self._restoring:
            # Whoever has taken over a dropped instance may have restored newer files already.
            if not (running.has_folder or running.is_dropped):
                is_used = any(job > 0 for job in running.jobs.values())
                working_folders.restore(_folder(running), files, self.store, is_used)

    def publish(self, job: int, made: Iterable[str], then: Then) -> None:
        """Publish values of a job; then call a function in the thread that calls `finish`."""
        moves: list[Move] = [functools.partial(self.store.publish, each) for each in sorted(made)]
        self._begin(job, moves, then)

    def _begin(self, job: int, moves: list[Move], then: Then) -> None:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(_AT_ONCE, "artifacts")
        self.pending += 1
        self._executor.submit(self._work, job, moves, then)

    def _work(self, job: int, moves: list[Move], then: Then) -> None:
        problem: MlkitError | None = None
        try:
            for each in moves:
                self._patiently(job, each)
        except MlkitError as error:
            logger.warning("%s", error.message)
            problem = error
        except Exception as error:  # A defect fails this task and no other.
            problem = ServiceUnavailable(f"internal error: {type(error).__name__}: {error}")
        self.stalled.pop(job, None)
        self._ended.append((then, problem))

    def _patiently(self, job: int, move: Move) -> None:
        """Make a move; a store that cannot be reached is asked again until it is back.

        To give up would lose the result of a task, or stop each instance that needs a value.
        """
        while True:
            try:
                move()
                self._report_at = 0.0
                self.stalled.pop(job, None)
                return
            except ServiceUnavailable as error:
                self.stalled[job] = error.message
                self._report(error)
                if self._closing.wait(_PAUSE):
                    raise

    def _report(self, error: ServiceUnavailable) -> None:
        """Log that the store is away: once a minute, however many values wait for it."""
        now = time.monotonic()
        with self._reporting:
            if now < self._report_at:
                return
            self._report_at = now + _SILENCE
        logger.warning("%s; tasks that need the store wait until it is back", error.message)

    def finish(self) -> bool:
        """Do what follows from the transfers that have ended; return whether there were any."""
        has_ended = bool(self._ended)
        while self._ended:
            then, problem = self._ended.popleft()
            self.pending -= 1
            then(problem)
        return has_ended

    def close(self) -> None:
        """Begin no more; what has not ended is forgotten."""
        self._closing.set()
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)


def _folder(running: Running) -> Path:
    return Path(running.options["work"])
