"""`/engine-rest/message`: messages to instances that wait, and to start events."""

from __future__ import annotations

from typing import Any, NamedTuple

from mlkit.bpmn.engine.behaviors import starting
from mlkit.bpmn.engine.events import Receive, Start
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Deployed, Row
from mlkit.bpmn.runtime.deployment import Starter
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.context import Context, client
from mlkit.bpmn.server.engine_rest import queries, typed
from mlkit.bpmn.server.engine_rest.answers import NOTHING, Verb, answer, settle
from mlkit.bpmn.server.engine_rest.errors import RestError, invalid, refused
from mlkit.bpmn.server.engine_rest.fields import Fields, body
from mlkit.bpmn.server.engine_rest.processes import Chosen, start_instance
from mlkit.web.application import Request, Response
from mlkit.workers.child.values import unpack

_MISMATCH = "org.camunda.bpm.engine.MismatchingMessageCorrelationException: "


class Message(NamedTuple):
    """A message, and to whom it goes.

    Attributes:
        key: The business key; None for any.
        instance: The id of the instance; None for any.
        correlation: The values that variables of the instance must have.
        to_all: Whether all that wait for it get it.
    """

    name: str
    variables: dict[str, Any]
    key: str | None
    instance: str | None
    correlation: list[queries.Comparison]
    to_all: bool


class Place(NamedTuple):
    """An instance that waits for a message."""

    row: Row
    activation: int


class Messages:
    """The operation on messages.

    Args:
        context: The server's.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def verbs(self) -> dict[str, dict[str, Verb]]:
        """Return the operations by path and method."""
        return {"/message": {"POST": Verb(self.correlate, "Send a message.", "operator")}}

    async def correlate(self, request: Request) -> Response:
        """Deliver a message to the instance that waits for it, or start one by it."""
        given = body(request)
        message = _message(given)
        places, starts = await self._context.call(
            lambda it: _receivers(it, self._context.starter, message)
        )
        if not message.to_all:
            _require_one(message, places, starts)
        found = await self._deliver(message, places)
        if message.to_all or not places:
            found += [await self._start(message, each, request) for each in starts]
        return answer(found) if given.flag("resultEnabled") else NOTHING

    async def _deliver(self, message: Message, places: list[Place]) -> list[dict[str, Any]]:
        def deliver(journal: Journal) -> list[int]:
            rows = []
            for each in places:
                if journal.get(each.row.number, keep=True).status == "suspended":
                    raise _mismatch(message.name)
                journal.mailbox.unsubscribe(each.row.number, each.activation)
                event = Receive(each.activation, message.variables)
                rows.append(journal.mailbox.deliver(each.row.number, event, asks=True))
            return rows

        if places:
            await settle(self._context, deliver)
        return [_result(execution=_execution(each)) for each in places]

    async def _start(
        self, message: Message, deployed: Deployed, request: Request
    ) -> dict[str, Any]:
        start = Start(message.variables, "", message.key or "", by=request.caller.name)
        chosen = Chosen(deployed, start, message.name)
        started = await start_instance(self._context, lambda _: chosen, client(request))
        return _result(instance=started.document)


def _result(
    execution: dict[str, Any] | None = None, instance: dict[str, Any] | None = None
) -> dict[str, Any]:
    kind = "ProcessDefinition" if execution is None else "Execution"
    return {"resultType": kind, "execution": execution, "processInstance": instance}


def _execution(place: Place) -> dict[str, Any]:
    identifier = f"{place.row.id}-{place.activation}"
    return {
        "id": identifier, "processInstanceId": place.row.id, "ended": True, "tenantId": None,
    }  # fmt: skip


def _message(given: Fields) -> Message:
    name = given.text("messageName")
    if not name:
        raise invalid("No message name supplied")
    if given.text("tenantId") is not None:
        if given.text("processInstanceId") is not None:
            message = (
                "ENGINE-13028 Cannot specify a tenant-id when correlate a message to a single"
                " process instance."
            )
            raise RestError(400, "BadUserRequestException", message, 0)
        raise _mismatch(name)
    variables = given.variables("processVariables") | given.variables("processVariablesLocal")
    keys = given.variables("correlationKeys") | given.variables("localCorrelationKeys")
    return Message(
        name,
        variables,
        given.text("businessKey"),
        given.text("processInstanceId"),
        [queries.Comparison(key, "eq", typed.encode(each).value) for key, each in keys.items()],
        given.flag("all"),
    )


def _receivers(
    service: Service, starter: Starter, message: Message
) -> tuple[list[Place], list[Deployed]]:
    """Return who waits for a message, and what it starts."""
    found = []
    for number, activation in service.journal.mailbox.waiting(message.name):
        row = service.journal.get(number)
        if (
            row.status != "suspended"
            and message.key in (None, row.key)
            and message.instance in (None, row.id)
            and queries.holds(service, number, message.correlation)
        ):
            found.append(Place(row, activation))
    if message.instance is not None:
        return found, []
    return found, [
        each
        for each in service.journal.deployments.all()
        if _starts(service, starter, each, message)
    ]


def _starts(service: Service, starter: Starter, deployed: Deployed, message: Message) -> bool:
    engine = starter.engine(service.journal, deployed)
    return any(list(starting.by_message(each, message.name)) for each in engine.processes)


def _require_one(message: Message, places: list[Place], starts: list[Deployed]) -> None:
    if len(places) > 1:
        key = "null" if message.key is None else message.key
        keys = {each.name: unpack(each.value) for each in message.correlation} or "null"
        raise refused(
            400,
            f"{_MISMATCH}ENGINE-13031 Cannot correlate a message with name '{message.name}' to a"
            f" single execution. {len(places)} executions match the correlation keys:"
            f" CorrelationSet [businessKey={key}, processInstanceId={message.instance or 'null'},"
            f" processDefinitionId=null, correlationKeys={keys}, localCorrelationKeys=null,"
            " tenantId=null, isTenantIdSet=false, isExecutionsOnly=false]",
        )
    if not places and len(starts) != 1:
        raise _mismatch(message.name)


def _mismatch(name: str) -> RestError:
    return refused(
        400,
        f"{_MISMATCH}Cannot correlate message '{name}': No process definition or execution matches"
        " the parameters",
    )
