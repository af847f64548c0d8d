"""`/api/v1/schedules`: what starts by itself, and when."""

from __future__ import annotations

from mlkit.bpmn.runtime import schedules
from mlkit.bpmn.runtime.schedules import Shown
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.answers import BAD_BODY, GONE, answer, body
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.instances import describe_started
from mlkit.bpmn.server.roles import acting
from mlkit.bpmn.server.types import Instance, Person, Schedule, Schedules
from mlkit.web.application import Answer, Operation, Parameter, Request, Response, Route
from mlkit.web.paths import path_parameter, query

_PROCESS = Parameter("process", "path", {"type": "string"}, "The key of the definition.")
_ELEMENT = Parameter(
    "element", "path", {"type": "string"}, "The start event's id; `-`: the only one."
)


def routes(context: Context) -> dict[str, Route]:
    """Return the paths of schedules."""
    made = _Schedules(context)
    listed = Operation(
        made.all,
        id="listSchedules",
        summary="The scheduled starts, with the next five times of each.",
        tag="schedules",
        role="viewer",
        answers={200: Answer("The schedules.", Schedules)},
        is_partial=True,
    )
    base = "/api/v1/schedules"
    one = f"{base}/{{process}}/{{element}}"
    changes = {
        "pause": (
            made.pause,
            "pauseSchedule",
            "Pause a schedule: start nothing until it is resumed.",
        ),
        "resume": (made.resume, "resumeSchedule", "Resume a schedule from its next time."),
    }
    found = {base: Route(base, {"GET": listed})}
    for name, (handler, identifier, summary) in changes.items():
        operation = Operation(
            handler,
            id=identifier,
            summary=summary,
            tag="schedules",
            role="operator",
            body=Person,
            body_required=False,
            answers={200: Answer("The schedule.", Schedule)},
            problems={**BAD_BODY, **GONE, 503: "The engine does not answer."},
        )
        path = f"{one}/{name}"
        found[path] = Route(path, {"POST": operation}, (_PROCESS, _ELEMENT))
    run = Operation(
        made.run,
        id="runSchedule",
        summary="Start an instance now, in addition to its schedule.",
        tag="schedules",
        role="operator",
        body=Person,
        body_required=False,
        answers={201: Answer("The instance.", Instance)},
        problems={**BAD_BODY, **GONE, 503: "The engine does not answer."},
    )
    found[f"{one}/run"] = Route(f"{one}/run", {"POST": run}, (_PROCESS, _ELEMENT))
    return found


def document(shown: Shown) -> Schedule:
    """Return a schedule as documents have it."""
    return Schedule(**schedules.document(shown))


class _Schedules:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def all(self, request: Request) -> Response:
        query(request, ())

        def find(service: Service) -> list[Shown]:
            reached = self._context.reach(service, request, "viewer")
            found = schedules.schedules(service.session)
            return [each for each in found if reached.covers(each.scheduled.timer.process)]

        found = await self._context.call(find)
        return answer(Schedules([document(each) for each in found]))

    async def pause(self, request: Request) -> Response:
        return await self._change(request, True)

    async def resume(self, request: Request) -> Response:
        return await self._change(request, False)

    async def _change(self, request: Request, paused: bool) -> Response:
        name, by = _name(request), acting(request.caller, body(request, Person).person)
        found = await self._context.call(
            lambda service: schedules.pause(service.session, name, paused, by), request
        )
        return answer(document(found))

    async def run(self, request: Request) -> Response:
        name, by = _name(request), acting(request.caller, body(request, Person).person)
        starter = self._context.starter

        def start(service: Service) -> Instance:
            row = schedules.run(service.session, starter, name, by)
            return describe_started(service.journal, row)

        return answer(await self._context.call(start, request), 201)


def _name(request: Request) -> str:
    process, element = path_parameter(request, "process"), path_parameter(request, "element")
    return process if element == "-" else f"{process}/{element}"
