"""`/api/v1/incidents, retries, audit, events`: what operators look at, and what changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.journal import listings
from mlkit.bpmn.journal.parts import Index
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.answers import BAD_BODY, BAD_QUERY, PAGE, answer, body, page
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.roles import acting
from mlkit.bpmn.server.types import (
    Audit,
    Entry,
    Incident,
    Incidents,
    Kind,
    Retried,
    Retries,
    Retry,
)
from mlkit.web.application import (
    Answer,
    Operation,
    Parameter,
    Request,
    Response,
    Route,
    Stream,
)
from mlkit.web.paths import query

S = TypeVar("S", listings.Stopped, listings.Retried)

_KIND = (
    Parameter("process", "query", {"type": "string"}, "The key of the definition."),
    Parameter("element", "query", {"type": "string"}, "The element's id."),
)
_INSTANCE = Parameter("instance", "query", {"type": "string"}, "Only this instance.")


def routes(context: Context) -> dict[str, Route]:
    """Return the paths of incidents, the audit log, and what changes."""
    made = _Operations(context)
    incidents = Operation(
        made.incidents,
        id="listIncidents",
        summary="What needs an operator, oldest instance first.",
        tag="incidents",
        role="viewer",
        parameters=(*_KIND, *PAGE),
        is_partial=True,
        answers={200: Answer("A page of incidents.", Incidents)},
        problems=BAD_QUERY,
    )
    retry = Operation(
        made.retry,
        id="retryIncidents",
        summary="Try all incidents of a kind again.",
        tag="incidents",
        role="operator",
        body=Kind,
        is_partial=True,
        answers={200: Answer("Its outcome.", Retried)},
        problems={**BAD_BODY, 503: "The engine does not answer."},
    )
    retries = Operation(
        made.retries,
        id="listRetries",
        summary="What waits for another attempt; `/instances/{instance}/retry` begins it at once.",
        tag="incidents",
        role="viewer",
        parameters=(*_KIND, *PAGE),
        is_partial=True,
        answers={200: Answer("A page of retries.", Retries)},
        problems=BAD_QUERY,
    )
    audit = Operation(
        made.audit,
        id="listAudit",
        summary="Who did what, when and from where, newest first.",
        tag="audit",
        role="operator",
        parameters=(_INSTANCE, *PAGE),
        answers={200: Answer("A page of entries.", Audit)},
        problems=BAD_QUERY,
    )
    events = Operation(
        made.events,
        id="watch",
        summary="What changes, as server-sent events: of one instance, or of all.",
        tag="events",
        role="viewer",
        parameters=(_INSTANCE,),
        is_partial=True,
        answers={200: Answer("An endless stream of events.", media="text/event-stream")},
        problems=BAD_QUERY,
    )
    return {
        "/api/v1/incidents": Route("/api/v1/incidents", {"GET": incidents}),
        "/api/v1/incidents/retry": Route("/api/v1/incidents/retry", {"POST": retry}),
        "/api/v1/retries": Route("/api/v1/retries", {"GET": retries}),
        "/api/v1/audit": Route("/api/v1/audit", {"GET": audit}),
        "/api/v1/events": Route("/api/v1/events", {"GET": events}),
    }


class _Operations:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def incidents(self, request: Request) -> Response:
        found, following = await self._list(request, lambda index: index.list_incidents)
        shown = [Incident(*_describe(each), instant(each.updated)) for each in found]
        return answer(Incidents(shown, following))

    async def retries(self, request: Request) -> Response:
        found, following = await self._list(request, lambda index: index.list_retries)
        shown = [Retry(*_describe(each), instant(each.due)) for each in found]
        return answer(Retries(shown, following))

    async def _list(
        self, request: Request, reader: Callable[[Index], Callable[..., list[S]]]
    ) -> tuple[list[S], str | None]:
        """Return a page of what the caller may see, and the cursor of the next one."""
        wanted = page(request, ("process", "element"))
        process, element = wanted.query.get("process"), wanted.query.get("element")

        def find(service: Service) -> list[S]:
            reached = self._context.reach(service, request, "viewer")
            read = reader(service.journal.index.within(reached.processes))
            return service.mask(read(process, element, wanted.pair(), wanted.limit + 1))

        found = await self._context.call(find)
        shown = found[: wanted.limit]
        last = shown[-1] if len(found) > len(shown) else None
        return shown, f"{last.number}.{last.activation}" if last else None

    async def retry(self, request: Request) -> Response:
        given = body(request, Kind)
        await self._context.require_at(request, "operator", given.process)
        by = acting(request.caller, given.person)
        done, refused = await self._context.call(
            lambda service: service.retry_kind(given.process, given.element, by), request
        )
        return answer(Retried(done, refused))

    async def audit(self, request: Request) -> Response:
        wanted = page(request, ("instance",))
        instance = wanted.query.get("instance")

        def find(service: Service) -> Audit:
            limit = wanted.limit
            found = service.journal.audit.entries(instance, wanted.number(), limit + 1)
            shown = [Entry(instant(each.at), *each[1:]) for _, each in found[:limit]]
            return Audit(shown, str(found[limit - 1][0]) if len(found) > limit else None)

        return answer(await self._context.call(find))

    async def events(self, request: Request) -> Stream:
        instance = query(request, ("instance",)).get("instance", "")
        if not request.caller.may("viewer"):
            # Who views a part watches its instances one by one.
            process = await self._context.call(lambda it: it.journal.find(instance).process)
            await self._context.require_at(request, "viewer", process)
        return self._context.feed.stream(instance)


def _describe(each: listings.Stopped | listings.Retried) -> tuple[int, str, str, str, int, str]:
    return (
        each.activation, each.instance, each.process, each.element, each.attempt, each.message,
    )  # fmt: skip
