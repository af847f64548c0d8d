"""Tasks and instances as documents of Camunda 7."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.external import ExternalTask
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Row
from mlkit.bpmn.runtime.external import external_of
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.engine_rest import definitions
from mlkit.bpmn.server.engine_rest.typed import encode, format_time
from mlkit.web.errors import Headers

_MEDIA = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)


def task(service: Service, found: ExternalTask) -> dict[str, Any]:
    """Return a task as lists show it."""
    row = service.journal.get(found.instance)
    definition = definitions.identifier(service.journal, found.process, found.definition)
    return _task(found, row, service.session.engine(row), definition)


def _task(found: ExternalTask, row: Row, engine: Engine, definition: str) -> dict[str, Any]:
    process = definitions.process_of(engine, found.process)
    return {
        "activityId": found.element,
        "activityInstanceId": f"{found.element}:{found.id}",
        "errorMessage": found.error,
        "executionId": found.id,
        "id": found.id,
        "lockExpirationTime": None if found.expires is None else format_time(found.expires),
        "createTime": format_time(found.created),
        "processDefinitionId": definition,
        "processDefinitionKey": found.process,
        "processDefinitionVersionTag": None if process is None else process.version_tag,
        "processInstanceId": found.name,
        "retries": found.retries,
        "suspended": row.status == "suspended",
        "workerId": found.worker,
        "topicName": found.topic,
        "tenantId": None,
        "priority": found.priority,
        "businessKey": found.key or None,
    }


class Locked(NamedTuple):
    """A task that a worker has fetched, and what it wants to see of it.

    Attributes:
        variables: The variables that the worker wants; None for all.
        own: Whether it wants only those of the task itself.
        deserialized: Whether objects come as JSON.
        properties: Whether it wants the extension properties.
    """

    task: ExternalTask
    variables: frozenset[str] | None = None
    own: bool = False
    deserialized: bool = False
    properties: bool = False


def describe_locked(service: Service, found: Sequence[Locked]) -> list[dict[str, Any]]:
    """Return tasks as their worker gets them; what the journal has of all is read together."""
    journal = service.journal
    rows = journal.rows_of({each.task.instance for each in found})
    recorded = {row.number: (row, read) for row, read in journal.load_recorded(rows)}
    named = {(each.task.process, each.task.definition) for each in found}
    identifiers = {each: definitions.identifier(journal, *each) for each in named}
    states: dict[int, State] = {}
    shown = []
    for each in found:
        if each.task.instance not in recorded:
            continue  # It has ended, and was removed, since the task was locked.
        row, read = recorded[each.task.instance]
        if row.number not in states:
            states[row.number] = service.session.state(row, read)
        definition = identifiers[each.task.process, each.task.definition]
        shown.append(_describe(service, each, row, states[row.number], definition))
    return shown


def _describe(
    service: Service, locked: Locked, row: Row, state: State, definition: str
) -> dict[str, Any]:
    found, names = locked.task, locked.variables
    engine = service.session.engine(row)
    activation = state.activations.get(found.activation)
    seen: dict[str, Any] = {}
    if activation is not None and locked.own:
        local = state.scopes.get(activation.local)
        seen = {} if local is None else local.variables
    elif activation is not None:
        seen = state.visible(activation.local or activation.scope, names)
    if names is not None:
        seen = {name: value for name, value in seen.items() if name in names}
    external = external_of(engine, found.element) if locked.properties else None
    return {
        **_task(found, row, engine, definition),
        "errorDetails": service.journal.external.details(found) if found.error else None,
        "variables": variables(seen, locked.deserialized),
        "extensionProperties": {} if external is None else dict(external.properties),
    }


def variables(found: dict[str, Any], deserialized: bool) -> dict[str, Any]:
    """Return stored variables as clients see them."""
    return {name: encode(each, deserialized).document for name, each in found.items()}


def instance(journal: Journal, row: Row) -> dict[str, Any]:
    """Return an instance."""
    return {
        "links": [],
        "id": row.id,
        "definitionId": definitions.identifier(journal, row.process, row.definition),
        "businessKey": row.key or None,
        "caseInstanceId": None,
        **progress(row),
        "tenantId": None,
        "definitionKey": row.process,
    }


def progress(row: Row) -> dict[str, Any]:
    """Return what changes of an instance's document as it goes on."""
    return {"ended": not row.is_open, "suspended": row.status == "suspended"}


def download(name: str, info: dict[str, Any]) -> Headers:
    """Return the headers of the bytes of a variable, which no browser shows."""
    media = str(info.get("mimeType") or "application/octet-stream")
    if not _MEDIA.fullmatch(media):
        media = "application/octet-stream"
    charset = str(info.get("encoding") or "")
    if charset.replace("-", "").isalnum() and charset.isascii():
        media += f";charset={charset}"
    shown = quote(str(info.get("filename") or name), safe="")
    disposition = f"attachment; filename*=UTF-8''{shown}"
    return (
        (b"content-type", media.encode()),
        (b"content-disposition", disposition.encode()),
        (b"x-content-type-options", b"nosniff"),
    )
