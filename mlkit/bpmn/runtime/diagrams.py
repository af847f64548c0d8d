"""Diagrams that are to run: read and checked, with what their tasks call and where they start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlkit.bpmn.definition.model import Callable, Definitions
from mlkit.bpmn.definition.parser import parse_text, read
from mlkit.bpmn.definition.problem import Problem
from mlkit.bpmn.engine.behaviors import starting
from mlkit.bpmn.engine.behaviors.external import offered_name
from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.lint import validation
from mlkit.errors import InputMissing, UsageError


@dataclass(frozen=True, slots=True)
class Diagram:
    """A file that was read and checked.

    Attributes:
        content: Its bytes, as they were read.
        warnings: What the check found besides errors.
    """

    path: Path
    content: bytes
    definitions: Definitions
    warnings: list[Problem]


def load(
    path: Path,
    bindings: Mapping[str, str] | None = None,
    rscript: str | None = None,
    external: bool = False,
) -> Diagram:
    """Read and check a diagram that is to run.

    Raises:
        InputMissing: It is not there.
        BadData: It has errors.
    """
    content = read(path)
    return check(path, content, parse_text(content, path), bindings, rscript, external)


def check(
    path: Path,
    content: bytes,
    definitions: Definitions,
    bindings: Mapping[str, str] | None = None,
    rscript: str | None = None,
    external: bool = False,
) -> Diagram:
    """Check a diagram that was read.

    Raises:
        BadData: It has errors.
    """
    problems = validation.lint(definitions, path.parent.resolve(), bindings, rscript, external)
    validation.require_sound(problems, str(path))
    return Diagram(path, content, definitions, problems)


def engine_of(definitions: Definitions) -> Engine:
    """Make the engine of a file: its process, or its pools."""
    return Engine(*validation.executable(definitions), called=definitions.called)


def start_node(engine: Engine, message: str | None) -> str:
    """Return the start event of a message; empty where none is named.

    Raises:
        InputMissing: There is none.
    """
    if message is None:
        return ""
    for process in engine.processes:
        for node in starting.by_message(process, message):
            return node
    raise InputMissing(f"{engine.processes[0].id}: no start event for message {message!r}")


def external_names(engine: Engine, folder: Path, bindings: Mapping[str, str]) -> list[str]:
    """Return the names of the callables and scripts whose work external workers do."""
    nodes = (each.node for each in engine.graph.behaviors.values())
    return sorted(
        {offered_name(each) for each in nodes if validation.is_external(each, folder, bindings)}
    )


def resolve_callables(engine: Engine, folder: Path, bindings: Mapping[str, str]) -> dict[str, str]:
    """Find the `module:function` of each name that the tasks of a diagram call.

    Raises:
        UsageError: A binding is for no task.
    """
    works = (work for each in engine.graph.behaviors.values() for work in each.node.works)
    names = {each.name for each in works if isinstance(each, Callable)}
    unused = set(bindings) - names
    if unused:
        raise UsageError(f"--task {sorted(unused)[0]}: no task of the diagram has this name")
    found = {name: validation.resolve(name, folder, bindings) for name in names}
    return {name: place for name, place in found.items() if place is not None}
