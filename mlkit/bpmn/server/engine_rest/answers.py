"""What all operations share: their description, their answers, their errors."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec

from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.runtime.external import NotYours, UnknownTask
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.engine_rest.errors import RestError, refused
from mlkit.errors import BadData, InputMissing, MlkitError, UsageError
from mlkit.web.application import Operation, Request, Response, Stream

VERDICT_LIMIT = 30.0
"""Seconds to wait for whoever runs an instance."""
_LOOK_AGAIN = 0.25
NOTHING = Response(b"", 204, ())
Handler = Callable[[Request], Awaitable[Response | Stream]]


class Verb(NamedTuple):
    """An operation of a path.

    Attributes:
        role: Who may do it.
        is_partial: Whether to have the role for a part is enough.
        max_body: Bytes that the body may have; None: as many as usual.
    """

    handler: Handler
    summary: str
    role: str = "worker"
    is_partial: bool = False
    max_body: int | None = None


def operation(verb: Verb, name: str) -> Operation:
    """Return an operation whose errors are those of Camunda 7."""

    @functools.wraps(verb.handler)
    async def handle(request: Request) -> Response | Stream:
        try:
            return await verb.handler(request)
        except (RestError, MlkitError) as error:
            return failure(error)

    return Operation(
        handle, id=name, summary=verb.summary, tag="engine-rest", role=verb.role,
        is_partial=verb.is_partial, max_body=verb.max_body,
    )  # fmt: skip


def failure(error: RestError | MlkitError) -> Response:
    """Return the answer to an error."""
    found = error if isinstance(error, RestError) else _translate(error)
    return Response(found.body, found.status)


def _translate(error: MlkitError) -> RestError:
    if isinstance(error, UnknownTask):
        return refused(404, error.message)
    if isinstance(error, NotYours):
        return refused(400, error.message)
    if isinstance(error, InputMissing):
        return RestError(404, "InvalidRequestException", error.message)
    if isinstance(error, UsageError | BadData):
        return RestError(400, "InvalidRequestException", error.message)
    return RestError(500, "ProcessEngineException", error.message, 0)


def answer(document: Any, status: int = 200) -> Response:
    """Return a document as JSON."""
    return Response(msgspec.json.encode(document), status)


def text(found: str) -> Response:
    """Return a text."""
    return Response(found.encode(), 200, ((b"content-type", b"text/plain;charset=utf-8"),))


def path(request: Request, name: str) -> str:
    """Return a parameter of the path."""
    return unquote(str(request.scope["path_params"][name]))


async def settle(context: Context, work: Callable[[Journal], list[int]]) -> None:
    """Write events into inboxes, and wait until they are decided and durable.

    Args:
        context: The server's.
        work: Writes the events; returns their numbers.

    Raises:
        RestError: One was refused, or is not decided within the limit.
    """

    def write(journal: Journal) -> list[tuple[int, Future[str]]]:
        # The host decides in this thread, later: no verdict can be missed.
        return [(row, context.host.verdict(row)) for row in work(journal)]

    for row, future in await context.write(write):
        refusal = await _verdict(context, row, asyncio.wrap_future(future))
        if refusal:
            raise RestError(500, "ProcessEngineException", refusal, 0)


async def _verdict(context: Context, row: int, decided: asyncio.Future[str]) -> str:
    """Wait for this host, or for another one."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + VERDICT_LIMIT
    try:
        while loop.time() < deadline:
            done, _ = await asyncio.wait([decided], timeout=_LOOK_AGAIN)
            if done:
                return decided.result()
            found = await context.call(lambda it: _of_journal(it, row))
            if found is not None:
                return found
    finally:
        context.host.forget(row)
    raise RestError(500, "ProcessEngineException", "the engine has not answered in time", 0)


def _of_journal(service: Service, row: int) -> str | None:
    return service.journal.mailbox.verdict(row)
