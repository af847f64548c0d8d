"""`/healthz`: whether the server works."""

from __future__ import annotations

import msgspec

from mlkit import __version__
from mlkit.bpmn.server.context import Context
from mlkit.web.application import Answer, Operation, Request, Response, Route


class Health(msgspec.Struct):
    """Whether the server works."""

    status: str
    version: str


def routes(context: Context) -> dict[str, Route]:
    """Return the paths of the server's health."""

    async def health(request: Request) -> Response:
        context.host.require_alive()
        return Response(msgspec.json.encode(Health("ok", __version__)))

    operation = Operation(
        health,
        id="getHealth",
        summary="Whether the server works.",
        tag="server",
        answers={200: Answer("It works.", Health)},
    )
    return {"/healthz": Route("/healthz", {"GET": operation})}
