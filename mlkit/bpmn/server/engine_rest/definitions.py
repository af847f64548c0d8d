"""Process definitions by the ids that clients see: `key:version:hash`."""

from __future__ import annotations

from mlkit.bpmn.definition.model import Process
from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.runtime.service import Service


def identifier(service: Service, process: str, sha256: str) -> str:
    """Return the id of a process definition."""
    return f"{process}:1:{sha256}"


def process_of(engine: Engine, process: str) -> Process | None:
    """Return a process of an instance: its own, or one that it calls."""
    own = {each.id: each for each in engine.processes}
    return own.get(process) or engine.graph.called.get(process)


def name_of(process: Process) -> str | None:
    """Return the name that the diagram gives a process."""
    return None if process.name == process.id else process.name


def version(service: Service, process: str, sha256: str) -> int:
    """Return which version of its process a definition is."""
    return 1
