"""`/engine-rest/history`: instances that have ended, too."""

from __future__ import annotations

from typing import Any

from mlkit.bpmn.journal.records import Row
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.engine_rest import definitions
from mlkit.bpmn.server.engine_rest.answers import Verb, answer, path
from mlkit.bpmn.server.engine_rest.errors import invalid
from mlkit.bpmn.server.engine_rest.fields import query
from mlkit.bpmn.server.engine_rest.instances import find_row
from mlkit.bpmn.server.engine_rest.typed import encode, format_time
from mlkit.web.application import Request, Response

_STATES = {
    "completed": "COMPLETED",
    "suspended": "SUSPENDED",
    "cancelled": "EXTERNALLY_TERMINATED",
    "failed": "INTERNALLY_TERMINATED",
}


class History:
    """What is kept of instances.

    Args:
        context: The server's.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def verbs(self) -> dict[str, dict[str, Verb]]:
        """Return the operations by path and method."""
        instance = "/history/process-instance/{id}"
        return {
            instance: {"GET": Verb(self.show, "Show an instance, ended or not.", "viewer")},
            "/history/variable-instance": {
                "GET": Verb(self.variables, "The variables of an instance.", "viewer")
            },
        }

    async def show(self, request: Request) -> Response:
        """Show an instance."""
        identifier = path(request, "id")

        def show(service: Service) -> dict[str, Any]:
            row = find_row(service, identifier)
            if row is None:
                raise invalid(f"Historic process instance with id {identifier} does not exist", 404)
            return _document(service, row)

        return answer(await self._context.call(show))

    async def variables(self, request: Request) -> Response:
        """Show the variables of an instance as they are, or were at its end."""
        identifier = query(request).text("processInstanceId")
        if identifier is None:
            raise invalid("processInstanceId is missing")

        def show(service: Service) -> list[dict[str, Any]]:
            row = find_row(service, identifier)
            return [] if row is None else _variables(service, row)

        return answer(await self._context.call(show))


def _document(service: Service, row: Row) -> dict[str, Any]:
    ended = None if row.is_open else row.updated
    engine = service.session.engine(row)
    process = definitions.process_of(engine, row.process)
    first = next(iter(service.journal.events(row)), None)
    started = first[2][0].element if first and first[2] else None
    return {
        "id": row.id,
        "businessKey": row.key or None,
        "processDefinitionId": definitions.identifier(service.journal, row.process, row.definition),
        "processDefinitionKey": row.process,
        "processDefinitionName": None if process is None else definitions.name_of(process),
        "processDefinitionVersion": definitions.version(
            service.journal, row.process, row.definition
        ),
        "startTime": format_time(row.created),
        "endTime": None if ended is None else format_time(ended),
        "removalTime": None,
        "durationInMillis": None if ended is None else int((ended - row.created) * 1000),
        "startUserId": None,
        "startActivityId": started,
        "deleteReason": None,
        "rootProcessInstanceId": row.id,
        "superProcessInstanceId": None,
        "superCaseInstanceId": None,
        "caseInstanceId": None,
        "tenantId": None,
        "state": _STATES.get(row.status, "ACTIVE"),
        "restartedProcessInstanceId": None,
    }


def _variables(service: Service, row: Row) -> list[dict[str, Any]]:
    state = service.session.state(row)
    known = next((each.variables for each in state.roots()), {})
    definition = definitions.identifier(service.journal, row.process, row.definition)
    return [
        {
            **encode(value, deserialized=True).document,
            "id": f"{row.id}-{name}",
            "name": name,
            "processDefinitionKey": row.process,
            "processDefinitionId": definition,
            "processInstanceId": row.id,
            "executionId": row.id,
            "activityInstanceId": row.id,
            "state": "CREATED",
            "tenantId": None,
        }
        for name, value in service.session.mask(row, state).variables(known).items()
    ]
