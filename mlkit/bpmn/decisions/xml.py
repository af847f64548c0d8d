"""The XML of DMN, of any version: elements, attributes and texts by name."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TypeAlias

from lxml import etree

from mlkit.bpmn.definition import xml_documents
from mlkit.errors import BadData

Node: TypeAlias = etree._Element
_MODEL = re.compile(r"https?://www\.omg\.org/spec/DMN/\d{8}/(?:MODEL/?|dmn\.xsd)")


def parse(content: bytes, place: str) -> Node:
    """Parse bytes; `place` names them in messages.

    Raises:
        BadData: They are not a DMN document, or declare a DTD.
    """
    root = xml_documents.parse(content, place)
    if local(root) != "definitions" or not is_dmn(root):
        raise BadData(f"{place}:{line(root)}: the root is not a DMN <definitions>")
    return root


def local(node: Node) -> str:
    """Return an element's name without its namespace."""
    return str(node.tag).rpartition("}")[2]


def is_dmn(node: Node) -> bool:
    """Return whether an element belongs to DMN, of any version."""
    return _is_model(str(node.tag)[1:].partition("}")[0])


@lru_cache(maxsize=256)
def _is_model(namespace: str) -> bool:
    return _MODEL.fullmatch(namespace) is not None


def children(node: Node, name: str) -> list[Node]:
    """Return the children of a name."""
    return [each for each in node if local(each) == name and is_dmn(each)]


def child(node: Node, name: str) -> Node | None:
    """Return the first child of a name."""
    return next(iter(children(node, name)), None)


def attribute(node: Node, name: str) -> str:
    """Return an attribute, its spaces normalised; an empty text if it is missing."""
    return " ".join(str(node.get(name) or "").split())


def type_name(node: Node, text: str) -> str:
    """Return the name of a type without its prefix, below the import that the prefix means."""
    prefix, _, name = text.rpartition(":")
    namespace = text[1:].partition("}")[0] if text.startswith("{") else node.nsmap.get(prefix)
    name = name.rpartition("}")[2]
    if not namespace:
        return name
    imports = children(node.getroottree().getroot(), "import")
    found = (attribute(e, "name") for e in imports if e.get("namespace") == namespace)
    imported = next(found, "")
    return f"{imported}.{name}" if imported else name


def text_of(node: Node | None) -> str:
    """Return the text inside of an element, or inside of its `<text>`."""
    if node is None:
        return ""
    inner = child(node, "text")
    return "".join(map(str, (node if inner is None else inner).itertext())).strip()


def line(node: Node) -> int:
    """Return an element's line in the file."""
    return int(node.sourceline or 0)
