"""User tasks: which ones wait, for whom, and what their forms accept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from mlkit.bpmn.engine import Engine
from mlkit.bpmn.model import FormField, Person
from mlkit.bpmn.state import Activation, State
from mlkit.errors import BadData, InputMissing

_TRUE = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class Task:
    """A user task that waits.

    Attributes:
        activation: Its number in the instance.
        since: When it began to wait, in seconds since 1970.
        defaults: Values of the form that are filled in already.
    """

    instance: str
    activation: int
    element: str
    name: str
    iteration: str
    assignee: str | None
    users: list[str]
    groups: list[str]
    since: float
    form: tuple[FormField, ...] = ()
    defaults: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The name that commands use."""
        return f"{self.instance}/{self.activation}"

    def is_for(self, assignee: str | None, group: str | None) -> bool:
        """Say whether somebody, or a member of a group, may do it."""
        mine = assignee is None or assignee == self.assignee or assignee in self.users
        return mine and (group is None or group in self.groups)


def waiting(instance: str, engine: Engine, state: State) -> list[Task]:
    """Give the user tasks of an instance that wait."""
    if state.status != "running":
        return []
    return [
        _task(instance, engine, each)
        for each in state.activations.values()
        if each.status == "waiting" and each.detail.get("task")
    ]


def _task(instance: str, engine: Engine, activation: Activation) -> Task:
    node = engine.graph.behaviors[activation.node].node
    detail = activation.detail
    return Task(
        instance=instance,
        activation=activation.id,
        element=node.id,
        name=node.name or node.id,
        iteration=activation.iteration,
        assignee=detail.get("assignee"),
        users=detail["users"],
        groups=detail["groups"],
        since=detail["since"],
        form=node.work.form if isinstance(node.work, Person) else (),
        defaults=detail.get("defaults", {}),
    )


def choose(tasks: list[Task], wanted: str) -> Task:
    """Find a task by its number or by its element's id.

    Raises:
        InputMissing: No task, or more than one, is meant.
    """
    found = [each for each in tasks if wanted in (str(each.activation), each.element)]
    if len(found) != 1:
        problem = "several tasks of" if found else "no waiting task"
        raise InputMissing(f"{problem} {wanted!r}", hint="see `mlkit bpmn tasks`")
    return found[0]


def fill(task: Task, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the values that somebody gives for a task.

    A task without a form takes any values.

    Raises:
        BadData: A value is wrong or missing; the message goes field by field.
    """
    if not task.form:
        return dict(given)
    problems = [f"{name}: no such field" for name in given if name not in {f.id for f in task.form}]
    values = {}
    for each in task.form:
        try:
            value = _value(each, given, task.defaults)
        except ValueError as error:
            problems.append(f"{each.id}: {error}")
            continue
        if value is not None:
            values[each.id] = value
    if problems:
        raise BadData(f"task {task.id}: {'; '.join(problems)}")
    return values


def _value(form: FormField, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> Any:
    if form.readonly:
        if form.id in given:
            raise ValueError("is read-only")
        return None
    value = given.get(form.id, defaults.get(form.id))
    if value is None or value in ("", []):
        if form.required:
            raise ValueError("is required")
        return None
    return _limited(form, _typed(form, value))


def _typed(form: FormField, value: Any) -> Any:
    if form.type == "list":
        return _chosen(form, value)
    if isinstance(value, dict) and len(value) == 1:  # a stored date or decimal
        value = next(iter(value.values()))
    text = str(value).strip()
    try:
        if form.type == "boolean":
            return value if isinstance(value, bool) else _TRUE[text.lower()]
        if form.type == "long":
            return int(text)
        if form.type == "double":
            return float(text)
        if form.type == "date":
            return {"$date": date.fromisoformat(text).isoformat()}
    except (KeyError, ValueError):
        raise ValueError(f"{text!r} is no {form.type}") from None
    if form.type == "enum" and text not in form.options:
        raise ValueError(f"{text!r} is none of {', '.join(form.options)}")
    return text


def _chosen(form: FormField, value: Any) -> list[str]:
    listed = value if isinstance(value, list) else str(value).split(",")
    chosen = [str(each).strip() for each in listed if str(each).strip()]
    for each in chosen:
        if form.options and each not in form.options:
            raise ValueError(f"{each!r} is none of {', '.join(form.options)}")
    return chosen


def _limited(form: FormField, value: Any) -> Any:
    size: float = len(value) if isinstance(value, str) else 0
    number = value if isinstance(value, int | float) else None
    for name, limit in form.limits.items():
        measured = size if name.endswith("length") else number
        if measured is None:
            continue
        if name.startswith("min") and measured < limit:
            raise ValueError(f"less than {name} {limit:g}")
        if name.startswith("max") and measured > limit:
            raise ValueError(f"more than {name} {limit:g}")
    if form.pattern is not None and isinstance(value, str) and not re.search(form.pattern, value):
        raise ValueError(f"{value!r} does not match {form.pattern}")
    return value


def decide(task: Task, approved: bool, comment: str | None) -> dict[str, Any]:
    """Give the values of an approval or a rejection.

    The decision goes to the form's only boolean field, or to `approved`; the comment to
    `comment`.

    Raises:
        BadData: The form asks for more than a decision.
    """
    booleans = [each.id for each in task.form if each.type == "boolean" and not each.readonly]
    name = booleans[0] if len(booleans) == 1 else "approved"
    values: dict[str, Any] = {name: approved}
    if comment is not None:
        values["comment"] = comment
    if not task.form:
        return values
    known = {each.id for each in task.form}
    extra = {key: value for key, value in values.items() if key not in known}
    return {**fill(task, {k: v for k, v in values.items() if k in known}), **extra}
