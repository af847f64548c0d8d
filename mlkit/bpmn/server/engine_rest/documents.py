"""Tasks and instances as documents of Camunda 7."""

from __future__ import annotations

from typing import Any

from mlkit.bpmn.journal.external import ExternalTask
from mlkit.bpmn.server.engine_rest.typed import typed, written


def task(found: ExternalTask, definition: str, tag: str | None) -> dict[str, Any]:
    """Return a task as the lists show it.

    Args:
        found: The task.
        definition: The id of its process definition.
        tag: The version tag of the definition.
    """
    return {
        "activityId": found.element,
        "activityInstanceId": f"{found.element}:{found.id}",
        "errorMessage": found.error,
        "executionId": found.id,
        "id": found.id,
        "lockExpirationTime": None if found.expires is None else written(found.expires),
        "createTime": written(found.created),
        "processDefinitionId": definition,
        "processDefinitionKey": found.process,
        "processDefinitionVersionTag": tag,
        "processInstanceId": found.name,
        "retries": found.retries,
        "suspended": False,
        "workerId": found.worker,
        "topicName": found.topic,
        "tenantId": None,
        "priority": found.priority,
        "businessKey": found.key or None,
    }


def variables(found: dict[str, Any], deserialized: bool) -> dict[str, Any]:
    """Return stored variables as clients see them."""
    return {name: typed(each, deserialized).document for name, each in found.items()}
