"""`fetchAndLock`: tasks for a worker, at once or when there are some."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from mlkit.bpmn.journal.external import Condition, ExternalTask, Topic
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.engine_rest import documents, queries
from mlkit.bpmn.server.engine_rest.answers import answer, failure
from mlkit.bpmn.server.engine_rest.documents import Locked
from mlkit.bpmn.server.engine_rest.errors import RestError, invalid, missing
from mlkit.bpmn.server.engine_rest.fields import Fields, body
from mlkit.bpmn.server.engine_rest.polling import Polling
from mlkit.bpmn.server.engine_rest.queries import Comparison
from mlkit.errors import MlkitError
from mlkit.web.application import Request, Response, Scope, Send, Stream
from mlkit.web.bodies import Receive, wait_for_disconnect

LONGEST_WAIT = 1_800_000
"""Milliseconds that a worker may wait for tasks."""
_DEFAULT_TASKS = 10
_MOST_TASKS = 1000


class Wanted(NamedTuple):
    """What a worker asks for of one topic.

    Attributes:
        variables: The variables that it wants; None for all.
        own: Whether it wants only those of the task itself.
        deserialized: Whether objects come as JSON.
        properties: Whether it wants the extension properties.
        accepted: Conditions on the instance's variables.
    """

    topic: Topic
    variables: frozenset[str] | None = None
    own: bool = False
    deserialized: bool = False
    properties: bool = False
    accepted: Sequence[Comparison] = ()


class Asked(NamedTuple):
    """A request for tasks.

    Attributes:
        patience: For how many seconds the worker waits.
    """

    worker: str
    limit: int
    order: list[tuple[str, str]]
    topics: list[Wanted]
    patience: float


class Fetching:
    """Gives tasks to workers.

    Args:
        context: The server's.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self.polling = Polling(self._ready)

    async def fetch(self, request: Request) -> Response | Stream:
        """Answer with tasks; with none, once the patience of the worker is over."""
        asked = _read_request(body(request))
        if not request.caller.may("worker"):
            asked = await self._within_reach(request, asked)
        found = await self.attempt(asked)
        if found or asked.patience <= 0 or not asked.topics:
            return answer(found)
        return _Waiting(self, asked)

    async def _within_reach(self, request: Request, asked: Asked) -> Asked:
        """Return what is asked for, of the definitions that the worker reaches."""
        reached = await self._context.call(lambda it: self._context.reach(it, request, "worker"))
        within = ("process", tuple(sorted(reached.processes or ())))
        topics = [
            each._replace(topic=each.topic._replace(filters=(*each.topic.filters, within)))
            for each in asked.topics
        ]
        return asked._replace(topics=topics)

    async def attempt(self, asked: Asked) -> list[dict[str, Any]]:
        """Lock what there is, and describe it."""
        topics = [each.topic for each in asked.topics]
        if any(each.accepted for each in asked.topics):
            topics = await self._context.call(lambda it: _narrow(it, asked.topics))
        found = await self._context.write(
            lambda it: it.external.fetch(
                asked.worker, topics, asked.limit, time.time(), asked.order
            )
        )
        if not found:
            return []
        wanted = {each.topic.name: each for each in asked.topics}
        return await self._context.call(lambda it: _describe(it, found, wanted))

    async def _ready(self, topics: list[str]) -> set[str]:
        conditions = [
            Condition("topic", "IN", tuple(topics)),
            Condition("free", "<=", (time.time(),)),
        ]
        return set(await self._context.call(lambda it: it.journal.external.topics(conditions)))


class _Waiting:
    """The answer to a worker that waits; a worker that leaves gets no task."""

    status = 200

    def __init__(self, fetching: Fetching, asked: Asked) -> None:
        self._fetching = fetching
        self._asked = asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait, then send what there is."""
        search = asyncio.create_task(self._search())
        gone = asyncio.create_task(wait_for_disconnect(scope, receive))
        try:
            await asyncio.wait([search, gone], return_when=asyncio.FIRST_COMPLETED)
            response = search.result() if search.done() else None
        finally:
            search.cancel()
            gone.cancel()
        if response is not None:
            headers = [*response.headers, (b"content-length", b"%d" % len(response.body))]
            start = {"type": "http.response.start", "status": response.status}
            await send({**start, "headers": headers})
            await send({"type": "http.response.body", "body": response.body})

    async def _search(self) -> Response:
        try:
            return answer(await self._fetch())
        except (RestError, MlkitError) as error:
            return failure(error)

    async def _fetch(self) -> list[dict[str, Any]]:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._asked.patience
        topics = [each.topic.name for each in self._asked.topics]
        with self._fetching.polling.waiting(topics) as waiter:
            while True:
                waiter.news.clear()
                found = await self._fetching.attempt(self._asked)
                left = end - loop.time()
                if found or left <= 0:
                    return found
                try:
                    await asyncio.wait_for(waiter.news.wait(), left)
                except TimeoutError:
                    return []


def _narrow(service: Service, topics: list[Wanted]) -> list[Topic]:
    """Return topics with the tasks of the instances whose variables are wanted."""
    found = []
    for each in topics:
        if not each.accepted:
            found.append(each.topic)
            continue
        conditions = [Condition("topic", "=", (each.topic.name,))]
        conditions.append(Condition("free", "<=", (time.time(),)))
        tasks = service.journal.external.find(conditions)
        kept = [e.id for e in tasks if queries.holds(service, e.instance, list(each.accepted))]
        filters = (*each.topic.filters, ("id", tuple(kept[:_MOST_TASKS])))
        found.append(each.topic._replace(filters=filters))
    return found


def _describe(
    service: Service, tasks: list[ExternalTask], wanted: dict[str, Wanted]
) -> list[dict[str, Any]]:
    found = [
        Locked(each, asked.variables, asked.own, asked.deserialized, asked.properties)
        for each in tasks
        for asked in (wanted[each.topic],)
    ]
    return documents.describe_locked(service, found)


def _read_request(given: Fields) -> Asked:
    """Read a request for tasks."""
    worker = given.text("workerId")
    if worker is None:
        raise missing("workerId")
    limit = given.number("maxTasks")
    limit = _DEFAULT_TASKS if limit is None else limit
    if limit < 0:
        message = "maxResults is not greater than or equal to 0"
        raise RestError(500, "ProcessEngineException", message, 0)
    patience = given.number("asyncResponseTimeout") or 0
    if patience > LONGEST_WAIT:
        raise invalid(
            "The asynchronous response timeout cannot be set to a value greater than"
            f" {LONGEST_WAIT} milliseconds"
        )
    topics = [_read_topic(each) for each in given.items("topics")]
    return Asked(worker, min(limit, _MOST_TASKS), _order(given), topics, patience / 1000)


def _order(given: Fields) -> list[tuple[str, str]]:
    found = [("priority", "desc")] if given.flag("usePriority") else []
    for each in given.items("sorting"):
        by, direction = each.text("sortBy"), each.text("sortOrder")
        if by != "createTime":
            raise invalid(f"Cannot set query sortBy parameter to value {by}")
        if direction not in ("asc", "desc"):
            raise invalid(f"Cannot set query sortOrder parameter to value {direction}")
        found.append(("number", direction))
    return found


def _read_topic(given: Fields) -> Wanted:
    name = given.text("topicName")
    if name is None:
        raise missing("topicName")
    lock = given.number("lockDuration") or 0
    if lock <= 0:
        raise RestError(500, "ProcessEngineException", "lockTime is not greater than 0", 0)
    names = given.texts("variables")
    return Wanted(
        Topic(name, lock / 1000, tuple(_filters(given))),
        None if names is None else frozenset(names),
        given.flag("localVariables"),
        given.flag("deserializeValues"),
        given.flag("includeExtensionProperties"),
        _read_comparisons(given),
    )


def _filters(given: Fields) -> list[tuple[str, tuple[Any, ...]]]:
    found: list[tuple[str, tuple[Any, ...]]] = []
    key, keys = given.text("businessKey"), given.texts("processDefinitionKeyIn")
    if key is not None:
        found.append(("key", (key,)))
    if (process := given.text("processDefinitionKey")) is not None:
        found.append(("process", (process,)))
    if keys:
        found.append(("process", keys))
    identifiers = given.texts("processDefinitionIdIn") or ()
    if (identifier := given.text("processDefinitionId")) is not None:
        identifiers = (*identifiers, identifier)
    if identifiers:
        conditions = queries.definition_conditions(list(identifiers))
        found += [(each.column, each.values) for each in conditions]
    if given.texts("tenantIdIn"):
        found.append(("id", ()))
    return found


def _read_comparisons(given: Fields) -> list[Comparison]:
    values = given.values.get("processVariables")
    if values is None:
        return []
    if not isinstance(values, dict):
        raise given.wrong("processVariables", "it is not an object of variables")
    return [Comparison(name, "eq", value) for name, value in values.items()]
