"""Read a BPMN 2.0 file into definitions; what cannot be executed becomes a problem."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from mlkit.bpmn.definition import xml_documents
from mlkit.bpmn.definition.model import Definitions, Process
from mlkit.bpmn.definition.parser import calls, collaboration, data, nodes, unsupported, xml
from mlkit.bpmn.definition.parser.library import Library
from mlkit.bpmn.definition.parser.reader import Reader
from mlkit.bpmn.definition.parser.xml import Element

__all__ = ["parse", "parse_text", "read", "tags_of"]

read = xml_documents.read


def parse(path: Path) -> Definitions:
    """Read a file.

    Raises:
        InputMissing: It cannot be read.
        BadData: It is not a BPMN document, or a hostile one.
    """
    return parse_text(xml_documents.read(path), path)


def parse_text(
    content: bytes, path: Path, resources: Mapping[str, str] | None = None
) -> Definitions:
    """Read a document that is already in memory, as if from `path`.

    Args:
        content: The XML.
        path: Where it came from, for messages and for the files beside it.
        resources: The texts of those files, where they are known already.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    return _definitions(xml.parse(content, str(path)), Library(path, resources or {}), sha256)


def _definitions(root: Element, library: Library, sha256: str) -> Definitions:
    reader = Reader(root, library)
    processes = _file(reader)
    called = {each.id: each for each in processes if each.id in reader.calls}
    called |= {each.id: each for each in _global_tasks(reader)}
    problems = list(reader.problems)
    read: set[str] = set()
    while library.wanted:
        name = library.wanted.pop()
        if name not in read:
            read.add(name)
            other = _read_called_file(name, library)
            called |= {each.id: each for each in (*_file(other), *_global_tasks(other))}
            problems += other.problems
    return Definitions(
        file=library.path.name,
        sha256=sha256,
        processes=processes,
        problems=tuple(dict.fromkeys(problems)),
        resources=library.used,
        called=called,
        collaboration=xml.child(root, "collaboration") is not None,
    )


def _read_called_file(name: str, library: Library) -> Reader:
    root = xml.parse(library.text(name).encode(), name)
    return Reader(root, library, prefix=f"{name}#")


def _file(reader: Reader) -> tuple[Process, ...]:
    reader.data = data.names(reader.root)
    reader.stores = data.stores(reader.root)
    reader.handlers = collaboration.associations(reader.root)
    collaboration.read(reader)
    unsupported.check(reader, reader.root)
    return tuple(nodes.process(reader, each) for each in xml.children(reader.root, "process"))


def _global_tasks(reader: Reader) -> list[Process]:
    tasks = [each for each in reader.root if xml.is_bpmn(each)]
    kinds = calls.CALLABLE - {"process"}
    return [nodes.global_task(reader, each) for each in tasks if xml.local(each) in kinds]


def tags_of(content: bytes, process: str) -> frozenset[str]:
    """Return the tags of a process of a document (`mlkit:tags="finance, nightly"`).

    Raises:
        BadData: It is not an XML document, or a hostile one.
    """
    for each in xml.children(xml.parse(content, process), "process"):
        if each.get("id") == process:
            text = str(each.get(f"{{{xml.MLKIT}}}tags") or "")
            return frozenset(found for tag in text.split(",") if (found := tag.strip()))
    return frozenset()
