"""Answers of a journal that this process opens itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlkit.bpmn.backends.lists import JournalLists
from mlkit.bpmn.backends.protocol import Document, Drawing, Values
from mlkit.bpmn.journal.records import Row
from mlkit.bpmn.people import tasks
from mlkit.bpmn.runtime import documents, schedules
from mlkit.bpmn.runtime.deployment import Request, Starter
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.runtime.session import Session


class JournalBackend(JournalLists):
    """Asks a journal; see `Backend`.

    Args:
        session: The journal in use; what is damaged is kept in its errors.
        user: Who acts where nobody is named.
    """

    def __init__(self, session: Session, user: str) -> None:
        super().__init__(session.journal, session.errors)
        self.session = session
        self._service = Service(session)
        self._user = user

    # -- reading ---------------------------------------------------------------------------

    def show(self, instance: str) -> Document:
        """Return an instance with its tokens."""
        return self._service.show(instance)

    def history(self, instance: str) -> Document:
        """Return what an instance went through."""
        row = self.journal.find(instance)
        return documents.describe_run(self.journal, row, self.session.engine(row))

    def logs(self, instance: str) -> Document:
        """Return what the attempts at an instance's tasks printed."""
        return self._service.logs(instance)

    def artifacts(self, instance: str) -> Document:
        """Return the stored values of an instance."""
        row = self.journal.find(instance)
        found = documents.artifacts(self.journal, row)
        return {"instance": row.id, "artifacts": found}

    def scenario(self, instance: str, folder: Path, run_scripts: bool) -> Document:
        """Return a scenario of an instance."""
        from msgspec import to_builtins

        from mlkit.bpmn.scenarios.recording import record

        row = self.journal.find(instance)
        found = record(self.session, row, folder, run_scripts)
        scenario = to_builtins(found.scenario)
        return {"instance": row.id, "scenario": scenario, "notes": found.notes, "masked": []}

    def drawing(self, instance: str) -> Drawing:
        """Return what a picture of an instance is drawn from."""
        from mlkit.bpmn.render import progress

        row = self.journal.find(instance)
        file, content, _ = self.journal.definition(row.definition)
        return Drawing(file, content, progress(self.session, row))

    def tasks(self, assignee: str | None, group: str | None, forms: bool) -> list[Document]:
        """Return the user tasks that wait, with their forms."""
        found = map(tasks.document, self._service.tasks(assignee, group))
        return [{**each, "since": each["created"]} for each in found]

    def task(self, task: str) -> Document:
        """Return a user task that waits, with its form."""
        return tasks.document(self._service.task(task)[1])

    def schedules(self) -> list[Document]:
        """Return what starts by itself."""
        return [schedules.document(each) for each in schedules.schedules(self.session)]

    # -- people ----------------------------------------------------------------------------

    def complete(self, task: str, values: Values, person: str | None) -> Document:
        """Complete a user task with the values of its form."""
        by, checked = self._acting(person)
        return self._now(self._service.complete(task, values, by, checked))

    def decide(
        self, task: str, approved: bool, comment: str | None, person: str | None
    ) -> Document:
        """Approve or reject."""
        by, checked = self._acting(person)
        return self._now(self._service.decide(task, approved, comment, by, checked))

    def claim(self, task: str, person: str | None, release: bool) -> Document:
        """Take a user task, or give it back."""
        by = self._acting(person)[0]
        if release:  # Whoever has the state folder is its operator.
            return self._now(self._service.release(task, by, operates=True))
        return self._now(self._service.claim(task, by))

    def delegate(self, task: str, to: str, person: str | None) -> Document:
        """Hand a user task to somebody."""
        by, checked = self._acting(person)
        return self._now(self._service.delegate(task, to, by, checked))

    def start_activity(
        self, instance: str, element: str, end: bool, person: str | None
    ) -> Document:
        """Start an activity of an ad-hoc sub-process, or end the sub-process."""
        return self._now(self._service.start(instance, element, self._acting(person)[0], end))

    # -- definitions -----------------------------------------------------------------------

    def start(
        self,
        process: str,
        values: Values,
        *,
        version: int | None,
        business_key: str,
        message: str | None,
        once: str | None,
        person: str | None,
    ) -> Document:
        """Start a deployed definition, and run the instance to its next wait."""
        wanted = Request(
            process, version, dict(values), business_key, message, once=once,
            by=self._acting(person)[0], source=self.session.source,
        )  # fmt: skip
        starter = self._starter()
        row = self.session.write(lambda journal: starter.start(journal, wanted))
        return self._advance(row)

    # -- messages and signals --------------------------------------------------------------

    def message(self, name: str, key: str, values: Values, life: float) -> Document:
        """Send a message; return its receivers, and what a server starts by it."""
        return self._describe_delivery(
            "message", name, self._service.message(name, key, values, life)
        )

    def signal(self, name: str, values: Values) -> Document:
        """Broadcast a signal."""
        return self._describe_delivery("signal", name, self._service.signal(name, values))

    def _describe_delivery(self, kind: str, name: str, rows: list[Row]) -> Document:
        return {
            "receivers": [{"instance": each.id, "state": each.status} for each in rows],
            "starts": self.journal.schedules.expecting(kind, name),
        }

    # -- operators -------------------------------------------------------------------------

    def cancel(self, instance: str, reason: str, person: str | None) -> Document:
        """End an instance."""
        return self._now(self._service.cancel(instance, reason, self._acting(person)[0]))

    def suspend(self, instance: str, reason: str, person: str | None) -> Document:
        """Suspend an instance."""
        return self._now(self._service.suspend(instance, reason, self._acting(person)[0]))

    def unsuspend(self, instance: str, person: str | None) -> Document:
        """Resume a suspended instance."""
        return self._now(self._service.unsuspend(instance, self._acting(person)[0]))

    def migrate(
        self,
        instance: str,
        version: int | None,
        mapping: Mapping[str, str],
        dry_run: bool,
        person: str | None,
    ) -> Document:
        """Move an instance to another version of its definition, unless something prevents it."""
        report = self._service.migration(instance, version, mapping)
        if dry_run or report["problems"]:
            return {**report, "migrated": False}
        self._service.migrate(instance, report["to"], mapping, self._acting(person)[0])
        return {**report, "migrated": True}

    def retry(self, instance: str, incident: int, person: str | None) -> Document:
        """Try an incident again (0: all of the instance)."""
        return self._now(self._service.retry(instance, incident, self._acting(person)[0]))

    def pause(self, schedule: str, paused: bool, person: str | None) -> Document:
        """Pause a schedule, or let it go on."""
        by = self._acting(person)[0]
        return schedules.document(schedules.pause(self.session, schedule, paused, by))

    def run(self, schedule: str, person: str | None) -> Document:
        """Start what a schedule starts, now."""
        by = self._acting(person)[0]
        return self._advance(schedules.run(self.session, self._starter(), schedule, by))

    def _starter(self) -> Starter:
        session = self.session
        return Starter(self.journal.folder, session.settings, session.engines)

    def _advance(self, row: Row) -> Document:
        self.session.advance([row])
        return self._now(row)

    def _acting(self, person: str | None) -> tuple[str, bool]:
        """Return who acts, and whether it was named, so that it must be one who may."""
        return (self._user, False) if person is None else (person, True)

    def _now(self, row: Row) -> Document:
        return documents.document(self.session, row)
