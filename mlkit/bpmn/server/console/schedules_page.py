"""The schedules: what starts by itself, its next times, and buttons to pause or run it."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from mlkit.bpmn.definition.start_timers import StartTimer
from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.runtime import schedules
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.console.console_pages import ConsolePages, escape, go, hide
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.schedules import document
from mlkit.web.application import Request, Response, Route
from mlkit.web.errors import RequestError
from mlkit.web.paths import query

_DONE = {"pause": "It is paused.", "resume": "It goes on."}


def routes(context: Context) -> dict[str, Route]:
    """Return the path of the page."""
    pages = SchedulesPage(context)
    get, post = (
        pages.operation(pages.schedules, "viewer", is_partial=True),
        pages.operation(pages.change, "operator", is_partial=True),
    )
    return hide("/schedules", GET=get, POST=post)


def show_time(at: float, timer: StartTimer) -> dict[str, str]:
    """Return a time of a timer for programs, and by the clock of its time zone for people."""
    return {"at": instant(at), "text": schedules.format_local(at, timer.zone)}


class SchedulesPage(ConsolePages):
    """Answers for the page of schedules."""

    section = "schedules"

    async def schedules(self, request: Request) -> Response:
        """Return the page."""
        done = query(request, ("done",)).get("done", "")

        def find(service: Service) -> list[dict[str, Any]]:
            viewed, operated = (
                self.context.reach(service, request, role) for role in ("viewer", "operator")
            )
            return [
                {
                    **structs.asdict(document(each)),
                    "operates": operated.covers(process),
                    "upcoming": [show_time(at, each.scheduled.timer) for at in each.upcoming],
                }
                for each in schedules.schedules(service.session)
                if viewed.covers(process := each.scheduled.timer.process)
            ]

        shown = {
            "schedules": await self.context.call(find), "notice": _DONE.get(done, "")
        }  # fmt: skip
        return self.console(request, "schedules.html", shown)

    async def change(self, request: Request) -> Response:
        """Pause a schedule, let it go on, or start what it starts now."""
        given = await self.read_submitted(request)
        action, name = given.text("action"), given.text("schedule")
        if action not in ("pause", "resume", "run"):
            raise RequestError(400, f"action: {action!r:.40}", "pause, resume or run")

        await self.context.require_at(request, "operator", name.partition("/")[0])

        def act(service: Service, by: str) -> str:
            if action == "run":
                row = schedules.run(service.session, self.context.starter, name, by)
                return f"instances/{escape(row.id)}?done=start"
            schedules.pause(service.session, name, action == "pause", by)
            return f"schedules?done={action}"

        return go(request, await self.perform(request, act))
