"""From a DMN file to what is drawn of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from mlkit.bpmn.decisions.compiled import Loaded
from mlkit.bpmn.decisions.load import Decisions, Folder
from mlkit.bpmn.decisions.reader import read as read_model
from mlkit.bpmn.decisions.xml import attribute, parse
from mlkit.bpmn.render.decisions import graph
from mlkit.bpmn.render.decisions.boxes import Boxes, boxes
from mlkit.bpmn.render.decisions.course import Course, decide
from mlkit.bpmn.render.decisions.grid import Grid, grids
from mlkit.bpmn.render.decisions.places import Diagram, diagrams
from mlkit.errors import BadData, MlkitError

Part: TypeAlias = Diagram | Grid | Boxes


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is drawn of a model: its diagrams, then its tables and other expressions.

    Attributes:
        name: Of the model.
        graph: What requires what.
        course: The evaluation that is shown; None without one.
    """

    name: str
    parts: list[Part]
    graph: graph.Graph
    course: Course | None = None


def draw(path: Path, decision: str = "", inputs: Mapping[str, Any] | None = None) -> Drawn:
    """Return what is drawn of a file; a model that cannot be decided can still be drawn.

    Args:
        path: The file.
        decision: What is decided: a name or id; empty for all that no other decision requires.
        inputs: Values by name; None to decide nothing.

    Raises:
        InputMissing: The file cannot be read.
        BadData: It is not a DMN document, or nothing in it can be drawn; with inputs, it is broken.
        ExpressionError: A limit is reached.
    """
    content = Folder(path.parent).read(path.name)
    root = parse(content, str(path))
    if inputs is None:
        course, model = None, read_model(content, path)
        loaded = _load(path) if model.imports else None
    else:
        decisions = Decisions(path)
        _refuse_broken(decisions)
        course, loaded = decide(decisions, decision, inputs), decisions.loaded
        model = loaded.model
    found = graph.read(root, lambda href: _name_imported(loaded, href))
    parts: list[Part] = [*diagrams(root, found, str(path))]
    for each in model.elements:
        parts += boxes(each)
        parts += grids(each, course.matched if course else [])
    if not parts:
        raise BadData(f"{path}: there is nothing to draw: no element of a requirement graph")
    return Drawn(graph.clean(attribute(root, "name")) or path.name, parts, found, course)


def _load(path: Path) -> Loaded | None:
    try:
        return Decisions(path).loaded
    except MlkitError:
        return None


def _refuse_broken(decisions: Decisions) -> None:
    broken = [each for each in decisions.problems if each.severity == "error"]
    if broken:
        first = broken[0]
        raise BadData(f"{decisions.path}:{first.line}: {first.where}: {first.message}")


def _name_imported(loaded: Loaded | None, href: str) -> str:
    """Return the name of an imported element, below the name of its import."""
    found = None if loaded is None else loaded.find(href)
    if loaded is None or found is None:
        return href.rpartition("#")[2]
    prefix = loaded.prefix(found[0])
    return f"{prefix}.{found[1].variable.name}" if prefix else found[1].variable.name
