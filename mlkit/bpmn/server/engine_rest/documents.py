"""Tasks and instances as documents of Camunda 7."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.journal.external import ExternalTask
from mlkit.bpmn.journal.records import Row
from mlkit.bpmn.runtime.external import external_of
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.engine_rest import definitions
from mlkit.bpmn.server.engine_rest.typed import encode, format_time
from mlkit.web.errors import Headers

_MEDIA = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)


def task(service: Service, found: ExternalTask) -> dict[str, Any]:
    """Return a task as lists show it."""
    engine = service.session.engine(service.journal.get(found.instance))
    return _task(service, found, engine)


def _task(service: Service, found: ExternalTask, engine: Engine) -> dict[str, Any]:
    process = definitions.process_of(engine, found.process)
    return {
        "activityId": found.element,
        "activityInstanceId": f"{found.element}:{found.id}",
        "errorMessage": found.error,
        "executionId": found.id,
        "id": found.id,
        "lockExpirationTime": None if found.expires is None else format_time(found.expires),
        "createTime": format_time(found.created),
        "processDefinitionId": definitions.identifier(service, found.process, found.definition),
        "processDefinitionKey": found.process,
        "processDefinitionVersionTag": None if process is None else process.version_tag,
        "processInstanceId": found.name,
        "retries": found.retries,
        "suspended": service.journal.get(found.instance).status == "suspended",
        "workerId": found.worker,
        "topicName": found.topic,
        "tenantId": None,
        "priority": found.priority,
        "businessKey": found.key or None,
    }


def describe_locked_task(
    service: Service,
    found: ExternalTask,
    names: frozenset[str] | None,
    own: bool,
    deserialized: bool,
    properties: bool,
) -> dict[str, Any]:
    """Return a task as its worker gets it.

    Args:
        service: The service of this thread.
        found: The task.
        names: The variables that the worker wants; None for all.
        own: Whether it wants only those of the task itself.
        deserialized: Whether objects come as JSON.
        properties: Whether it wants the extension properties.
    """
    row = service.journal.get(found.instance)
    engine = service.session.engine(row)
    state = service.session.state(row)
    activation = state.activations.get(found.activation)
    seen: dict[str, Any] = {}
    if activation is not None and own:
        local = state.scopes.get(activation.local)
        seen = {} if local is None else local.variables
    elif activation is not None:
        seen = state.visible(activation.local or activation.scope, names)
    if names is not None:
        seen = {name: value for name, value in seen.items() if name in names}
    external = external_of(engine, found.element) if properties else None
    return {
        **_task(service, found, engine),
        "errorDetails": service.journal.external.details(found) if found.error else None,
        "variables": variables(seen, deserialized),
        "extensionProperties": {} if external is None else dict(external.properties),
    }


def variables(found: dict[str, Any], deserialized: bool) -> dict[str, Any]:
    """Return stored variables as clients see them."""
    return {name: encode(each, deserialized).document for name, each in found.items()}


def instance(service: Service, row: Row) -> dict[str, Any]:
    """Return an instance."""
    return {
        "links": [],
        "id": row.id,
        "definitionId": definitions.identifier(service, row.process, row.definition),
        "businessKey": row.key or None,
        "caseInstanceId": None,
        "ended": not row.is_open,
        "suspended": row.status == "suspended",
        "tenantId": None,
        "definitionKey": row.process,
    }


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
