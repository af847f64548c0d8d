"""`/engine-rest/incident`: what an operator must look at."""

from __future__ import annotations

from typing import Any

from mlkit.bpmn.engine.state import Activation
from mlkit.bpmn.engine.waits import ForWorker
from mlkit.bpmn.journal.records import Row
from mlkit.bpmn.runtime import documents
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.engine_rest import definitions, queries
from mlkit.bpmn.server.engine_rest.answers import Verb, answer
from mlkit.bpmn.server.engine_rest.fields import Fields, query
from mlkit.bpmn.server.engine_rest.typed import format_time
from mlkit.web.application import Request, Response

_FILTERS = {
    "incidentId": "id", "incidentType": "incidentType", "incidentMessage": "incidentMessage",
    "processDefinitionId": "processDefinitionId", "processInstanceId": "processInstanceId",
    "executionId": "executionId", "activityId": "activityId", "configuration": "configuration",
    "causeIncidentId": "causeIncidentId", "rootCauseIncidentId": "rootCauseIncidentId",
}  # fmt: skip
_SORTS = {*_FILTERS, "incidentTimestamp", "tenantId"}


class Incidents:
    """The operations on incidents.

    Args:
        context: The server's.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def verbs(self) -> dict[str, dict[str, Verb]]:
        """Return the operations by path and method."""
        return {
            "/incident": {"GET": Verb(self.find, "List incidents.", "viewer")},
            "/incident/count": {"GET": Verb(self.count, "Count incidents.", "viewer")},
        }

    async def find(self, request: Request) -> Response:
        """List incidents."""
        given = query(request)
        limit, offset = queries.page(given)
        order = queries.order(given, dict.fromkeys(_SORTS))
        found = await self._context.call(lambda it: _find(it, given))
        for by, direction in reversed(order):
            column = _FILTERS.get(by, by)
            found.sort(key=lambda each: str(each[column]), reverse=direction == "desc")
        return answer(found[offset : None if limit is None else offset + limit])

    async def count(self, request: Request) -> Response:
        """Count incidents."""
        given = query(request)
        return answer({"count": len(await self._context.call(lambda it: _find(it, given)))})


def _find(service: Service, given: Fields) -> list[dict[str, Any]]:
    wanted = {column: given.text(name) for name, column in _FILTERS.items()}
    keys = given.texts("processDefinitionKeyIn")
    rows = [each for each in service.journal.open_rows() if each.status == "incident"]
    return [
        each
        for row in rows
        if keys is None or row.process in keys
        for each in _of_instance(service, row)
        if all(value is None or each[column] == value for column, value in wanted.items())
    ]


def _of_instance(service: Service, row: Row) -> list[dict[str, Any]]:
    state = service.session.state(row)
    found = documents.incidents(service.session.engine(row), state)
    found = service.session.mask(row, state).document(found)
    return [_document(service, row, each, state.activations.get(each["id"])) for each in found]


def _document(
    service: Service, row: Row, incident: dict[str, Any], activation: Activation | None
) -> dict[str, Any]:
    external = activation is not None and isinstance(activation.wait, ForWorker)
    place = f"{row.id}-{incident['id'] or 0}"
    return {
        "id": f"incident-{place}",
        "processDefinitionId": definitions.identifier(service.journal, row.process, row.definition),
        "processInstanceId": row.id,
        "executionId": place,
        "incidentTimestamp": format_time(row.updated),
        "incidentType": "failedExternalTask" if external else "failedJob",
        "activityId": incident["element"],
        "failedActivityId": None if external else incident["element"],
        "causeIncidentId": f"incident-{place}",
        "rootCauseIncidentId": f"incident-{place}",
        "configuration": place,
        "incidentMessage": incident["message"],
        "tenantId": None,
        "jobDefinitionId": None,
        "annotation": None,
    }
