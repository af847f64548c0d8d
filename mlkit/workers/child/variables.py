"""What a script meets and what it leaves: its variables, `execution`, and what it publishes.

This file uses the standard library only.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import values  # type: ignore[import-not-found]
from artifacts import Artifacts, Damaged, same  # type: ignore[import-not-found]

_HIDDEN = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)
_PLAIN = (str, int, float, bool, type(None))


class BpmnError(Exception):
    """A BPMN error: a modelled outcome that a boundary event catches; never retried."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = str(code)


class Execution:
    """What Camunda scripts know as `execution`."""

    def __init__(self, job: dict[str, Any], namespace: dict[str, Any], bound: dict[str, Any]):
        self._namespace = namespace
        self._bound = bound
        self.id = job["instance"]
        self.element = job["element"]
        self.attempt = job["attempt"]
        self.key = job["key"]
        self.folder = job["folder"]

    def getVariable(self, name: str) -> Any:  # noqa: N802 - Camunda's name
        return self._namespace.get(name)

    def setVariable(self, name: str, value: Any) -> None:  # noqa: N802
        self._bound[name] = self._namespace[name] = value

    def hasVariable(self, name: str) -> bool:  # noqa: N802
        return name in self._namespace

    def getProcessInstanceId(self) -> str:  # noqa: N802
        return str(self.id)

    def getCurrentActivityId(self) -> str:  # noqa: N802
        return str(self.element)


class Recorder(dict):  # type: ignore[type-arg]
    """The local names of a script: notes what is bound, and keeps it in the globals."""

    __slots__ = ("bound", "namespace")
    namespace: dict[str, Any]
    bound: dict[str, Any]

    def __setitem__(self, name: str, value: Any) -> None:
        self.namespace[name] = self.bound[name] = value

    def __delitem__(self, name: str) -> None:
        del self.namespace[name]
        self.bound.pop(name, None)


def loaded(packed: dict[str, Any], artifacts: Artifacts, text: str) -> dict[str, Any]:
    """Read the variables of a job; what cannot be read here may not be needed.

    Args:
        packed: The variables as they travel.
        artifacts: Where stored values lie.
        text: A script, which needs what it names.

    Raises:
        Damaged: A stored value that is needed is missing, or not what was stored.
    """
    namespace = {}
    for name, value in packed.items():
        try:
            namespace[name] = (
                value if type(value) in _PLAIN else values.unpack(value, artifacts.load)
            )
        except Exception as error:
            if isinstance(error, Damaged) and name in text:
                raise Damaged(f"{name}: {error}") from error
            sys.stderr.write(f"warning: {name} is not passed: {error}\n")
    return namespace


def changed(
    namespace: dict[str, Any],
    before: dict[str, Any],
    packed: dict[str, Any],
    execution: Execution,
    artifacts: Artifacts,
) -> dict[str, Any]:
    """Find what changed without being bound at the top level: in place, or by `global`."""
    changed = {}
    for name, value in namespace.items():
        if name not in before:
            if value is not BpmnError and value is not execution:
                changed[name] = value
        elif value is not before[name]:
            changed[name] = value
        elif type(value) not in _PLAIN:
            try:
                kept = same(packed[name], _pack(value, artifacts))
            except Exception:  # `publish` says why it cannot be stored
                kept = False
            if not kept:
                changed[name] = value
    return changed


def publish(names: dict[str, Any], artifacts: Artifacts) -> tuple[dict[str, Any], str]:
    """Pack what may leave a task; name what cannot be stored."""
    published, skipped = {}, ""
    for name, value in names.items():
        if type(name) is not str or not values.is_text(name):
            skipped += f"warning: {name!r} is not published: it is not a name\n"
            continue
        if name[:1] == "_" or isinstance(value, _HIDDEN):
            continue
        try:
            published[name] = _pack(value, artifacts)
        except Exception as error:
            skipped += f"warning: {name} is not published: {error}\n"
    return published, skipped


def _pack(value: Any, artifacts: Artifacts) -> Any:
    try:
        return values.pack(value)
    except values.Unstorable:
        return artifacts.store(value)
