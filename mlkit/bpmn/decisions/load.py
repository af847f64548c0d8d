"""Load models with what they import, and decide by name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from mlkit.bpmn.decisions.analysis import analyse
from mlkit.bpmn.decisions.compiled import Loaded
from mlkit.bpmn.decisions.evaluation import Evaluation
from mlkit.bpmn.decisions.model import Decision, Element, InputData, Model, Problem
from mlkit.bpmn.decisions.reader import read
from mlkit.bpmn.decisions.trace import Trace
from mlkit.bpmn.definition import xml_documents
from mlkit.bpmn.expressions.feel.budget import LimitReached
from mlkit.bpmn.expressions.feel.interchange import Unfit, leave
from mlkit.errors import BadData, InputMissing

_MAX_IMPORTS = 20


class Files(Protocol):
    """Where models are read from."""

    def names(self) -> list[str]:
        """Return the names of the models."""

    def read(self, name: str) -> bytes:
        """Return the bytes of a model."""


class Decided(NamedTuple):
    """The result of a decision.

    Attributes:
        value: As a value of FEEL.
        trace: What happened.
    """

    value: Any
    trace: Trace


class Decisions:
    """The decisions of a model.

    Args:
        path: The file; models that it imports are beside it.
        files: Where files are read instead of the path's folder.

    Raises:
        InputMissing: The file cannot be read.
        BadData: It is not a DMN document, requires itself, or imports what is not there.
    """

    def __init__(self, path: Path | str, files: Files | None = None) -> None:
        self.path = Path(path)
        self.loaded = _load(self.path, files or Folder(self.path.parent), {}, 0)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the model."""
        return tuple(dict.fromkeys(self.loaded.problems))

    def analyse(self) -> tuple[Problem, ...]:
        """Return what is wrong with the model, and what is doubtful about its tables."""
        doubts = [each for where, table in self.loaded.tables for each in analyse(where, table)]
        return (*self.problems, *doubts)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the decisions, in the order of the file."""
        elements = self.loaded.model.elements
        return tuple(each.variable.name for each in elements if isinstance(each, Decision))

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The names of the input data, in the order of the file."""
        elements = self.loaded.model.elements
        return tuple(each.variable.name for each in elements if isinstance(each, InputData))

    @cached_property
    def known_inputs(self) -> tuple[str, ...]:
        """The names that values may be given for, those of imported models among them."""
        names = list(self.inputs)
        for prefix, other in self.loaded.imported:
            names += [prefix] if prefix else []
            for each in other.model.elements:
                if isinstance(each, InputData):
                    names += [each.variable.name, f"{prefix}.{each.variable.name}"]
        services = [each for each in self.loaded.model.elements if not isinstance(each, Decision)]
        for each in services:
            names += self.loaded.parameters(each)
        return tuple(dict.fromkeys(names))

    @cached_property
    def text_inputs(self) -> frozenset[str]:
        """The names of the input data whose values are texts."""
        elements = self.loaded.model.elements
        types = self.loaded.types
        return frozenset(
            each.variable.name
            for each in elements
            if isinstance(each, InputData) and types.get(each.variable.type_ref).name == "string"
        )

    def required_inputs(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the names of the input data that decisions require, themselves or by others.

        Raises:
            BadData: There is no decision of a name.
        """
        elements = {each.id: each for each in self.loaded.model.elements}
        waiting, seen = [self.find(each).id for each in names], set[str]()
        while waiting:
            key = waiting.pop()
            if key in seen or key not in elements:
                continue
            seen.add(key)
            waiting += [each.rpartition("#")[2] for each in getattr(elements[key], "requires", ())]
        return tuple(
            each.variable.name
            for each in elements.values()
            if isinstance(each, InputData) and each.id in seen
        )

    @cached_property
    def _named(self) -> dict[str, Element]:
        """What can be decided, by name and, where none has that name, by id."""
        elements = [each for each in self.loaded.model.elements if not isinstance(each, InputData)]
        by_name = {each.variable.name: each for each in reversed(elements)}
        return {**{each.id: each for each in elements}, **by_name}

    def find(self, name: str) -> Element:
        """Return the decision, service or function of a name or id.

        Raises:
            BadData: There is none.
        """
        found = self._named.get(name)
        if found is not None:
            return found
        names = dict.fromkeys(repr(each.variable.name) for each in self._named.values())
        known = ", ".join(names)
        raise BadData(f"{self.path}: there is no decision {name!r}", hint=f"there are {known}")

    @cached_property
    def outermost(self) -> tuple[str, ...]:
        """The names of the decisions that no other requires."""
        decisions = [each for each in self.loaded.model.elements if isinstance(each, Decision)]
        required = {
            reference.rpartition("#")[2] for each in decisions for reference in each.requires
        }
        return tuple(each.variable.name for each in decisions if each.id not in required)

    @cached_property
    def main(self) -> str:
        """The only decision that no other requires.

        Raises:
            BadData: There are several, or none.
        """
        if len(self.outermost) == 1:
            return self.outermost[0]
        names = ", ".join(map(repr, self.outermost or self.names))
        raise BadData(f"{self.path}: which decision?", hint=f"--decision: one of {names}")

    def evaluate(
        self, decision: str, inputs: Mapping[str, Any], now: datetime | None = None
    ) -> Decided:
        """Decide.

        Args:
            decision: The name or id of a decision, service or function.
            inputs: Values by name.
            now: What `now()` returns (default: the present).

        Raises:
            BadData: There is no such decision.
            ExpressionError: A limit is reached.
        """
        evaluation = Evaluation(self.loaded, inputs, now or datetime.now(UTC))
        value = evaluation.decide(self.find(decision))
        return Decided(value, evaluation.trace)

    def decide(self, decision: str = "", now: datetime | None = None, **inputs: Any) -> Any:
        """Return the value of a decision as Python holds it.

        Args:
            decision: Its name; may be left out if there is only one that no other requires.
            now: What `now()` returns (default: the present).
            inputs: Values by name.

        Raises:
            BadData: There is no such decision, or no variable can hold its value.
            ExpressionError: A limit is reached.
        """
        name = decision or self.main
        evaluation = Evaluation(self.loaded, inputs, now or datetime.now(UTC))
        try:
            return leave(evaluation.run, evaluation.decide(self.find(name)))
        except (Unfit, LimitReached) as error:
            raise BadData(f"{name}: {error}") from error


class Folder:
    """The models of a folder.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Return the names of the models."""
        return sorted(each.name for each in self._folder.glob("*.dmn"))

    def read(self, name: str) -> bytes:
        """Return the bytes of a model.

        Raises:
            InputMissing: It cannot be read.
            BadData: It is too large.
        """
        return xml_documents.read(self._folder / name)


def _load(path: Path, files: Files, loading: dict[str, Loaded | None], level: int) -> Loaded:
    found = loading.get(path.name)
    if found is not None:
        return found
    if path.name in loading or level > _MAX_IMPORTS:
        raise BadData(f"{path}: imports itself")
    loading[path.name] = None
    model = read(files.read(path.name), path)
    imported = []
    for each in model.imports:
        if each.namespace.rstrip("/").endswith("FEEL") or "PMML" in each.namespace:
            continue
        other = _find(model, files, each.namespace, each.location)
        imported.append((each.name, _load(path.with_name(other), files, loading, level + 1)))
    found = loading[path.name] = Loaded(model, imported)
    return found


def _find(model: Model, files: Files, namespace: str, location: str) -> str:
    """Return the file of an import: at its location, or the one beside with the namespace."""
    names = files.names()
    if location and Path(location).name in names:
        return Path(location).name
    for name in names:
        # A broken file beside the model is not a matter of the model.
        with contextlib.suppress(BadData, InputMissing):
            other = read(files.read(name), model.path.with_name(name))
            if name != model.path.name and other.namespace == namespace:
                return name
    raise BadData(f"{model.path}: imports {namespace!r}, which no file beside it defines")
