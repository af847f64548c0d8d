"""`/api/v1/messages, signals, stores`: from other systems, and what all instances see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.journal.records import Row
from mlkit.bpmn.people.masking import Mask
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.answers import BAD_BODY, REFUSED, answer, body
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.types import Message, Receiver, Receivers, Signal, Store, Stores, StoreValue
from mlkit.web.application import Answer, Operation, Parameter, Request, Response, Route
from mlkit.web.paths import path_parameter, query

_NAME = Parameter("name", "path", {"type": "string"}, "The store's name.")


def routes(context: Context) -> dict[str, Route]:
    """Return the paths of messages, signals and data stores."""
    made = _Messages(context)
    stores = Operation(
        made.stores,
        id="listStores",
        summary="The data stores.",
        tag="stores",
        role="viewer",
        answers={200: Answer("The data stores.", Stores)},
    )
    put = Operation(
        made.put,
        id="setStore",
        summary="Set a data store.",
        tag="stores",
        role="operator",
        body=StoreValue,
        answers={204: Answer("It is set.")},
        problems={**BAD_BODY, 503: "The engine does not answer."},
    )
    base = "/api/v1"
    return {
        f"{base}/messages": Route(
            f"{base}/messages",
            {"POST": _send(made.message, "sendMessage", Message, "Send a message.")},
        ),
        f"{base}/signals": Route(
            f"{base}/signals",
            {"POST": _send(made.signal, "sendSignal", Signal, "Broadcast a signal.")},
        ),
        f"{base}/stores": Route(f"{base}/stores", {"GET": stores}),
        f"{base}/stores/{{name:path}}": Route(f"{base}/stores/{{name}}", {"PUT": put}, (_NAME,)),
    }


def _send(handler: Any, name: str, kind: Any, summary: str) -> Operation:
    return Operation(
        handler,
        id=name,
        summary=summary,
        tag="messages",
        role="operator",
        body=kind,
        answers={200: Answer("Who got it.", Receivers)},
        problems={**BAD_BODY, **REFUSED},
    )


class _Messages:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def message(self, request: Request) -> Response:
        given = body(request, Message)
        return await self._deliver(
            request,
            "message",
            given.name,
            lambda s: s.message(given.name, given.key, given.variables, given.ttl),
        )

    async def signal(self, request: Request) -> Response:
        given = body(request, Signal)
        return await self._deliver(
            request, "signal", given.name, lambda s: s.signal(given.name, given.variables)
        )

    async def _deliver(
        self, request: Request, kind: str, name: str, send: Callable[[Service], list[Row]]
    ) -> Response:
        def act(service: Service) -> Receivers:
            rows = send(service)
            return Receivers(
                [each.id for each in rows],
                [Receiver(each.id, each.status) for each in rows],
                service.journal.schedules.expecting(kind, name),
            )

        return answer(await self._context.call(act, request))

    async def stores(self, request: Request) -> Response:
        query(request, ())
        found = await self._context.call(lambda service: service.journal.stores.all())
        mask = Mask()
        shown = [
            Store(e.name, mask.value(e.name, e.value), e.instance, instant(e.updated))
            for e in found
        ]
        return answer(Stores(shown))

    async def put(self, request: Request) -> Response:
        given, name = body(request, StoreValue), path_parameter(request, "name")
        by = request.caller.name
        await self._context.call(lambda service: service.store(name, given.value, by), request)
        return Response(b"", 204, ())
