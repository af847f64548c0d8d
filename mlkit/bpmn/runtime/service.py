"""What people and programs may ask of instances: each use case, and each rule, in one place.

The command line translates options into these calls; a web interface would do the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from msgspec import structs

from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.engine.events import (
    AnyEvent,
    Assign,
    Begin,
    Cancel,
    Claim,
    Complete,
    Retry,
    Suspend,
    Unsuspend,
)
from mlkit.bpmn.journal.listings import Retried, Stopped
from mlkit.bpmn.journal.records import Damaged, Log, Refused, Row, RunningAttempt
from mlkit.bpmn.people import recipients, tasks
from mlkit.bpmn.people.directory import Directory
from mlkit.bpmn.people.forms import pack_variables
from mlkit.bpmn.people.tasks import Task
from mlkit.bpmn.runtime import documents, migration
from mlkit.bpmn.runtime.rerun import rerun
from mlkit.bpmn.runtime.session import Session, suspended
from mlkit.bpmn.runtime.stores import set_store
from mlkit.errors import InputMissing, MlkitError, UsageError, Waiting

VERDICT_LIMIT = 30.0
"""Seconds to wait for the process that runs an instance to decide about an event."""
_RECENT = 50
_PAGE = 500


S = TypeVar("S", Stopped, Retried)


class Completed(Refused):
    """Somebody has completed the task."""


class Service:
    """The use cases of a state folder.

    Args:
        session: The state folder in use; what is asked moves instances on in it.
        limit: Seconds to wait for the verdict of another process that runs an instance.
        people: Returns the people whom tasks may name by their addresses.
    """

    def __init__(
        self,
        session: Session,
        limit: float = VERDICT_LIMIT,
        people: Callable[[], Directory] = Directory,
    ) -> None:
        self.session = session
        self.journal = session.journal
        self.limit = limit
        self.people = people

    # -- reading ---------------------------------------------------------------------------

    def open_rows(self) -> list[Row]:
        """Return the instances that have not ended; damaged ones are kept in the errors."""
        return self._readable(self.journal.open_rows())

    def _readable(self, rows: list[Row]) -> list[Row]:
        for each in rows:
            try:
                each.require_readable(self.journal.folder)
            except Damaged as error:
                self.session.errors.append(error)
        return [each for each in rows if each.is_open]

    def tasks(self, assignee: str | None = None, group: str | None = None) -> list[Task]:
        """Return the user tasks that wait and that a person, or a group, may do.

        Damaged instances are left out, and kept in the session's errors.
        """
        found: list[Task] = []
        rows = self._readable(self.journal.rows_with_tasks())
        for row, recorded in self.journal.load_recorded(
            [e for e in rows if e.status != "suspended"]
        ):
            try:
                found += self.session.tasks(row, recorded)
            except Damaged as error:
                self.session.errors.append(error)
        return [each for each in found if each.is_for(assignee, group)]

    def task(self, name: str) -> tuple[Row, Task]:
        """Return a task that waits, and its instance: `INSTANCE/TASK`, or its element's id.

        Raises:
            Refused: Somebody has completed it.
            InputMissing: No task, or more than one, is meant.
        """
        instance, slash, wanted = name.partition("/")
        if slash:
            row = self.journal.find(instance)
            if row.status == "suspended":
                raise suspended(row)
            waiting = self.session.tasks(row)
        else:
            waiting, wanted = self.tasks(), name
        try:
            task = tasks.choose(waiting, wanted)
        except InputMissing:
            if not any(wanted in (str(each.activation), each.element) for each in waiting):
                self._blame(instance if slash else "", wanted)
            raise
        return self.journal.find(task.instance), task

    # -- people ----------------------------------------------------------------------------

    def complete(self, name: str, given: Mapping[str, Any], by: str, checked: bool = False) -> Row:
        """Complete a user task with the values of its form.

        Args:
            name: The task, as `task` takes it.
            given: The values, by field.
            by: Who does it.
            checked: Whether `by` was named as the person, so that it must be one who may.

        Returns:
            The instance as it is now.

        Raises:
            BadData: A value is wrong or missing.
            Refused: Somebody else came first, or `by` may not do it.
            Waiting: The process that runs the instance has not decided yet.
        """
        return self._finish(name, lambda task: tasks.fill(task, given), by, checked)

    def decide(
        self, name: str, approved: bool, comment: str | None, by: str, checked: bool = False
    ) -> Row:
        """Approve or reject: complete a user task by its decision; see `complete`."""
        return self._finish(name, lambda task: tasks.decide(task, approved, comment), by, checked)

    def _finish(
        self, name: str, values: Callable[[Task], dict[str, Any]], by: str, checked: bool
    ) -> Row:
        _, task = self.task(name)
        if checked:
            self._require_allowed(task, by)
        return self.submit(task, values(task), by)

    def submit(self, task: Task, values: dict[str, Any], by: str) -> Row:
        """Complete a user task with values that its form has accepted; see `complete`."""
        row = self.journal.find(task.instance)
        return self.ask(row, Complete(task.activation, values, self.people().id_of(by)))

    def claim(self, name: str, person: str) -> Row:
        """Let a person take a user task.

        Raises:
            Refused: Somebody else has it.
        """
        row, task = self.task(name)
        known = self.people()
        person = known.id_of(person)
        if task.assignee is not None and known.id_of(task.assignee) != person:
            raise Refused(f"task {task.id}: assigned to {task.assignee}", hint="see --release")
        self._require_allowed(task, person)
        if task.assignee not in (None, person):
            return row  # It is theirs already, by another name.
        return self.ask(row, Claim(task.activation, person, person))

    def release(self, name: str, by: str, operates: bool = False) -> Row:
        """Give a user task back to those for whom it was.

        Args:
            name: The task, as `task` takes it.
            by: The person who has it, or their substitute.
            operates: Whether `by` is an operator, who may give back any task.

        Raises:
            Refused: Somebody else has it, or nobody.
        """
        row, task = self.task(name)
        known, substitutes = self._substitutes()
        if not operates and not recipients.has(task, by, known, substitutes):
            raise Refused(f"task {task.id}: not assigned to {by}", hint="claim it first")
        return self.ask(row, Claim(task.activation, "", by))

    def delegate(
        self, name: str, to: str, by: str, checked: bool = False, operates: bool = False
    ) -> Row:
        """Delegate a user task to somebody, who gets a mail.

        Args:
            name: The task, as `task` takes it.
            to: Who is to do it.
            by: The person who delegates: the assignee, or anybody if there is none.
            checked: Whether `by` was named as the person, so that it must be one who may.
            operates: Whether `by` is an operator, who may hand on any task.

        Raises:
            Refused: Somebody else has it.
            UsageError: Nobody is named.
        """
        if not to.strip():
            raise UsageError("delegate: expected a person", hint="name one")
        row, task = self.task(name)
        if not operates and (checked or task.assignee is not None):
            self._require_allowed(task, by)
        to, by = map(self.people().id_of, (to, by))
        # Who may do it by another name, or for somebody who is away, may hand it on as they may.
        is_handed = operates or task.assignee not in (None, by)
        return self.ask(row, Claim(task.activation, to, by, is_handed))

    def _require_allowed(self, task: Task, person: str) -> None:
        """Refuse who may not do a task, for themselves or for somebody who is away."""
        if not recipients.may_claim(task, person, *self._substitutes()):
            raise _refused(task, person)

    def _substitutes(self) -> tuple[Directory, dict[str, str]]:
        """Return the people, and who stands in for whom now."""
        known = self.people()
        return known, recipients.find_substitutes(self.journal.absences, known, time.time())

    def start(self, instance: str, element: str, by: str, end: bool = False) -> Row:
        """Start an activity of an ad-hoc sub-process, or end the sub-process.

        Raises:
            UsageError: No ad-hoc sub-process that waits has it.
        """
        row = self.journal.find(instance)
        waiting = documents.waiting(row.id, self.session.engine(row), self.session.state(row))
        for each in (each for each in waiting if each["for"] == "start"):
            if end and each["element"] == element:
                return self.ask(row, Complete(each["id"], {}, by))
            if not end and element in each["activities"]:
                return self.ask(row, Begin(each["id"], element, by))
        raise UsageError(f"instance {row.id}: no ad-hoc sub-process that waits has {element!r}")

    # -- messages and signals --------------------------------------------------------------

    def message(self, name: str, key: str, given: Mapping[str, Any], life: float) -> list[Row]:
        """Send a message to the one activity that waits for it, else keep it for `life` seconds.

        Returns:
            The instance that got it, as it is now; none where it is kept.

        Raises:
            UsageError: Several wait for it.
        """
        variables = pack_variables(given)
        expires = time.time() + life
        number = self.session.write(lambda it: it.mailbox.send(name, key, variables, expires))
        return self._advance([] if number is None else [number])

    def signal(self, name: str, given: Mapping[str, Any]) -> list[Row]:
        """Broadcast a signal; return the instances that got it, as they are now."""
        variables = pack_variables(given)
        numbers = self.session.write(lambda it: it.mailbox.broadcast(name, variables))
        return self._advance(numbers)

    def _advance(self, numbers: list[int]) -> list[Row]:
        self.session.advance([self.journal.get(each) for each in numbers])
        return [self.journal.get(each) for each in numbers]

    # -- operators -------------------------------------------------------------------------

    def cancel(self, instance: str, reason: str, by: str) -> Row:
        """End an instance, also one whose events cannot be replayed.

        Raises:
            Refused: It has ended.
        """
        row, event = self.journal.find(instance), Cancel(reason, by)
        try:
            return self.ask(row, event)
        except Damaged:
            return self._abandon(row, event)

    def suspend(self, instance: str, reason: str, by: str) -> Row:
        """Suspend an instance: nothing of it begins any more; scripts that run may end.

        Raises:
            Refused: It is suspended already, or has ended.
        """
        return self.ask(self.journal.find(instance), Suspend(reason, by))

    def migration(
        self, instance: str, version: int | None, mapping: Mapping[str, str]
    ) -> dict[str, Any]:
        """Report what moving an instance to a version of its definition would come to.

        See `mlkit.bpmn.runtime.migration.plan`; nothing is changed.
        """
        row = self.journal.find(instance)
        return migration.plan(self.session, row, version, mapping, time.time()).report

    def migrate(
        self, instance: str, version: int | None, mapping: Mapping[str, str], by: str
    ) -> Row:
        """Move an instance to another version of its definition.

        Raises:
            InputMissing: There is no such version.
            Refused: Something prevents it: the instance has ended, or has this version.
        """
        row = self.journal.find(instance)
        found = migration.plan(self.session, row, version, mapping, time.time())
        if found.problems:
            raise Refused(f"instance {row.id} cannot be moved: {'; '.join(found.problems)}")
        return self.ask(row, structs.replace(found.event, by=by))

    def unsuspend(self, instance: str, by: str) -> Row:
        """Resume a suspended instance; what came meanwhile is taken now.

        Raises:
            Refused: It is not suspended, or has ended.
        """
        return self.ask(self.journal.find(instance), Unsuspend(by))

    def _abandon(self, row: Row, event: Cancel) -> Row:
        owned = self.journal.own(row)
        if owned is None:
            raise Waiting(f"instance {row.id} runs in another process")
        with self.journal.transaction():
            self.journal.abandon(owned, event, time.time())
        self.journal.release([owned])
        return self.journal.get(row.number)

    def retry(self, instance: str, incident: int, by: str) -> Row:
        """Try an incident again (0: all of the instance), or a task that waits for that at once.

        Raises:
            Refused: There is no such incident, or not any more.
        """
        row = self.journal.find(instance)
        engine, state = self.session.engine(row), self.session.state(row)
        found = documents.incidents(engine, state)
        known = [each for each in found if incident in (0, each["id"]) and each["id"] is not None]
        known += [
            each for each in documents.describe_retries(engine, state) if incident == each["id"]
        ]
        if not known:
            raise Refused(f"instance {row.id}: there is no such incident to try again")
        return self.ask(row, Retry(incident, by))

    def retry_kind(
        self, process: str, element: str | None, by: str
    ) -> tuple[list[str], dict[str, str]]:
        """Try all incidents of a process, at an element or anywhere, again.

        Returns:
            The instances that are tried again, and why others were not.
        """
        done: list[str] = []
        refused: dict[str, str] = {}
        after = (0, 0)
        while found := self.journal.index.list_incidents(process, element, after, _PAGE):
            for each in found:
                try:
                    self.retry(each.instance, each.activation, by)
                    done.append(each.instance)
                except MlkitError as error:
                    refused[each.instance] = error.message
            after = found[-1].number, found[-1].activation
        return list(dict.fromkeys(done)), refused

    def assign(self, instance: str, given: Mapping[str, Any], removed: list[str], by: str) -> Row:
        """Set variables of an instance, and remove some.

        Raises:
            Refused: The instance has ended.
            BadData: A value cannot be stored.
        """
        row = self.journal.find(instance)
        return self.ask(row, Assign(pack_variables(given), removed, by))

    def rerun(self, instance: str, element: str, by: str = "") -> Row:
        """Begin a new instance from an activity of another one; see `mlkit.bpmn.runtime.rerun`."""
        row = rerun(self.session, self.journal.find(instance), element, by=by)
        return self._advance([row.number])[0]

    def store(self, name: str, value: Any, by: str = "") -> None:
        """Set a data store.

        Raises:
            BadData: The value cannot be stored.
        """
        set_store(self.session, name, value, by)

    def logs(self, instance: str) -> dict[str, Any]:
        """Return what the attempts at an instance's tasks printed, also those that run."""
        row = self.journal.find(instance)
        running = [{**e._asdict(), "began": instant(e.began)} for e in self.running(row)]
        logs = [{**structs.asdict(e), "ended": instant(e.ended)} for e in self.attempts(row)]
        return {"instance": row.id, "logs": logs, "running": running}

    def running(self, row: Row) -> list[RunningAttempt]:
        """Return the attempts of an instance that run, those that began a moment ago left out."""
        found = self.journal.running_attempts.of(row)
        if not found:
            return []
        mask = self.session.mask(row)
        return [
            each._replace(stdout=mask.text(each.stdout), stderr=mask.text(each.stderr))
            for each in documents.find_working(found, self.session.state(row))
        ]

    def attempts(self, row: Row) -> list[Log]:
        """Return what the attempts at an instance's tasks left."""
        found, mask = self.journal.logs(row), self.session.mask(row)
        return [
            structs.replace(each, stdout=mask.text(each.stdout), stderr=mask.text(each.stderr))
            for each in found
        ]

    def mask(self, found: list[S]) -> list[S]:
        """Return incidents or retries of a list without what secrets hold."""
        texts = self.session.hide([(each.number, each.message) for each in found])
        return [each._replace(message=text) for each, text in zip(found, texts, strict=True)]

    def show(self, instance: str) -> dict[str, Any]:
        """Describe an instance, with its tokens; see `describe_with_tokens`."""
        return documents.describe_with_tokens(self.session, self.journal.find(instance))

    # -- asking ----------------------------------------------------------------------------

    def ask(self, row: Row, event: AnyEvent) -> Row:
        """Send an event to an instance, and wait until whoever runs it has decided.

        Returns:
            The instance as it is now.

        Raises:
            Refused: The event comes too late, or does not fit.
            Waiting: Another process runs the instance and has not decided within the limit.
        """
        number = self._deliver(row, event)
        refusal = self.session.settle(row, number, self.limit)
        if refusal is None:
            raise Waiting(
                f"instance {row.id}: the process that runs it has not answered within"
                f" {self.limit:g} s",
                hint="it takes the event when it can; see `mlkit bpmn history`",
            )
        if refusal:
            self._blame(row.id, str(getattr(event, "id", "")))
            raise Refused(refusal)
        return self.journal.get(row.number)

    def _deliver(self, row: Row, event: AnyEvent) -> int:
        try:
            return self.session.deliver(row, event)
        except Refused:  # It has ended: by whom, if it was by this task?
            self._blame(row.id, str(getattr(event, "id", "")))
            raise

    def _blame(self, instance: str, wanted: str) -> None:
        """Raise with who completed a task, by its number or its element's id, where that is known.

        Raises:
            Refused: Somebody has.
        """
        rows = [self.journal.find(instance)] if instance else self.journal.rows()
        newest = sorted(rows, key=lambda row: row.updated, reverse=True)[:_RECENT]
        for row in newest:
            won = documents.find_completion(self.journal, row, wanted)
            if won:
                raise Completed(f"task {wanted} of instance {row.id}: {won}")


def _refused(task: Task, person: str) -> Refused:
    if task.assignee is not None:
        hint = f"`mlkit bpmn claim {task.id} --release` gives it back"
        return Refused(f"task {task.id}: {task.assignee} has it, not {person}", hint=hint)
    return Refused(f"task {task.id}: it is for {', '.join(task.users)}, not for {person}")
