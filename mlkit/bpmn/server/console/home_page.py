"""The first page: what there is, what needs somebody, what runs, starts next, and has ended."""

from __future__ import annotations

from typing import Any

from mlkit.bpmn.journal.records import STATES, Criteria, OpenTask, Stopped
from mlkit.bpmn.runtime import schedules
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.answers import moment
from mlkit.bpmn.server.console.console_pages import ConsolePages, go, hidden
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.instances import listed
from mlkit.bpmn.server.reach import Reach
from mlkit.bpmn.server.roles import TASKS
from mlkit.bpmn.server.task_form import ago
from mlkit.web.application import Request, Response, Route
from mlkit.web.paths import query

SHOWN = 8
"""Entries of each list; the lists themselves are pages of their own."""
_FIRST = (0, 0)


def routes(context: Context) -> dict[str, Route]:
    """Return the path of the page."""
    page = HomePage(context)
    return hidden("/", GET=page.operation(page.home, TASKS, is_partial=True))


class HomePage(ConsolePages):
    """Answers for the first page."""

    section = "home"

    async def home(self, request: Request) -> Response:
        """Return the page."""
        query(request, ())
        person = request.caller.name
        if not request.caller.may_somewhere("viewer"):
            return go(request, "tasks")

        def find(service: Service) -> dict[str, Any]:
            reached = self.context.reach(service, request, "viewer")
            # Who views a part watches its instances one by one.
            return {**_shown(service, person, reached), "live": reached.processes is None}

        shown = await self.context.call(find)
        return self.console(request, "home.html", shown)


def _shown(service: Service, person: str, reached: Reach) -> dict[str, Any]:
    index = service.journal.index.within(reached.processes)
    counts = index.counts()
    running = index.search(Criteria("running"), None, SHOWN)
    return {
        "counts": [(each, counts.get(each, 0)) for each in STATES],
        "incident_count": index.incident_count(),
        "incidents": [
            incident(each) for each in service.masked(index.stopped(None, None, _FIRST, SHOWN))
        ],
        "tasks": [_task(each) for each in index.tasks(person, None, _FIRST, SHOWN)],
        "person": person,
        "running": [listed(service, each) for each in running],
        "schedules": _next(service, reached),
        "ended": [listed(service, each) for each in index.last_ended(SHOWN)],
    }


def incident(stopped: Stopped) -> dict[str, Any]:
    """Return an incident as lists of the console have it."""
    return {
        "id": f"{stopped.instance}/{stopped.activation}", "instance": stopped.instance,
        "process": stopped.process, "element": stopped.element, "attempt": stopped.attempt,
        "message": stopped.message, "since": ago(stopped.updated),
    }  # fmt: skip


def _task(task: OpenTask) -> dict[str, Any]:
    return {
        "id": f"{task.instance}/{task.activation}", "name": task.name or task.element,
        "process": task.process, "since": ago(task.since), "due": task.due,
    }  # fmt: skip


def _next(service: Service, reached: Reach) -> list[dict[str, Any]]:
    found = [
        (each.upcoming[0], each.scheduled.timer)
        for each in schedules.schedules(service.session)
        if each.upcoming
        and not each.scheduled.paused
        and reached.covers(each.scheduled.timer.process)
    ]
    found.sort(key=lambda each: each[0])
    return [
        {"at": moment(at), "process": timer.process, "timer": timer.text}
        for at, timer in found[:SHOWN]
    ]
