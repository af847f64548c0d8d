"""Process definitions as clients see them; the id of one is `key:version:hash`."""

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple

from mlkit.bpmn.definition import xml_documents
from mlkit.bpmn.definition.model import Process
from mlkit.bpmn.definition.timers import duration
from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Deployed
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.engine_rest import queries
from mlkit.bpmn.server.engine_rest.fields import Fields
from mlkit.errors import BadData

_DAY = 86400.0
SORTS = {
    "key": "key", "name": "name", "version": "version", "id": "id", "category": "category",
    "deploymentId": "deploymentId", "tenantId": "tenantId", "versionTag": "versionTag",
}  # fmt: skip


class Facts(NamedTuple):
    """What a diagram declares about a process besides its flow."""

    category: str | None
    name: str | None
    version_tag: str | None
    time_to_live: int | None
    in_task_list: bool


def identifier(journal: Journal, process: str, sha256: str) -> str:
    """Return the id of a process definition."""
    return f"{process}:{version(journal, process, sha256)}:{sha256}"


def version(journal: Journal, process: str, sha256: str) -> int:
    """Return which version of its process a definition is; 1 where it was never deployed."""
    found = journal.deployments.of_definition(process, sha256)
    return 1 if found is None else found.version


def deployed_id(found: Deployed) -> str:
    """Return the id of a deployed definition."""
    return f"{found.process}:{found.version}:{found.definition}"


def deployment_id(found: Deployed) -> str:
    """Return the id of a deployment: all that was deployed in one moment."""
    return f"deployment-{found.at * 1000:.0f}"


def by_id(journal: Journal, wanted: str) -> Deployed | None:
    """Return a deployed definition by its id."""
    process, _, rest = wanted.partition(":")
    number, _, sha256 = rest.partition(":")
    for each in journal.deployments.versions(process):
        if (str(each.version), each.definition) == (number, sha256):
            return each
    return None


def process_of(engine: Engine, process: str) -> Process | None:
    """Return a process of an instance: its own, or one that it calls."""
    own = {each.id: each for each in engine.processes}
    return own.get(process) or engine.graph.called.get(process)


def name_of(process: Process) -> str | None:
    """Return the name that the diagram gives a process."""
    return None if process.name == process.id else process.name


def document(service: Service, found: Deployed) -> dict[str, Any]:
    """Return a definition as lists show it."""
    content = service.journal.definition(found.definition)[1]
    facts = _facts(content, found.process)
    return {
        "id": deployed_id(found),
        "key": found.process,
        "category": facts.category,
        "description": None,
        "name": facts.name,
        "version": found.version,
        "resource": found.file,
        "deploymentId": deployment_id(found),
        "diagram": None,
        "suspended": False,
        "tenantId": None,
        "versionTag": facts.version_tag,
        "historyTimeToLive": facts.time_to_live,
        "startableInTasklist": facts.in_task_list,
    }


@functools.lru_cache(maxsize=256)
def _facts(content: bytes, process: str) -> Facts:
    root = xml_documents.parse(content, process)
    element = next((e for e in root.iter("{*}process") if e.get("id") == process), root)
    # Camunda's and Operaton's attributes differ in their namespace only.
    known = {str(name).rpartition("}")[2]: str(value) for name, value in element.attrib.items()}
    return Facts(
        category=root.get("targetNamespace"),
        name=known.get("name"),
        version_tag=known.get("versionTag"),
        time_to_live=_days(known.get("historyTimeToLive")),
        in_task_list=known.get("isStartableInTasklist") != "false",
    )


def _days(written: str | None) -> int | None:
    if written is None or re.fullmatch(r"\d{1,9}", written):
        return None if written is None else int(written)
    try:
        return int(duration(written).total_seconds() // _DAY)
    except (BadData, OverflowError):
        return None


def find(service: Service, given: Fields) -> list[dict[str, Any]]:
    """Return the definitions for which all filters hold."""
    deployments = service.journal.deployments
    found = deployments.all()
    if not given.flag("latestVersion"):
        found = [each for newest in found for each in deployments.versions(newest.process)]
    shown = [document(service, each) for each in found]
    return [each for each in shown if _fits(each, given)]


_EQUAL = {
    "key": "key", "name": "name", "processDefinitionId": "id", "deploymentId": "deploymentId",
    "resourceName": "resource", "versionTag": "versionTag", "category": "category",
}  # fmt: skip
_AMONG = {"keysIn": "key", "processDefinitionIdIn": "id"}
_LIKE = {"keyLike": "key", "nameLike": "name", "resourceNameLike": "resource"}


def _fits(shown: dict[str, Any], given: Fields) -> bool:
    equal = [(given.text(name), shown[column]) for name, column in _EQUAL.items()]
    among = [(given.texts(name), shown[column]) for name, column in _AMONG.items()]
    like = [(given.text(name), shown[column]) for name, column in _LIKE.items()]
    number = given.number("version")
    return (
        all(wanted is None or wanted == value for wanted, value in equal)
        and all(wanted is None or value in wanted for wanted, value in among)
        and all(wanted is None or queries.like(value, wanted) for wanted, value in like)
        and number in (None, shown["version"])
        and not given.flag("suspended")
        and not given.texts("tenantIdIn")
    )
