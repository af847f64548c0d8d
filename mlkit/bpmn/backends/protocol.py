"""What commands ask of instances, wherever these are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from mlkit.bpmn.render import Progress

Document = dict[str, Any]
Values = Mapping[str, Any]


class Drawing(NamedTuple):
    """What a picture of an instance is drawn from.

    Attributes:
        file: The name of the diagram.
        content: Its bytes.
        progress: How far the instance has come, by the id of the element.
    """

    file: str
    content: bytes
    progress: dict[str, Progress]


class Lists(Protocol):
    """Lists what is there, by documents."""

    def instances(self) -> list[Document]:
        """Return all instances, oldest first."""

    def retries(self, process: str | None, element: str | None) -> list[Document]:
        """Return the tasks, of a process and at an element, that wait for another attempt."""

    def stores(self) -> list[Document]:
        """Return the data stores."""


class Backend(Lists, Protocol):
    """Answers what commands ask, by documents.

    The documents, and the errors of `mlkit.bpmn.runtime.service.Service`, are the same whoever
    answers. A `person` is who acts; None: the caller itself. What moves an instance returns it as
    it is now.
    """

    # -- reading ---------------------------------------------------------------------------

    def show(self, instance: str) -> Document:
        """Return an instance with its tokens."""

    def history(self, instance: str) -> Document:
        """Return what an instance went through; see `mlkit.bpmn.runtime.documents.describe_run`."""

    def logs(self, instance: str) -> Document:
        """Return what the attempts at an instance's tasks printed."""

    def artifacts(self, instance: str) -> Document:
        """Return the stored values of an instance."""

    def scenario(self, instance: str, folder: Path, run_scripts: bool) -> Document:
        """Return a `scenario` of an instance, `notes` of what it cannot express, what is `masked`.

        On a journal it names the diagram from `folder`. Of a server it has `files`, the diagram and
        what that uses, to be beside the scenario.
        """

    def drawing(self, instance: str) -> Drawing:
        """Return what a picture of an instance is drawn from."""

    def tasks(self, assignee: str | None, group: str | None, forms: bool) -> list[Document]:
        """Return the user tasks that wait and that a person, or a group, may do.

        Without `forms`, their forms may be left out.
        """

    def task(self, task: str) -> Document:
        """Return a user task that waits, with its form."""

    def schedules(self) -> list[Document]:
        """Return what starts by itself."""

    # -- people ----------------------------------------------------------------------------

    def complete(self, task: str, values: Values, person: str | None) -> Document:
        """Complete a user task with the values of its form."""

    def decide(
        self, task: str, approved: bool, comment: str | None, person: str | None
    ) -> Document:
        """Approve or reject."""

    def claim(self, task: str, person: str | None, release: bool) -> Document:
        """Take a user task, or give it back."""

    def delegate(self, task: str, to: str, person: str | None) -> Document:
        """Hand a user task to somebody."""

    def start_activity(
        self, instance: str, element: str, end: bool, person: str | None
    ) -> Document:
        """Start an activity of an ad-hoc sub-process, or end the sub-process."""

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
        """Start a deployed definition; return the instance as it is now.

        Args:
            process: Its key.
            values: The first variables.
            version: None for the newest.
            business_key: Correlates messages.
            message: Start at the event of this message.
            once: An idempotency key: the same one starts once.
            person: Who starts it.
        """

    # -- messages and signals --------------------------------------------------------------

    def message(self, name: str, key: str, values: Values, life: float) -> Document:
        """Send a message; return its `receivers`, and what a server `starts` by it."""

    def signal(self, name: str, values: Values) -> Document:
        """Broadcast a signal; see `message`."""

    # -- operators -------------------------------------------------------------------------

    def cancel(self, instance: str, reason: str, person: str | None) -> Document:
        """End an instance."""

    def suspend(self, instance: str, reason: str, person: str | None) -> Document:
        """Suspend an instance."""

    def unsuspend(self, instance: str, person: str | None) -> Document:
        """Resume a suspended instance."""

    def migrate(
        self,
        instance: str,
        version: int | None,
        mapping: Mapping[str, str],
        dry_run: bool,
        person: str | None,
    ) -> Document:
        """Move an instance to another version of its definition, unless something prevents it.

        Returns:
            The report of `mlkit.bpmn.runtime.service.Service.migration`, and as `migrated` whether
            the instance was moved.
        """

    def retry(self, instance: str, incident: int, person: str | None) -> Document:
        """Try an incident again (0: all of the instance)."""

    def pause(self, schedule: str, paused: bool, person: str | None) -> Document:
        """Pause a schedule, or let it go on; return the schedule."""

    def run(self, schedule: str, person: str | None) -> Document:
        """Start what a schedule starts, now."""
