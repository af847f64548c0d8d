"""The first page: what there is, what needs somebody, what runs, starts next, and has ended."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.journal.listings import Criteria, OpenTask, Stopped, Throughput
from mlkit.bpmn.journal.records import ENDED, STATES
from mlkit.bpmn.render.progress import brief
from mlkit.bpmn.runtime import schedules
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.console.console_pages import ConsolePages, go, hide
from mlkit.bpmn.server.console.schedules_page import show_time
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.instances import summarize
from mlkit.bpmn.server.reach import Reach
from mlkit.bpmn.server.roles import TASKS
from mlkit.bpmn.server.task_form import ago
from mlkit.web.application import Request, Response, Route
from mlkit.web.paths import query

HOUR, DAY = 3600, 86400.0
_HOURS = 24
SHOWN = 8
"""Entries of each list; the lists themselves are pages of their own."""
_FIRST = (0, 0)


def routes(context: Context) -> dict[str, Route]:
    """Return the path of the page."""
    page = HomePage(context)
    return hide("/", GET=page.operation(page.home, TASKS, is_partial=True))


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
            return {**_build_view(service, person, reached), "live": reached.processes is None}

        shown = await self.context.call(find)
        return self.console(request, "home.html", shown)


def _build_view(service: Service, person: str, reached: Reach) -> dict[str, Any]:
    index = service.journal.index.within(reached.processes)
    names = service.people().names_of(person)
    counts = index.counts()
    running = index.search(Criteria("running"), None, SHOWN)
    return {
        "counts": [(each, counts.get(each, 0)) for each in STATES],
        "incident_count": index.incident_count(),
        "incidents": [
            incident(each) for each in service.mask(index.list_incidents(None, None, _FIRST, SHOWN))
        ],
        "tasks": [_task(each) for each in index.tasks(names, None, _FIRST, SHOWN)],
        "person": person,
        "running": [summarize(each) for each in running],
        "schedules": _next(service, reached),
        "ended": [summarize(each) for each in index.list_last_ended(SHOWN)],
        "day": last_day(index.throughput(time.time() - DAY), time.time()),
    }


def last_day(found: Sequence[Throughput], now: float) -> dict[str, Any]:
    """Return what the page shows of the last day: bars of the hours, and times by definition."""
    by_state: Counter[str] = Counter()
    by_hour: dict[int, Counter[str]] = defaultdict(Counter)
    by_process: dict[str, list[Throughput]] = defaultdict(list)
    for each in found:
        by_state[each.state] += each.number
        by_hour[each.hour][each.state] += each.number
        by_process[each.process].append(each)
    hours = range(int(now) // HOUR - _HOURS + 1, int(now) // HOUR + 1)
    most = max((each.total() for each in by_hour.values()), default=0)
    times = [_times(process, each) for process, each in by_process.items()]
    return {
        "number": by_state.total(),
        "states": [(each, by_state[each]) for each in ENDED if by_state[each]],
        "bars": [_bar(at, by_hour[hour], hour, most) for at, hour in enumerate(hours)],
        "most": most,
        "times": sorted(times, key=lambda each: -each["number"])[:SHOWN],
    }


def _bar(at: int, ended: Counter[str], hour: int, most: int) -> dict[str, Any]:
    """Return the parts of an hour's bar, from below; all is in hundredths of the picture."""
    parts, below = [], 0.0
    for state in ENDED:
        height = 100 * ended[state] / most if most else 0.0
        below += height
        if height:
            parts.append({"state": state, "y": round(100 - below, 2), "height": round(height, 2)})
    label = f"{instant(hour * HOUR)[11:16]} UTC: {ended.total()}"
    return {"x": round(100 * at / _HOURS, 3), "parts": parts, "label": label}


def _times(process: str, found: Sequence[Throughput]) -> dict[str, Any]:
    number = sum(each.number for each in found)
    return {
        "process": process,
        "number": number,
        "mean": brief(sum(each.seconds for each in found) / number),
        "longest": brief(max(each.longest for each in found)),
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
        {**show_time(at, timer), "process": timer.process, "timer": timer.text}
        for at, timer in found[:SHOWN]
    ]
