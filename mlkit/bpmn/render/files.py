"""From a BPMN file to its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeVar

from mlkit.bpmn.definition import xml_documents
from mlkit.bpmn.definition.parser import xml
from mlkit.bpmn.definition.parser.xml import Element
from mlkit.bpmn.render import diagram_interchange, layout
from mlkit.bpmn.render.picture import Picture
from mlkit.errors import BadData, InputMissing


def pictures(path: Path) -> list[Picture]:
    """Return the pictures of all diagrams of a file, or an automatic layout of one without.

    Raises:
        InputMissing: The file cannot be read.
        BadData: It is not a BPMN document, or nothing in it can be drawn.
    """
    return _pictures(xml.parse(xml_documents.read(path), str(path)), str(path))


def parse(content: bytes, file: str) -> list[Picture]:
    """Return the pictures of a document that is already in memory; raises as `pictures` does."""
    return _pictures(xml.parse(content, file), file)


class Titled(Protocol):
    """A drawing that can be chosen by the id of what it shows, or by its name."""

    @property
    def element(self) -> str:
        """The id of what it shows."""

    @property
    def name(self) -> str:
        """What people call it."""


Drawing = TypeVar("Drawing", bound=Titled)


def choose(found: list[Drawing], wanted: str | None, file: str) -> Drawing:
    """Return one of several pictures: the first, or the one of a number, an element or a name.

    Raises:
        InputMissing: There is none of that name, or several.
    """
    if wanted is None:
        return found[0]
    names = [{str(number), each.element, each.name} for number, each in enumerate(found, 1)]
    chosen = [each for each, known in zip(found, names, strict=True) if wanted in known]
    if len(chosen) != 1:
        problem = "several diagrams are" if chosen else "no diagram is"
        hint = f"it has {', '.join(map(name_diagram, range(1, len(found) + 1), found))}"
        raise InputMissing(f"{file}: {problem} named {wanted!r}", hint=hint)
    return chosen[0]


def name_diagram(number: int, picture: Titled) -> str:
    """Name a diagram by its number, its element and its name."""
    name = f" ({picture.name})" if picture.name else ""
    return f"{number}: {picture.element}{name}"


def _pictures(root: Element, file: str) -> list[Picture]:
    drawn = [
        diagram_interchange.read(root, each, file) for each in diagram_interchange.planes(root)
    ]
    found = [each for each in drawn if each.shapes] or [layout.arrange(root)]
    if not found[0].shapes:
        raise BadData(f"{file}: there is nothing to draw: no process has a flow node")
    return found
