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
from mlkit.bpmn.runtime.external import NotYours, TaskSuspended, UnknownTask
from mlkit.bpmn.runtime.service import VERDICT_LIMIT, Service
from mlkit.bpmn.runtime.writes import Verdict
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.engine_rest.errors import RestError, refused
from mlkit.errors import BadData, InputMissing, MlkitError, UsageError
from mlkit.web.application import Operation, Request, Response, Stream

_LOOK_AGAIN = 0.25
NOTHING = Response(b"", 204, ())
TAKEN = Verdict("")
_REFUSALS = (RestError, UnknownTask, NotYours, TaskSuspended)
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


async def settle(context: Context, work: Callable[[Journal], list[int]], task: str = "") -> str:
    """Write events into inboxes, and wait until they are decided and durable.

    Args:
        context: The server's.
        work: Writes the events; returns their numbers. What it refuses it refuses before it writes.
        task: The external task that they are about, by its id.

    Returns:
        What the instance of the event that was decided last has come to; empty where another host
        has decided.

    Raises:
        RestError: One was refused, or is not decided within the limit.
    """
    refusal, status = await _Settling(context, work, task).verdict()
    if refusal:
        raise RestError(500, "ProcessEngineException", refusal, 0)
    return status


class _Settling:
    """Events that are written by the host and decided by it, or by another one.

    The host's thread tells the loop once, when all is decided: not for each step.

    Args:
        context: The server's.
        work: Writes the events; returns their numbers.
        task: The external task that they are about, by its id; empty: about something else.
    """

    def __init__(self, context: Context, work: Callable[[Journal], list[int]], task: str) -> None:
        self._context = context
        self._work = work
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._decided: asyncio.Future[Verdict] = self._loop.create_future()
        self._rows: list[int] = []
        self._verdicts: list[Future[Verdict]] = []
        self._refused: Exception | None = None
        self._left = 0

    async def verdict(self) -> Verdict:
        """Return the verdict of an event that was refused, or of the last, once all are durable."""
        writing = self._context.host.write(self._write, True, self._task)
        writing.add_done_callback(self._written)
        looking: asyncio.Task[None] | None = None

        def look() -> None:
            nonlocal looking
            looking = self._loop.create_task(self._look())

        soon = self._loop.call_later(_LOOK_AGAIN, look)
        try:
            return await self._decided
        finally:
            soon.cancel()
            if looking is not None:
                looking.cancel()
            for row in self._rows:
                self._context.host.forget(row)

    # -- in the host's thread --------------------------------------------------------------

    def _write(self, journal: Journal) -> None:
        self._refused = None
        for row in self._rows:  # The transaction before was undone.
            self._context.host.forget(row)
        try:
            self._rows = self._work(journal)
        except _REFUSALS as error:
            # It has written nothing, so that what others write in the transaction stays.
            self._rows, self._refused = [], error
        # The host decides in this thread, later: no verdict can be missed.
        self._verdicts = [self._context.host.verdict(row) for row in self._rows]
        self._left = len(self._verdicts)

    def _written(self, writing: Future[Any]) -> None:
        error = self._refused if writing.cancelled() else writing.exception() or self._refused
        if writing.cancelled() or error is not None or not self._verdicts:
            self._tell(error, TAKEN)
        for each in () if error is not None else self._verdicts:
            each.add_done_callback(self._note)

    def _note(self, decided: Future[Verdict]) -> None:
        error = None if decided.cancelled() else decided.exception()
        self._left -= 1
        found = TAKEN if decided.cancelled() or error is not None else decided.result()
        if error is not None or found.refusal or self._left == 0:
            self._tell(error, found)

    def _tell(self, error: BaseException | None, found: Verdict) -> None:
        self._context.handover.call(self._loop, self._finish, error, found)

    # -- in the loop -----------------------------------------------------------------------

    def _finish(self, error: BaseException | None, found: Verdict) -> None:
        if self._decided.done():
            return
        if error is not None:
            self._decided.set_exception(error)
        else:
            self._decided.set_result(found)

    async def _look(self) -> None:
        """Look from time to time whether another host has decided what is left."""
        deadline = self._loop.time() + VERDICT_LIMIT
        while self._loop.time() < deadline:
            rows = list(self._rows)
            # What was handed over has no row: it is decided here, and nobody else knows of it.
            found: list[str | None] = []
            if rows and min(rows) > 0:
                try:
                    found = await self._context.call(lambda it: [_of_journal(it, e) for e in rows])  # noqa: B023
                except MlkitError as error:
                    self._finish(error, TAKEN)
                    return
            if found and (None not in found or any(found)):
                self._finish(None, Verdict(next(filter(None, found), "")))
                return
            await asyncio.sleep(_LOOK_AGAIN)
        limit = RestError(500, "ProcessEngineException", "the engine has not answered in time", 0)
        self._finish(limit, TAKEN)


def _of_journal(service: Service, row: int) -> str | None:
    return service.journal.mailbox.verdict(row)
