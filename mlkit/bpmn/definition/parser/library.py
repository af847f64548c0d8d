"""The files beside a diagram: scripts that it names, diagrams that it calls."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

from mlkit.bpmn.decisions.reader import read as read_decisions
from mlkit.bpmn.definition import xml_documents
from mlkit.bpmn.definition.parser import form_js, xml
from mlkit.bpmn.definition.parser.xml import Element
from mlkit.errors import InputMissing, MlkitError

DIAGRAMS = (".bpmn", ".bpmn20.xml")
_CALLABLE = ("process", "global")


class Library:
    """The texts that a diagram uses beside its own.

    Args:
        path: The diagram.
        stored: The texts, where they were stored with an instance.

    Attributes:
        used: The texts that were asked for, by name.
        wanted: The diagrams that hold a called process, in the order that they were found.
    """

    def __init__(self, path: Path, stored: Mapping[str, str]) -> None:
        self.path = path
        self.stored = stored
        self.used: dict[str, str] = {}
        self.wanted: list[str] = []
        self.diagrams: dict[str, Element] | None = None

    def text(self, name: str) -> str:
        """Return the text of a file beside the diagram.

        Raises:
            ValueError: It is not beside the diagram, no regular file, or not UTF-8.
            OSError: It cannot be read.
        """
        if name not in self.used:
            stored = self.stored.get(name)
            self.used[name] = self._read(name) if stored is None else stored
        return self.used[name]

    def _read(self, name: str) -> str:
        folder = self.path.parent.resolve()
        path = (folder / file_of(name)).resolve()
        if not path.is_relative_to(folder):
            raise ValueError("it is not beside the diagram")
        if path.exists() and not path.is_file():
            raise ValueError("it is not a regular file")
        if path.stat().st_size > xml_documents.MAX_BYTES:
            raise ValueError(f"it is larger than {xml_documents.MAX_BYTES // 1_000_000} MB")
        return path.read_text(encoding="utf-8")

    def form(self, wanted: str) -> str:
        """Return the text of the form-js form with an id.

        Raises:
            ValueError: None beside the diagram has it, or several.
        """
        found = []
        for name in self._names():
            if name.endswith(".form"):
                # A broken file beside the diagram is not a matter of the diagram.
                with contextlib.suppress(OSError, ValueError):
                    content = self.stored.get(name) or self._read(name)
                    if form_js.identifier(content) == wanted:
                        found.append(name)
        if len(found) != 1:
            problem = f"{' and '.join(found)} have it" if found else "no .form file has it"
            raise ValueError(f"{problem} as its id")
        return self.text(found[0])

    def decision(self, wanted: str, tag: str = "") -> str | None:
        """Return the name of the decision model that has a decision with an id, if one does.

        Args:
            wanted: The id.
            tag: The version tag that the decision must have; empty for any.

        Raises:
            ValueError: Several have it.
        """
        found = []
        for name in self.names():
            # A broken file beside the diagram is not a matter of the diagram.
            with contextlib.suppress(MlkitError, OSError, ValueError):
                content = self.stored.get(name) or self._read(name)
                if wanted in content and _decides(content, name, wanted, tag):
                    found.append(name)
        if len(found) > 1:
            raise ValueError(f"{' and '.join(found)} have it")
        return found[0] if found else None

    def names(self) -> list[str]:
        """Return the names of the decision models beside the diagram."""
        return [each for each in self._names() if each.endswith(".dmn")]

    def read(self, name: str) -> bytes:
        """Return the bytes of a decision model, which an instance keeps.

        Raises:
            InputMissing: It cannot be read.
        """
        try:
            return self.text(name).encode()
        except (OSError, ValueError) as error:
            raise InputMissing(f"{name}: {error}") from error

    def files_with(self, process: str) -> list[str]:
        """Return the names of the diagrams beside this one that hold a process."""
        return [file for file, name in self.callable_beside() if name == process]

    def callable_beside(self) -> list[tuple[str, str]]:
        """Return the file and the id of each process and global task beside this diagram."""
        if self.diagrams is None:
            self.diagrams = self._load()
        return [(file, each) for file, root in self.diagrams.items() for each in _callable(root)]

    def _names(self) -> list[str]:
        """Name the files beside the diagram; those stored, if it was."""
        names: list[str] = []
        if self.stored:
            return list(self.stored)
        with contextlib.suppress(OSError):
            names = sorted(each.name for each in self.path.parent.iterdir())
        return names

    def _load(self) -> dict[str, Element]:
        found: dict[str, Element] = {}
        for name in self._names():
            if name.endswith(DIAGRAMS) and name != self.path.name:
                # A broken file beside the diagram is not a matter of the diagram.
                with contextlib.suppress(MlkitError, OSError, ValueError):
                    content = self.stored.get(name) or self._read(name)
                    found[name] = xml.parse(content.encode(), name)
        return found


def file_of(name: str) -> str:
    """Return the file that a resource names: `deployment://work.py` is the file `work.py`."""
    return re.sub(r"^\w+://", "", name)


def _decides(content: str, name: str, wanted: str, tag: str) -> bool:
    model = read_decisions(content.encode(), Path(name))
    return any(
        each.id == wanted and (not tag or getattr(each, "version_tag", "") == tag)
        for each in model.elements
    )


def _callable(root: Element) -> list[str]:
    return [
        str(each.get("id"))
        for each in root
        if each.get("id") and xml.is_bpmn(each) and xml.local(each).startswith(_CALLABLE)
    ]
