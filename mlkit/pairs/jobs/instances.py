"""Several instances of a job on one machine: processes that share the partitions of its topics."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
from dataclasses import astuple
from multiprocessing.connection import Connection, wait
from typing import Any

from mlkit.errors import Interrupted, MlkitError, ServiceUnavailable
from mlkit.interruption import stoppable
from mlkit.pairs.jobs.run import Counts, Job, Note, Plan

_SPAWN = multiprocessing.get_context("spawn")
_PR_SET_PDEATHSIG = 1


class Instances:
    """Runs a plan in several processes, and replaces one that is killed.

    Args:
        plan: What is read and written.
        count: How many processes.
        note: Called with what they report.
    """

    def __init__(self, plan: Plan, count: int, note: Note) -> None:
        self.counts = Counts()
        self._plan, self._count, self._note = plan, count, note
        self._running: dict[Connection, Any] = {}

    def run(self) -> Counts:
        """Run until all have ended; one that fails stops the others.

        Raises:
            JobRaised, BadData, InputMissing, ServiceUnavailable, Interrupted: See `Job.run`.
        """
        try:
            for _ in range(self._count):
                self._start()
            while self._running:
                for each in wait(list(self._running)):
                    self._hear(each)  # type: ignore[arg-type]
        finally:
            self._stop()
        return self.counts

    def _start(self) -> None:
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_work, args=(self._plan, theirs, os.getpid()))
        process.start()
        theirs.close()
        self._running[ours] = process

    def _hear(self, channel: Connection) -> None:
        try:
            kind, content = channel.recv()
        except (EOFError, OSError):
            self._replace(channel)
            return
        if kind == "note":
            self._note(content)
        elif kind == "counts":
            self._add(content)
            self._running.pop(channel).join()
        else:
            raise content

    def _add(self, counts: Counts) -> None:
        sums = map(sum, zip(astuple(self.counts), astuple(counts), strict=True))
        self.counts = Counts(*sums)

    def _replace(self, channel: Connection) -> None:
        process = self._running.pop(channel)
        process.join()
        message = f"an instance ended with {process.exitcode}"
        if self.counts.restarts >= self._plan.restarts:
            raise ServiceUnavailable(message, hint="what it had not committed is kept")
        self.counts.restarts += 1
        self._note(f"{message}; another one takes over")
        self._start()

    def _stop(self) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.join()
        self._running.clear()


def _work(plan: Plan, channel: Connection, parent: int) -> None:
    """Run an instance, which ends with its parent, and report how it ended."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    try:
        with stoppable():
            job = Job(plan, lambda text: channel.send(("note", text)))
            report: tuple[str, Any] = ("counts", job.run())
    except Interrupted:
        return
    except MlkitError as error:
        report = ("failed", error)
    with contextlib.suppress(BrokenPipeError):
        channel.send(report)
