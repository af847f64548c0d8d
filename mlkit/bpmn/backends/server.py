"""Answers of a server, which is asked over HTTP."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from mlkit.bpmn.backends.protocol import Document, Drawing, Values
from mlkit.bpmn.client import Client
from mlkit.bpmn.journal.records import require_id

_OF_LISTS = ("process", "state", "business_key")
_OF_TASKS = (
    "task", "instance", "activation", "element", "name", "iteration", "assignee", "users",
    "groups", "since", "created", "due", "priority", "form",
)  # fmt: skip
_ONLY_SHOWN = (
    "tokens", "pending", "version", "business_key", "started", "updated", "ended",
)  # fmt: skip
_TIMES = ("timer", "retry")
_MOVING = ("running", "interrupted")
_WAITING = ("waiting", "incident")
_FIRST_PAUSE, _SLOWER, _LONGEST_PAUSE = 0.1, 1.3, 2.0


class ServerBackend:
    """Asks a server; see `Backend`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    # -- reading ---------------------------------------------------------------------------

    def instances(self) -> list[Document]:
        """Return all instances, oldest first."""
        return [_summarize(each) for each in self._client.instances()][::-1]

    def show(self, instance: str) -> Document:
        """Return an instance with its tokens."""
        return self._client.instance(_id(instance))

    def history(self, instance: str) -> Document:
        """Return what an instance went through."""
        return self._client.request("GET", f"/instances/{_id(instance)}/history")

    def logs(self, instance: str) -> Document:
        """Return what the attempts at an instance's tasks printed."""
        return self._client.request("GET", f"/instances/{_id(instance)}/logs")

    def artifacts(self, instance: str) -> Document:
        """Return the stored values of an instance."""
        return self._client.request("GET", f"/instances/{_id(instance)}/artifacts")

    def scenario(self, instance: str, folder: Path, run_scripts: bool) -> Document:
        """Return a scenario of an instance, with secrets masked, and the files that it needs."""
        found = self._client.scenario(_id(instance), run_scripts)
        return {**found, "files": self._client.files(_id(instance))}

    def drawing(self, instance: str) -> Drawing:
        """Return what a picture of an instance is drawn from."""
        from mlkit.bpmn.render import Progress

        found = self._client.progress(_id(instance))
        reached = {name: Progress(**each) for name, each in found["elements"].items()}
        return Drawing(found["file"], self._client.diagram(instance), reached)

    def retries(self, process: str | None, element: str | None) -> list[Document]:
        """Return the tasks, of a process and at an element, that wait for another attempt."""
        return list(self._client.retries(process, element))

    def stores(self) -> list[Document]:
        """Return the data stores."""
        return self._client.stores()

    def tasks(self, assignee: str | None, group: str | None, forms: bool) -> list[Document]:
        """Return the user tasks that wait; without their forms these are null."""
        found = self._client.tasks(assignee, group, forms)
        return [{name: each[name] for name in _OF_TASKS} for each in found]

    def task(self, task: str) -> Document:
        """Return a user task that waits, with its form."""
        return self._client.task(_task(task))

    def schedules(self) -> list[Document]:
        """Return what starts by itself."""
        return self._client.schedules()

    # -- people ----------------------------------------------------------------------------

    def complete(self, task: str, values: Values, person: str | None) -> Document:
        """Complete a user task with the values of its form."""
        return _drop_details(self._client.complete(_task(task), values, person))

    def decide(
        self, task: str, approved: bool, comment: str | None, person: str | None
    ) -> Document:
        """Approve or reject."""
        return _drop_details(self._client.decide(_task(task), approved, comment, person))

    def claim(self, task: str, person: str | None, release: bool) -> Document:
        """Take a user task, or give it back."""
        act = self._client.release if release else self._client.claim
        return _drop_details(act(_task(task), person))

    def delegate(self, task: str, to: str, person: str | None) -> Document:
        """Hand a user task to somebody."""
        return _drop_details(self._client.delegate(_task(task), to, person))

    def start_activity(
        self, instance: str, element: str, end: bool, person: str | None
    ) -> Document:
        """Start an activity of an ad-hoc sub-process, or end the sub-process."""
        return _drop_details(self._client.start_activity(_id(instance), element, end, person))

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
        """Start a deployed definition."""
        started = self._client.start(
            process, values, version=version, business_key=business_key, message=message,
            once=once, person=person,
        )  # fmt: skip
        return _drop_details(self.show(started["instance"]))

    # -- messages and signals --------------------------------------------------------------

    def message(self, name: str, key: str, values: Values, life: float) -> Document:
        """Send a message; return its receivers, and what the server starts by it."""
        body = {"name": name, "key": key, "variables": dict(values), "ttl": life}
        return self._client.request("POST", "/messages", json=body)

    def signal(self, name: str, values: Values) -> Document:
        """Broadcast a signal."""
        body = {"name": name, "variables": dict(values)}
        return self._client.request("POST", "/signals", json=body)

    # -- operators -------------------------------------------------------------------------

    def cancel(self, instance: str, reason: str, person: str | None) -> Document:
        """End an instance."""
        return _drop_details(self._client.cancel(_id(instance), reason, person))

    def suspend(self, instance: str, reason: str, person: str | None) -> Document:
        """Suspend an instance."""
        return _drop_details(self._client.suspend(_id(instance), reason, person))

    def unsuspend(self, instance: str, person: str | None) -> Document:
        """Resume a suspended instance."""
        return _drop_details(self._client.unsuspend(_id(instance), person))

    def migrate(
        self,
        instance: str,
        version: int | None,
        mapping: Mapping[str, str],
        dry_run: bool,
        person: str | None,
    ) -> Document:
        """Move an instance to another version of its definition, unless something prevents it."""
        report = self._client.migrate(_id(instance), version, mapping, dry_run=True)
        if dry_run or report["problems"]:
            return report
        return self._client.migrate(_id(instance), report["to"], mapping, person=person)

    def retry(self, instance: str, incident: int, person: str | None) -> Document:
        """Try an incident again (0: all of the instance)."""
        return _drop_details(self._client.retry(_id(instance), incident, person))

    def rerun(self, instance: str, element: str) -> Document:
        """Begin a new instance from an activity of this one; a journal's `rerun` has a terminal."""
        return _drop_details(self._client.rerun(_id(instance), element))

    def wait(self, instance: str) -> Document:
        """Wait until an instance ends, or until nothing but others can move it.

        As on a journal: it waits for no time, also beside an incident, and has taken all that was
        delivered to it.
        """
        pause = _FIRST_PAUSE
        while not _rests(found := self.show(instance)):
            time.sleep(pause)
            pause = min(pause * _SLOWER, _LONGEST_PAUSE)
        return _drop_details(found)

    def pause(self, schedule: str, paused: bool, person: str | None) -> Document:
        """Pause a schedule, or let it go on."""
        return self._client.pause_schedule(schedule, paused, person)

    def run(self, schedule: str, person: str | None) -> Document:
        """Start what a schedule starts, now."""
        return _drop_details(self.show(self._client.run_schedule(schedule, person)["instance"]))


def _rests(found: Document) -> bool:
    if found["state"] in _WAITING:
        is_timed = any(each["for"] in _TIMES for each in found["waiting"])
        return not is_timed and not found["pending"]
    return found["state"] not in _MOVING


def _id(instance: str) -> str:
    require_id(instance)
    return instance


def _task(task: str) -> str:
    instance, slash, _ = task.partition("/")
    if slash:
        require_id(instance)
    return task


def _summarize(found: Document) -> Document:
    middle = {name: found[name] for name in _OF_LISTS}
    return {
        "instance": found["instance"],
        **middle,
        "created": found["started"],
        "updated": found["updated"],
    }


def _drop_details(found: Document) -> Document:
    return {name: value for name, value in found.items() if name not in _ONLY_SHOWN}
