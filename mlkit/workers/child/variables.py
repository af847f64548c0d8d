"""What a script meets and what it leaves: its variables, `execution`, and what it publishes.

This file uses the standard library only.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import values  # type: ignore[import-not-found]
from artifacts import Artifacts, Damaged, same  # type: ignore[import-not-found]

_PLAIN = (str, int, float, bool, type(None))


class Thrown(Exception):
    """An outcome that a script throws by its code, and that is no failure: it is never retried."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = str(code)


# What scripts call it, and what a traceback calls them.
Thrown.__name__ = "BpmnError"


class Delegate:
    """What the scripts of Camunda know as `execution`, and those that listen to a task as `task`.

    What is known of them can be read by its name or by a getter: `eventName`, `getEventName()`.
    """

    def __init__(
        self, facts: dict[str, Any], namespace: dict[str, Any], bound: dict[str, Any]
    ) -> None:
        self._facts = facts
        self._namespace = namespace
        self._bound = bound

    def __getattr__(self, name: str) -> Any:
        """Return what is known by this name, or its getter."""
        facts = self.__dict__.get("_facts", {})
        if name in facts:
            return facts[name]
        bare = name[3:4].lower() + name[4:]
        if name.startswith("get") and bare in facts:
            return lambda: facts[bare]
        raise AttributeError(f"{type(self).__name__.lower()} has no {name!r}", name=name, obj=self)

    def getVariable(self, name: str) -> Any:  # noqa: N802 - Camunda's name
        return self._namespace.get(name)

    def setVariable(self, name: str, value: Any) -> None:  # noqa: N802
        self._bound[name] = self._namespace[name] = value

    def hasVariable(self, name: str) -> bool:  # noqa: N802
        return name in self._namespace


class Task(Delegate):
    """What a script that listens to a user task knows as `task`."""


class Execution(Delegate):
    """What scripts know as `execution`."""

    def __init__(self, job: dict[str, Any], namespace: dict[str, Any], bound: dict[str, Any]):
        instance = job["instance"]
        facts = {"id": instance, "processInstanceId": instance, "currentActivityId": job["element"]}
        super().__init__({**facts, **job.get("execution", {})}, namespace, bound)
        self.id = instance
        self.element = job["element"]
        self.attempt = job["attempt"]
        self.key = job["key"]
        self.folder = job["folder"]


_HIDDEN = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type, Delegate)


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


def load(packed: dict[str, Any], artifacts: Artifacts, text: str) -> dict[str, Any]:
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


def find_changed(
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
            if value is not Thrown and value is not execution:
                changed[name] = value
        elif value is not before[name]:
            changed[name] = value
        elif type(value) not in _PLAIN:
            try:
                kept = same(packed[name], _pack(value, artifacts))
            except Exception:  # `publish` reports why it cannot be stored
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
