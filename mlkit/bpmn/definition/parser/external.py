"""Read what external workers see of a task: its topic, priority and properties."""

from __future__ import annotations

from mlkit.bpmn.definition.model import External
from mlkit.bpmn.definition.parser import xml
from mlkit.bpmn.definition.parser.reader import Reader
from mlkit.bpmn.definition.parser.xml import Element


def read(reader: Reader, element: Element) -> External | None:
    """Read how a task is offered to external workers; None where it is for none."""
    definition = xml.extension(element, "taskDefinition")
    if definition is not None:
        topic, retries = str(definition.get("type") or ""), definition.get("retries")
    elif xml.vendor(element, "type") == "external":
        topic, retries = xml.vendor(element, "topic") or "", None
    else:
        return None
    found = reader.attribute(topic, element)
    if found is None:
        return None
    return External(
        topic=found,
        priority=reader.attribute(_priority(element), element),
        retries=int(str(retries)) if str(retries).isdigit() else None,
        properties=dict(_properties(element)),
    )


def _priority(element: Element) -> str | None:
    """Return the priority of a task, else that of its process."""
    around = (element, *element.iterancestors())
    return next(filter(None, (xml.vendor(each, "taskPriority") for each in around)), None)


def _properties(element: Element) -> list[tuple[str, str]]:
    holder = xml.extension(element, "properties")
    found = [] if holder is None else [e for e in holder if xml.local(e) == "property"]
    return [(str(each.get("name")), str(each.get("value") or "")) for each in found]
