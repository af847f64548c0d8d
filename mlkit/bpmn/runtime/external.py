"""What external workers may do with tasks: fetch and lock them, and report what came of them.

Each function changes the journal inside a transaction of the caller, and returns once everything
it does is written there: what a worker reported becomes an event in the instance's inbox.

The rules are those of Camunda 7: a worker may report on a task that it has locked, also when the
lock has ended, as long as nobody else has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mlkit.bpmn.definition.model import Callable, External, Script
from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.engine.events import AnyEvent, Complete, Fail, Retry, Throw
from mlkit.bpmn.engine.printed import Printed
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.engine.waits import ForWorker
from mlkit.bpmn.engine.work_file import WorkFile
from mlkit.bpmn.journal.external import ExternalTask, Offered
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Row
from mlkit.errors import InputMissing, UsageError

MAX_RETRIES = 2**31 - 1


class UnknownTask(InputMissing):
    """There is no such task: it never was, or somebody or something has ended it."""

    def __init__(self, task: str) -> None:
        super().__init__(f"External task with id {task} does not exist")


class NotYours(UsageError):
    """Another worker has the task."""


class TaskSuspended(UsageError):
    """The task's instance is suspended."""

    def __init__(self, task: str) -> None:
        super().__init__(f"External task with id {task} is suspended", hint="try again later")


class Report(NamedTuple):
    """What a worker reports of a task.

    Attributes:
        worker: Who it is.
        variables: What the work left, as stored.
        local: The same, only for the task itself.
        files: What it has changed in the working folder; None for what is gone.
        printed: What is for the log of the attempt; None of workers that do not send it.
    """

    worker: str
    variables: Mapping[str, Any] = {}
    local: Mapping[str, Any] = {}
    files: Mapping[str, WorkFile | None] = {}
    printed: Printed | None = None


def describe_offered(row: Row, engine: Engine, state: State, activation: int) -> Offered:
    """Describe a task that waits for an external worker."""
    found = state.activations[activation]
    wait, external = found.wait, external_of(engine, found.node)
    assert isinstance(wait, ForWorker)
    *_, process = state.chain(found.scope)
    return Offered(
        instance=row.number,
        activation=activation,
        name=row.id,
        element=found.node,
        topic=wait.topic,
        priority=wait.priority,
        retries=None if external is None else external.retries,
        created=wait.since,
        process=process.element,
        definition=row.definition,
        key=state.key,
    )


def external_of(engine: Engine, element: str) -> External | None:
    """Return how the diagram offers an element to workers."""
    work = engine.graph.behaviors[element].node.work
    return work.external if isinstance(work, Callable | Script) else None


def require(journal: Journal, identifier: str) -> ExternalTask:
    """Return a task.

    Raises:
        UnknownTask: There is none of this id.
    """
    task = journal.external.get(identifier)
    if task is None:
        raise UnknownTask(identifier)
    return task


def require_held(journal: Journal, identifier: str, worker: str, what: str) -> ExternalTask:
    """Return a task that a worker has.

    Args:
        journal: Where.
        identifier: The task.
        worker: Who claims to have it.
        what: The beginning of the message where it has not, with places for both.

    Raises:
        UnknownTask: There is no such task.
        NotYours: Another worker has it.
    """
    task = require(journal, identifier)
    if task.worker != worker:
        holder = "null" if task.worker is None else task.worker
        raise NotYours(f"{what.format(task.id, worker)} It is locked by worker '{holder}'.")
    return task


def _require_mine(
    journal: Journal, identifier: str, worker: str, what: str, reports: bool = True
) -> ExternalTask:
    """Return a task that a worker has; who `reports` on it has an event for its instance."""
    task = require_held(journal, identifier, worker, what)
    number = task.instance
    row = journal.claim(number) if reports else journal.get(number, keep=True)
    if row.status == "suspended":
        raise TaskSuspended(task.id)
    return task


# -- locks ---------------------------------------------------------------------------------


def lock(journal: Journal, identifier: str, worker: str, seconds: float, now: float) -> None:
    """Let a worker have a task for a time.

    Raises:
        UnknownTask: There is no such task.
        NotYours: Another worker has it.
    """
    task = require(journal, identifier)
    if task.worker != worker and task.is_locked(now):
        raise NotYours(
            f"External Task {task.id} cannot be locked by worker '{worker}'."
            f" It is locked by worker '{task.worker}'."
        )
    journal.external.lock(task, worker, now + seconds)


def extend(journal: Journal, identifier: str, worker: str, seconds: float, now: float) -> None:
    """Let a worker keep a task for a time from now on.

    Raises:
        UnknownTask: There is no such task.
        NotYours: Another worker has it, or the lock has ended.
    """
    what = "The lock of the External Task {} cannot be extended by worker '{}''."
    task = _require_mine(journal, identifier, worker, what, reports=False)
    if not task.is_locked(now):
        raise NotYours(
            "Cannot extend a lock that expired: lockExpirationTime is not greater than or equal to"
            f" {now * 1000:.0f}"
        )
    journal.external.lock(task, worker, now + seconds)


def unlock(journal: Journal, identifier: str) -> None:
    """Let any worker have a task.

    Raises:
        UnknownTask: There is no such task.
    """
    journal.external.unlock(require(journal, identifier))


# -- results -------------------------------------------------------------------------------


def complete(journal: Journal, identifier: str, report: Report) -> int:
    """Complete a task; return the number of the event in the inbox.

    Raises:
        UnknownTask: There is no such task.
        NotYours: Another worker has it.
    """
    what = "External Task {} cannot be completed by worker '{}'."
    task = _require_mine(journal, identifier, report.worker, what)
    variables, local, files = dict(report.variables), dict(report.local), dict(report.files)
    event = Complete(task.activation, variables, report.worker, local, files, report.printed)
    return _end(journal, task, event)


def throw(journal: Journal, identifier: str, report: Report, code: str, message: str) -> int:
    """End a task with a BPMN error; return the number of the event in the inbox.

    Raises:
        UnknownTask: There is no such task.
        NotYours: Another worker has it.
    """
    what = "Bpmn error of External Task {} cannot be reported by worker '{}'."
    task = _require_mine(journal, identifier, report.worker, what)
    event = Throw(
        task.activation, code, message, dict(report.variables), report.worker, report.printed
    )
    return _end(journal, task, event)


def _end(journal: Journal, task: ExternalTask, event: AnyEvent) -> int:
    """Withdraw a task, so that it can be ended once, and let its instance know."""
    if not journal.external.withdraw(task.instance, task.activation):
        raise UnknownTask(task.id)
    if isinstance(event, Complete) and event.files:
        # What comes of them is in a folder, which no transaction takes back.
        return journal.mailbox.deliver(task.instance, event, asks=True)
    return journal.hand(task.instance, event)


def fail(
    journal: Journal,
    identifier: str,
    report: Report,
    message: str,
    details: str | None,
    retries: int,
    until: float,
) -> int:
    """Note that an attempt failed; return the number of the event in the inbox.

    Args:
        journal: Where.
        identifier: The task.
        report: Who reports.
        message: What went wrong.
        details: More of it, such as a traceback.
        retries: How many attempts are left; with none, the task is an incident.
        until: When the next worker may have the task, in seconds since 1970.

    Raises:
        UnknownTask: There is no such task.
        NotYours: Another worker has it.
    """
    what = "Failure of External Task {} cannot be reported by worker '{}'."
    task = _require_mine(journal, identifier, report.worker, what)
    journal.external.fail(task, message, details, retries, until)
    event = Fail(
        task.activation,
        message,
        retries,
        details or "",
        dict(report.variables),
        dict(report.local),
        report.worker,
        report.printed,
    )
    return journal.hand(task.instance, event)


# -- operators -----------------------------------------------------------------------------


def set_retries(
    journal: Journal, identifiers: Iterable[str], retries: int, now: float
) -> list[int]:
    """Set how many attempts tasks have left; return the numbers of the events in inboxes.

    An incident of a task that gets attempts is over; a task that has none left is one.

    Raises:
        UnknownTask: There is no such task.
    """
    found = []
    for task in [require(journal, each) for each in identifiers]:
        journal.external.set_retries(task, retries, now)
        if retries and task.retries == 0:
            found.append(journal.mailbox.deliver(task.instance, Retry(task.activation), asks=True))
        elif not retries and task.retries != 0:
            event = Fail(task.activation, task.error or "no retries are left", 0)
            found.append(journal.mailbox.deliver(task.instance, event, asks=True))
    return found


def set_priority(journal: Journal, identifier: str, priority: int) -> None:
    """Set the priority of a task.

    Raises:
        UnknownTask: There is no such task.
    """
    journal.external.set_priority(require(journal, identifier), priority)
