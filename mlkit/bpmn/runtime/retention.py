"""Retention: what ended long ago goes, with its logs, stored values and working folders."""

from __future__ import annotations

import itertools
import logging
import re
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from mlkit.bpmn.runtime import working_folders
from mlkit.bpmn.runtime.session import Session
from mlkit.errors import MlkitError

AT_ONCE = 50
"""Instances that go in one transaction."""
INTERVAL = 3600.0
"""Seconds between two looks of a server."""
_YOUNGEST = 3600.0
# Seconds for which a stored value stays in any case: a task may have stored it whose commit is
# still to come.
_PAUSE = 0.05
_ID = re.compile(r"[0-9a-f]{8,}")
logger = logging.getLogger("mlkit.bpmn")


class Pruned(NamedTuple):
    """What has gone."""

    instances: int = 0
    definitions: int = 0
    messages: int = 0
    artifacts: int = 0
    bytes: int = 0


def prune(session: Session, before: float, stopping: Callable[[], bool] = lambda: False) -> Pruned:
    """Remove the instances that ended before a time, and what only they needed.

    Deployed definitions, data stores, the audit log and people's choices stay. A stored value
    stays while an instance that is kept, a data store or a message names it, or names it as what
    one of its own was made from.

    Args:
        session: The journal.
        before: Seconds since 1970.
        stopping: Whether to end before all is done, asked between two small steps.

    Raises:
        MlkitError: The journal cannot be written.
    """
    work, count = session.journal.folder / "work", 0
    while not stopping():
        removed = session.write(lambda journal: journal.retention.remove(before, AT_ONCE))
        for each in removed:
            if _ID.fullmatch(each):
                working_folders.remove(work / each)
        count += len(removed)
        if len(removed) < AT_ONCE:
            break
        time.sleep(_PAUSE)  # Who waits to write comes first.
    if stopping():
        return Pruned(count)
    definitions = session.write(lambda journal: journal.retention.remove_definitions())
    messages = session.write(lambda journal: journal.retention.remove_messages(time.time()))
    sizes = _sweep(session, before, stopping)
    return Pruned(count, definitions, messages, len(sizes), sum(sizes))


def _sweep(session: Session, before: float, stopping: Callable[[], bool]) -> list[int]:
    """Remove stored values that nothing names, and parts of some; return their sizes.

    Where there is a shared store, this host's copies go with them.
    """
    youngest = min(before, time.time() - _YOUNGEST)
    store = session.journal.artifacts
    gone = store.remove_leftovers(time.time() - _YOUNGEST)
    found = itertools.chain(store.here(), store.all()) if store.is_shared else store.all()
    left = {each.name: each for each in found if each.modified < youngest}
    if left:
        for each in session.journal.retention.hashes():
            left.pop(each, None)
            if not left or stopping():
                return gone
    return gone + [each.size for each in left.values() if store.remove(each, youngest)]


class RetentionThread:
    """Prunes now and then, while a server runs.

    Args:
        run: Calls a function with a session of this thread.
        seconds: How long what has ended is kept.
    """

    def __init__(
        self, run: Callable[[Callable[[Session], Pruned]], Pruned], seconds: float
    ) -> None:
        self._run, self._seconds = run, seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="retention", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the step that is being made."""
        self._stopping.set()
        self._thread.join()

    def _work(self) -> None:
        while True:
            try:
                done = self._run(
                    lambda session: prune(
                        session, time.time() - self._seconds, self._stopping.is_set
                    )
                )
                if any(done):
                    logger.info(
                        "retention: removed instances: %d, stored values: %d", *done[::3][:2]
                    )
            except MlkitError as error:
                logger.error("retention: %s; trying again later", error.message)
            if self._stopping.wait(INTERVAL):
                return
