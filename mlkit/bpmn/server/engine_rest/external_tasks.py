"""`/engine-rest/external-task`: what workers call."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from mlkit.bpmn.journal.external import Condition, ExternalTask
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.runtime import external
from mlkit.bpmn.runtime.external import Report
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.engine_rest import documents, queries
from mlkit.bpmn.server.engine_rest.answers import NOTHING, Verb, answer, path, settle, text
from mlkit.bpmn.server.engine_rest.errors import RestError, invalid, missing, refused
from mlkit.bpmn.server.engine_rest.fetching import Fetching
from mlkit.bpmn.server.engine_rest.fields import Fields, body, printed_of, query
from mlkit.web.application import Request, Response

_MOST_RETRIES = 2**31 - 1


class ExternalTasks:
    """The operations on external tasks.

    Args:
        context: The server's.
        fetching: Who waits for tasks.
    """

    def __init__(self, context: Context, fetching: Fetching) -> None:
        self._context = context
        self._fetching = fetching

    def verbs(self) -> dict[str, dict[str, Verb]]:
        """Return the operations by path and method."""
        one = "/external-task/{id}"
        return {
            "/external-task": {
                "GET": Verb(self.find, "List external tasks."),
                "POST": Verb(self.find, "List external tasks by a body of filters."),
            },
            "/external-task/count": {
                "GET": Verb(self.count, "Count external tasks."),
                "POST": Verb(self.count, "Count external tasks by a body of filters."),
            },
            "/external-task/fetchAndLock": {
                "POST": Verb(
                    self._fetching.fetch,
                    "Fetch and lock tasks, or wait for some.",
                    is_partial=True,
                ),
            },
            "/external-task/topic-names": {"GET": Verb(self.topics, "List the topics.")},
            "/external-task/retries": {
                "PUT": Verb(self.set_retries_of_many, "Set the retries of tasks.", "operator"),
            },
            one: {"GET": Verb(self.show, "Show a task.")},
            f"{one}/errorDetails": {"GET": Verb(self.details, "Show why it failed last.")},
            f"{one}/complete": {"POST": Verb(self.complete, "Complete a task.")},
            f"{one}/failure": {"POST": Verb(self.fail, "Report a failed attempt.")},
            f"{one}/bpmnError": {"POST": Verb(self.throw, "Report a BPMN error.")},
            f"{one}/lock": {"POST": Verb(self.lock, "Lock a task.")},
            f"{one}/extendLock": {"POST": Verb(self.extend, "Extend the lock of a task.")},
            f"{one}/unlock": {"POST": Verb(self.unlock, "Unlock a task.")},
            f"{one}/retries": {"PUT": Verb(self.set_retries, "Set its retries.", "operator")},
            f"{one}/priority": {"PUT": Verb(self.set_priority, "Set its priority.", "operator")},
        }

    # -- reading ---------------------------------------------------------------------------

    async def find(self, request: Request) -> Response:
        """List tasks."""
        given = query(request) if request.scope["method"] != "POST" else body(request)
        page = query(request)
        limit, offset = queries.page(page)
        order = queries.task_order(given)
        conditions = queries.task_conditions(given, time.time())
        accepted = queries.variables_of(given, "processVariables")

        def find(service: Service) -> list[dict[str, Any]]:
            tasks = service.journal.external
            if not accepted:
                found = tasks.find(conditions, order, limit, offset)
            else:
                every = tasks.find(conditions, order)
                kept = [each for each in every if queries.holds(service, each.instance, accepted)]
                found = kept[offset : None if limit is None else offset + limit]
            return [_document(service, each) for each in found]

        return answer(await self._context.call(find))

    async def count(self, request: Request) -> Response:
        """Count tasks."""
        given = query(request) if request.scope["method"] != "POST" else body(request)
        conditions = queries.task_conditions(given, time.time())
        accepted = queries.variables_of(given, "processVariables")

        def count(service: Service) -> int:
            tasks = service.journal.external
            if not accepted:
                return tasks.count(conditions)
            every = tasks.find(conditions)
            return sum(queries.holds(service, each.instance, accepted) for each in every)

        return answer({"count": await self._context.call(count)})

    async def topics(self, request: Request) -> Response:
        """List the topics of tasks that wait."""
        given, now = query(request), time.time()
        conditions = []
        if given.flag("withLockedTasks"):
            conditions.append(Condition("expires", ">", (now,)))
        if given.flag("withUnlockedTasks"):
            conditions.append(Condition("expires", "NULL OR <=", (now,)))
        if given.flag("withRetriesLeft"):
            conditions.append(Condition("retries", "NULL OR >", (0,)))
        found = await self._context.call(lambda it: it.journal.external.topics(conditions))
        return answer(found)

    async def show(self, request: Request) -> Response:
        """Show a task."""
        identifier = path(request, "id")

        def show(service: Service) -> dict[str, Any]:
            task = service.journal.external.get(identifier)
            if task is None:
                message = f"External task with id {identifier} does not exist"
                raise RestError(404, "RestException", message)
            return _document(service, task)

        return answer(await self._context.call(show))

    async def details(self, request: Request) -> Response:
        """Show the details of the last failure."""
        identifier = path(request, "id")

        def show(service: Service) -> str | None:
            task = service.journal.external.get(identifier)
            if task is None:
                message = f"No external task found with id {identifier}: externalTask is null"
                raise RestError(500, "NullValueException", message, 0)
            return service.journal.external.details(task)

        found = await self._context.call(show)
        return NOTHING if found is None else text(found)

    # -- results ---------------------------------------------------------------------------

    async def complete(self, request: Request) -> Response:
        """Complete a task."""
        identifier, given = path(request, "id"), body(request)
        report = _report(given, local=True)
        return await self._event(lambda it: [external.complete(it, identifier, report)], identifier)

    async def throw(self, request: Request) -> Response:
        """Report a BPMN error."""
        identifier, given = path(request, "id"), body(request)
        report, code = _report(given), given.text("errorCode")
        if not code:
            raise missing("errorCode")
        message = given.text("errorMessage") or ""
        return await self._event(
            lambda it: [external.throw(it, identifier, report, code, message)], identifier
        )

    async def fail(self, request: Request) -> Response:
        """Report a failed attempt."""
        identifier, given = path(request, "id"), body(request)
        report = _report(given, local=True)
        retries, pause = given.number("retries") or 0, given.number("retryTimeout") or 0
        if retries < 0:
            raise _negative("retries")
        if pause < 0:
            raise _negative("retryDuration")
        message, details = given.text("errorMessage") or "", given.text("errorDetails")
        until = time.time() + pause / 1000

        def fail(journal: Journal) -> list[int]:
            found = external.fail(journal, identifier, report, message, details, retries, until)
            return [found]

        done = await self._event(fail, identifier)
        await self._wake(identifier)
        return done

    async def _event(self, work: Callable[[Journal], list[int]], task: str = "") -> Response:
        await settle(self._context, work, task)
        return NOTHING

    # -- locks -----------------------------------------------------------------------------

    async def lock(self, request: Request) -> Response:
        """Lock a task for a worker."""
        identifier, given = path(request, "id"), body(request)
        worker, seconds = _worker(given), _duration(given, "lockDuration", "lockDuration")
        await self._context.write(
            lambda it: external.lock(it, identifier, worker, seconds, time.time())
        )
        return NOTHING

    async def extend(self, request: Request) -> Response:
        """Let a worker keep a task for longer."""
        identifier, given = path(request, "id"), body(request)
        worker, seconds = _worker(given), _duration(given, "newDuration", "lockTime")
        await self._context.write(
            lambda it: external.extend(it, identifier, worker, seconds, time.time())
        )
        return NOTHING

    async def unlock(self, request: Request) -> Response:
        """Unlock a task."""
        identifier = path(request, "id")
        await self._context.write(lambda it: external.unlock(it, identifier))
        await self._wake(identifier)
        return NOTHING

    # -- operators -------------------------------------------------------------------------

    async def set_retries(self, request: Request) -> Response:
        """Set the retries of a task."""
        identifier, given = path(request, "id"), body(request)
        return await self._set_retries([identifier], _retries(given))

    async def set_retries_of_many(self, request: Request) -> Response:
        """Set the retries of several tasks."""
        given = body(request)
        identifiers, retries = given.texts("externalTaskIds"), _retries(given)
        if not identifiers:
            raise invalid("externalTaskIds is empty")
        known = await self._context.call(
            lambda it: [each for each in identifiers if it.journal.external.get(each)]
        )
        unknown = [each for each in identifiers if each not in known]
        if unknown:
            message = f"Cannot find external task with id {unknown[0]}: externalTask is null"
            raise invalid(message, 404)
        return await self._set_retries(list(identifiers), retries)

    async def _set_retries(self, identifiers: list[str], retries: int) -> Response:
        done = await self._event(
            lambda it: external.set_retries(it, identifiers, retries, time.time())
        )
        for each in identifiers:
            await self._wake(each)
        return done

    async def set_priority(self, request: Request) -> Response:
        """Set the priority of a task."""
        identifier, priority = path(request, "id"), body(request).number("priority")
        if priority is None:
            raise RestError(500, "NullPointerException", "priority is null")
        await self._context.write(lambda it: external.set_priority(it, identifier, priority))
        return NOTHING

    async def _wake(self, identifier: str) -> None:
        """Wake who waits for a task that may be free now."""
        task = await self._context.call(lambda it: it.journal.external.get(identifier))
        if task is not None:
            self._fetching.polling.notify([task.topic])


def _document(service: Service, task: ExternalTask) -> dict[str, Any]:
    return documents.task(service, task)


def _worker(given: Fields) -> str:
    worker = given.text("workerId")
    if worker is None:
        raise missing("workerId")
    return worker


def _report(given: Fields, local: bool = False) -> Report:
    variables = given.variables("variables")
    kept = given.variables("localVariables") if local else {}
    return Report(_worker(given), variables, kept, printed=printed_of(given))


def _duration(given: Fields, name: str, shown: str) -> float:
    milliseconds = given.number(name) or 0
    if milliseconds <= 0:
        raise refused(400, f"{shown} is not greater than 0")
    return milliseconds / 1000


def _negative(name: str) -> RestError:
    message = f"{name} is not greater than or equal to 0"
    return RestError(500, "ProcessEngineException", message, 0)


def _retries(given: Fields) -> int:
    retries = given.number("retries")
    if retries is None:
        raise invalid("The number of retries cannot be null.")
    if not 0 <= retries <= _MOST_RETRIES:
        message = (
            "The number of retries cannot be negative: retries is not greater than or equal to 0"
        )
        raise RestError(400, "BadUserRequestException", message, 0)
    return retries
