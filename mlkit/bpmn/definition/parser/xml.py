"""The XML of BPMN: its namespaces and those of vendors, elements and attributes by name."""

from __future__ import annotations

from typing import TypeAlias

from mlkit.bpmn.definition import xml_documents
from mlkit.errors import BadData

Element: TypeAlias = xml_documents.Element

BPMN = "http://www.omg.org/spec/BPMN/20100524/MODEL"
MLKIT = "urn:mlkit:bpmn"
ZEEBE = "http://camunda.org/schema/zeebe/1.0"
CAMUNDA = "http://camunda.org/schema/1.0/bpmn"
OPERATON = "http://operaton.org/schema/1.0/bpmn"
# Operaton goes on with Camunda 7: its names mean the same.
CAMUNDA_7 = frozenset({CAMUNDA, OPERATON})
# Where one notion has several spellings, the first namespace that has it wins.
VENDORS = (
    MLKIT, CAMUNDA, OPERATON, "http://activiti.org/bpmn", "http://flowable.org/bpmn", ZEEBE,
)  # fmt: skip


def parse(content: bytes, place: str) -> Element:
    """Parse bytes; `place` names them in messages.

    Raises:
        BadData: They are not a BPMN document, or declare a DTD.
    """
    root = xml_documents.parse(content, place)
    if root.tag != f"{{{BPMN}}}definitions":
        raise BadData(f"{place}:{root.sourceline}: the root is not a BPMN 2.0 <definitions>")
    return root


def local(element: Element) -> str:
    """Return the element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def namespace(element: Element) -> str:
    """Return the element's namespace."""
    return str(element.tag)[1:].partition("}")[0]


def is_bpmn(element: Element) -> bool:
    """Return whether the element belongs to BPMN itself."""
    return str(element.tag).startswith(f"{{{BPMN}}}")


def child(element: Element, name: str) -> Element | None:
    """Return the first BPMN child of that name."""
    return element.find(f"{{{BPMN}}}{name}") if len(element) else None


def children(element: Element, name: str) -> list[Element]:
    """Return the BPMN children of that name."""
    return list(element.findall(f"{{{BPMN}}}{name}"))


def text(element: Element | None) -> str:
    """Return the text inside an element, or nothing."""
    return "" if element is None else "".join(map(str, element.itertext())).strip()


def line(element: Element) -> int:
    """Return the element's line in the file."""
    return int(element.sourceline or 0)


def vendor(element: Element, *names: str) -> str | None:
    """Return an attribute by any of its spellings in any vendor's namespace."""
    if not any("}" in key for key in element.keys()):  # noqa: SIM118 - an element is not a dict
        return None
    wanted = (f"{{{space}}}{name}" for space in VENDORS for name in names)
    found = (element.get(each) for each in wanted)
    return next((str(each) for each in found if each is not None), None)


def extension(element: Element, name: str) -> Element | None:
    """Return the first vendor's extension element of that name."""
    return next(iter(extensions(element, name)), None)


def extensions(element: Element, name: str) -> list[Element]:
    """Return the extension elements of that name, of any vendor."""
    holder = child(element, "extensionElements")
    if holder is None:
        return []
    return [each for space in VENDORS for each in holder.findall(f"{{{space}}}{name}")]
