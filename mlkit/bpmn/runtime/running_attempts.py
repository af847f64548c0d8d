"""What attempts that run for a while have printed so far, written where all hosts read it."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import RunningAttempt
from mlkit.bpmn.runtime.pools import Pools
from mlkit.bpmn.runtime.running import Running
from mlkit.errors import MlkitError
from mlkit.workers.pool import Printing, ScriptPool

INTERVAL = 1.0
"""Seconds between two looks, and those after which an attempt is written: most have ended then."""
_Key = tuple[int, int]
logger = logging.getLogger("mlkit.bpmn")


def this_host() -> str:
    """Return what this host is called in logs: the machine and the process."""
    return f"{socket.gethostname()}:{os.getpid()}"


class RunningAttempts:
    """Writes the attempts that run here.

    Args:
        journal: Where they are written.
        pool: Where they run.
    """

    def __init__(self, journal: Journal, pool: ScriptPool | Pools) -> None:
        self._journal = journal
        self._pool = pool
        self._host = this_host()
        self._next = time.monotonic() + INTERVAL
        self._written: dict[_Key, RunningAttempt] = {}

    def look(
        self, jobs: Mapping[int, tuple[Running, int]], stalled: Mapping[int, str], now: float
    ) -> None:
        """Write what has been printed since the last look, and forget what has ended.

        Args:
            jobs: The instance and the activation of each job.
            stalled: Why jobs wait for the store.
            now: Seconds since 1970.
        """
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + INTERVAL
        printing = [(jobs[e.job], e) for e in self._pool.running() if e.job in jobs]
        found = dict(
            self._attempt(running, identifier, each, now)
            for (running, identifier), each in printing
            if each.seconds > INTERVAL and identifier in running.state.activations
        )
        for job, reason in stalled.items():
            running, identifier = jobs.get(job, (None, 0))
            if running is not None and identifier in running.state.activations:
                nothing = Printing(job, 0.0, "", "")
                found |= [self._attempt(running, identifier, nothing, now, reason)]
        self._write(found, now)

    def _attempt(
        self,
        running: Running,
        identifier: int,
        printing: Printing,
        now: float,
        stalled: str = "",
    ) -> tuple[_Key, RunningAttempt]:
        key, activation = (running.number, identifier), running.state.activations[identifier]
        known = self._written.get(key)
        is_same = known is not None and known.attempt == activation.attempt
        began = known.began if known is not None and is_same else now - printing.seconds
        return key, RunningAttempt(
            identifier, activation.node, activation.iteration, activation.attempt, began,
            self._host, printing.stdout, printing.stderr, stalled,
        )  # fmt: skip

    def _write(self, found: dict[_Key, RunningAttempt], now: float) -> None:
        table, known = self._journal.running_attempts, self._written
        new = [(key[0], each) for key, each in found.items() if known.get(key) != each]
        ended = [(*key, each.attempt) for key, each in known.items() if key not in found]
        if not (new or ended):
            return

        def work() -> None:
            table.write(new, now)
            table.remove(ended)

        try:
            self._journal.atomically(work)
        except MlkitError as error:  # Who watches must not stop what is watched.
            logger.warning("what runs cannot be shown: %s", error.message)
        else:
            self._written = found
