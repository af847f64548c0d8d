"""The requirement graph of a decision model, apart from where it is drawn."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mlkit.bpmn.decisions.xml import Node as Element
from mlkit.bpmn.decisions.xml import attribute, child, is_dmn, local, text_of

KINDS = {
    "inputData": "Input data",
    "decision": "Decision",
    "businessKnowledgeModel": "Business knowledge model",
    "knowledgeSource": "Knowledge source",
    "decisionService": "Decision service",
    "textAnnotation": "Text annotation",
    "group": "Group",
}
_REQUIREMENTS = ("informationRequirement", "knowledgeRequirement", "authorityRequirement")
_TARGETS = {
    "requiredInput": "inputData",
    "requiredDecision": "decision",
    "requiredKnowledge": "businessKnowledgeModel",
    "requiredAuthority": "knowledgeSource",
}
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_MOST_SHOWN = 200
Names = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Node:
    """An element of the graph.

    Attributes:
        id: Its id; of an imported element, `namespace#id`.
        kind: The name of its element in DMN.
    """

    id: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Link:
    """A requirement, or an association of an annotation; it points from the required element.

    Attributes:
        kind: The name of its element in DMN.
    """

    id: str
    kind: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Graph:
    """The elements of a model by id, with what they require."""

    nodes: dict[str, Node]
    links: tuple[Link, ...]


def clean(text: str) -> str:
    """Return a text without characters that would steer a terminal or turn a line round."""
    return "".join("\ufffd" if _steers(each) else each for each in text)


def brief(text: str) -> str:
    """Return the beginning of a long text, for a drawing."""
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _steers(character: str) -> bool:
    control = unicodedata.category(character) == "Cc" and character not in "\n\t"
    return control or character in _BIDI


def read(root: Element, names: Names) -> Graph:
    """Return the graph of a model.

    Args:
        root: The document.
        names: Returns the name of an imported element by `namespace#id`.
    """
    holder = child(root, "extensionElements")
    # Services of DMN 1.1 are extension elements.
    places = [*root, *(() if holder is None else holder)]
    found = [each for each in places if is_dmn(each) and local(each) in KINDS]
    nodes = {each.id: each for each in map(_node, found)}
    own = attribute(root, "namespace")
    links = [link for each in found for link in _links(each, own)]
    links += [_association(each, own) for each in places if _is_association(each)]
    for kind, link in zip(_required_kinds(found), list(links), strict=False):
        if "#" in link.source and link.source not in nodes:
            nodes[link.source] = Node(link.source, kind, clean(names(link.source)))
    return Graph(nodes, tuple(each for each in links if {each.source, each.target} <= set(nodes)))


def _node(element: Element) -> Node:
    kind = local(element)
    name = attribute(element, "name")
    if kind == "textAnnotation":
        name = text_of(element)
    return Node(element.get("id") or name, kind, clean(name))


def _is_association(element: Element) -> bool:
    return is_dmn(element) and local(element) == "association"


def _requirements(element: Element) -> Iterator[tuple[Element, Element]]:
    for each in element:
        if is_dmn(each) and local(each) in _REQUIREMENTS:
            for target in each:
                if local(target) in _TARGETS:
                    yield each, target


def _links(element: Element, own: str) -> Iterator[Link]:
    for each, target in _requirements(element):
        source = reference(attribute(target, "href"), own)
        yield Link(attribute(each, "id"), local(each), source, _node(element).id)


def _required_kinds(found: list[Element]) -> Iterator[str]:
    for element in found:
        for _, target in _requirements(element):
            yield _TARGETS[local(target)]


def _association(element: Element, own: str) -> Link:
    def end(name: str) -> str:
        holder = child(element, name)
        return "" if holder is None else reference(attribute(holder, "href"), own)

    return Link(attribute(element, "id"), "association", end("sourceRef"), end("targetRef"))


def reference(href: str, own: str) -> str:
    """Return the id of an element of the same file, or `namespace#id` of another one."""
    namespace, _, identity = href.rpartition("#")
    return identity if namespace in ("", own) else href
