"""Attempts at tasks: begun once what they need is here, concluded once what they leave is kept."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from msgspec import structs

from mlkit.bpmn.definition import model
from mlkit.bpmn.definition.model import Script
from mlkit.bpmn.engine.events import AnyEvent, Complete, Fail
from mlkit.bpmn.engine.state import Activation
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Log
from mlkit.bpmn.mail import queued
from mlkit.bpmn.runtime import concurrent_changes, jobs
from mlkit.bpmn.runtime.clock import Clock
from mlkit.bpmn.runtime.deployed_files import explain_missing
from mlkit.bpmn.runtime.pools import Pools
from mlkit.bpmn.runtime.running import Running
from mlkit.bpmn.runtime.running_attempts import RunningAttempts, this_host
from mlkit.bpmn.runtime.transfers import Transfers
from mlkit.errors import BadData, MlkitError
from mlkit.workers.pool import Result, ScriptPool

Apply = Callable[[Running, AnyEvent, Log | None], None]
_WORK = (Script, model.Callable)  # A union would be made anew for each attempt.


class Attempts:
    """The attempts of a runner's instances, each a job of its pool.

    Args:
        pool: Where scripts run.
        journal: Where what they need and leave is stored; None where nothing is kept.
        clock: The runner's.
        apply: Applies an event to an instance.

    Attributes:
        jobs: The instance and the activation of each job.
        transfers: Stored values on their way; None without a journal.
        draining: Whether no further script is begun; those that run may end.
        queues_mail: Whether the mail of tasks leaves by the outbox, which somebody sends.
    """

    def __init__(
        self, pool: ScriptPool | Pools, journal: Journal | None, clock: Clock, apply: Apply
    ) -> None:
        self.jobs: dict[int, tuple[Running, int]] = {}
        self.transfers = None if journal is None else Transfers(journal)
        self.draining = False
        self.queues_mail = False
        self._pool = pool
        self._clock = clock
        self._apply = apply
        self._shown = None if journal is None else RunningAttempts(journal, pool)
        self._host = this_host()
        self._numbers = itertools.count(1)

    @property
    def idle(self) -> bool:
        """Whether no script is at work, nor what it needs or has left on its way."""
        return self._pool.idle and (self.transfers is None or not self.transfers.pending)

    def look(self, now: float) -> None:
        """Show what has been printed so far, and what waits for the store.

        Args:
            now: Seconds since 1970.
        """
        if self._shown is not None and self.transfers is not None:
            self._shown.look(self.jobs, dict(self.transfers.stalled), now)

    # -- to begin, and to stop ---------------------------------------------------------------

    def start(self, running: Running, identifier: int) -> None:
        """Begin the script of an activation."""
        try:
            self._submit(running, identifier)
        except MlkitError:
            raise
        except Exception as error:  # A defect stops this instance and no other.
            if self.transfers is None:
                raise
            problem = f"internal error: {type(error).__name__}: {error}"
            self._apply(running, Fail(identifier, problem), None)

    def stop(self, running: Running, identifier: int) -> None:
        """Stop the script of an activation, if one runs."""
        job = running.jobs.pop(identifier, None)
        if job is not None:
            running.begun.pop(identifier, None)
            del self.jobs[job]
            self._pool.stop(job)

    def stop_all(self, running: Running) -> None:
        """Stop the scripts of an instance."""
        for identifier in list(running.jobs):
            self.stop(running, identifier)

    def _submit(self, running: Running, identifier: int) -> None:
        activation = running.state.activations.get(identifier)
        if activation is None or activation.status != "working":
            return
        node = running.engine.graph.behaviors[activation.node].node
        listener = node.listeners[activation.heard - 1] if activation.listening else None
        work = node.work if listener is None else listener.work
        assert isinstance(work, _WORK)
        transfers = self.transfers
        carries = transfers is not None and transfers.carries(running)
        request = jobs.request(running, activation, work, carries)
        if self.queues_mail and (request["kind"], request["source"]) == ("call", queued.TASK):
            self._queue_mail(running, activation)
            return
        if (
            transfers is None
            or (running.has_folder and not transfers.shares)  # As most are.
            or transfers.is_ready(running, request["variables"])
        ):
            self._hand_over(running, identifier, request)
        else:
            self._prepare(running, identifier, request)

    def _hand_over(self, running: Running, identifier: int, request: dict[str, Any]) -> None:
        pool = running.pool or self._pool
        assert isinstance(pool, ScriptPool)
        self._note_begun(running, identifier, pool.submit(request))

    def _note_begun(self, running: Running, identifier: int, job: int) -> None:
        self.jobs[job] = (running, identifier)
        running.jobs[identifier] = job
        running.begun[identifier] = running.completed
        running.meanwhile.pop(identifier, None)
        running.elsewhere.pop(identifier, None)

    def _prepare(self, running: Running, identifier: int, request: dict[str, Any]) -> None:
        """Begin a task once what it needs is here; until then it has a job that no worker has."""
        assert self.transfers is not None
        job = -next(self._numbers)
        self._note_begun(running, identifier, job)
        received = running.received

        def then(problem: MlkitError | None) -> None:
            if self.jobs.pop(job, None) is None:
                return  # Something has stopped it meanwhile.
            del running.jobs[identifier]
            if problem is not None:
                self._apply(running, Fail(identifier, problem.message), None)
                return
            running.has_folder = received == running.received
            if not self.draining:
                self._hand_over(running, identifier, request)

        wanted = self.transfers.missing(request["variables"])
        self.transfers.prepare(running, job, wanted, then)

    def _queue_mail(self, running: Running, activation: Activation) -> None:
        """Leave the mail of a task to the outbox, in the commit that completes the task."""
        name = f"{running.id}.{activation.id}.{activation.attempt}"
        variables = running.state.visible(activation.local or activation.scope)
        try:
            mails = queued.make_mails(variables, name, running.number)
        except BadData as error:
            self._apply(running, Fail(activation.id, error.message), None)
            return
        running.changes.mails += mails
        self._apply(running, Complete(activation.id, {}), None)

    # -- to conclude -------------------------------------------------------------------------

    def finish(self, result: Result) -> None:
        """Take the result of a script, once what it has stored is where all hosts find it."""
        transfers = self.transfers
        made = transfers.find_unpublished(result) if transfers and transfers.shares else None
        if transfers is None or not made:
            self._conclude(result)
            return

        def then(problem: MlkitError | None) -> None:
            if result.job in self.jobs:  # Nothing has stopped it meanwhile.
                self._conclude(result if problem is None else jobs.make_failed(result, problem))

        transfers.publish(result.job, made, then)

    def _conclude(self, result: Result) -> None:
        running, identifier = self.jobs.pop(result.job)
        running.jobs.pop(identifier, None)
        found = running.state.activations.get(identifier)
        if found is None:
            return
        files = None
        if result.outcome == "completed":
            files = concurrent_changes.settle(running, identifier, result, found.attempt == 1)
        elif result.outcome == "failed" and running.row is not None:
            missing = explain_missing(running.options.get("folder", ""), running.row)
            if missing:
                result = structs.replace(result, message=f"{missing}: {result.message}")
        log = jobs.log_of(result, found, self._clock.now(), self._host)
        self._apply(running, jobs.event_of(result, identifier, files), log)
