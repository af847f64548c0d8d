"""User tasks: which ones wait, for whom, and what their forms accept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlkit.bpmn.definition.model import FormField, Person
from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.engine.state import Activation, State
from mlkit.bpmn.engine.waits import ForPerson
from mlkit.bpmn.engine.work_file import WorkFile
from mlkit.bpmn.people import forms, masking
from mlkit.bpmn.people.masking import NO_MASK, Mask
from mlkit.errors import BadData, InputMissing


@dataclass(frozen=True, slots=True)
class Task:
    """A user task that waits.

    Attributes:
        activation: Its number in the instance.
        since: When it began to wait, in seconds since 1970.
        due: When it should be done, as written in the diagram.
        priority: Its priority, as written in the diagram.
        defaults: Values of the form that are filled in already.
        variables: Those that the expressions of the form may see.
        attach: The names of the documents that go with it.
        secrets: The variables that the forms of its diagram mark as secrets.
        held: What secrets of the instance have held before, as it is written in texts.
        files: What the working folder holds, as recorded in the journal.
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
    due: str | None = None
    priority: str | None = None
    form: tuple[FormField, ...] = ()
    defaults: dict[str, Any] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    attach: tuple[str, ...] = ()
    secrets: frozenset[str] = frozenset()
    held: tuple[str, ...] = ()
    files: Mapping[str, WorkFile] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The name that commands use."""
        return f"{self.instance}/{self.activation}"

    @property
    def mask(self) -> Mask:
        """What is hidden of its variables from whoever looks at it."""
        return Mask.of([self.variables], self.secrets).with_texts(self.held)

    def is_for(self, assignee: str | None, group: str | None) -> bool:
        """Return whether somebody, or a member of a group, may do it."""
        mine = assignee is None or assignee == self.assignee or assignee in self.users
        return mine and (group is None or group in self.groups)


def waiting(instance: str, engine: Engine, state: State, held: tuple[str, ...] = ()) -> list[Task]:
    """Return the user tasks of an instance that wait.

    Args:
        instance: Its id.
        engine: The engine of its definition.
        state: What it is now.
        held: What its secrets have held before, as it is written in texts.
    """
    if state.status != "running":
        return []
    return [
        _task(instance, engine, state, each, held)
        for each in state.activations.values()
        if each.status == "waiting" and isinstance(each.wait, ForPerson)
    ]


def _task(
    instance: str, engine: Engine, state: State, activation: Activation, held: tuple[str, ...]
) -> Task:
    node = engine.graph.behaviors[activation.node].node
    wait = activation.wait
    assert isinstance(wait, ForPerson)
    return Task(
        instance=instance,
        activation=activation.id,
        element=node.id,
        name=wait.name or node.name or node.id,
        iteration=activation.iteration,
        assignee=wait.assignee,
        users=wait.users,
        groups=wait.groups,
        since=wait.since,
        due=wait.due,
        priority=wait.priority,
        form=node.work.form if isinstance(node.work, Person) else (),
        attach=node.work.attach if isinstance(node.work, Person) else (),
        defaults=wait.defaults,
        variables=state.visible(activation.local or activation.scope),
        secrets=masking.find_marked(engine),
        held=held,
        files=state.files,
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
    """Check the values that somebody gives for a task; return them as they are stored.

    A task without a form takes any values.

    Raises:
        BadData: A value is wrong or missing; the message goes field by field.
    """
    if not task.form:
        return forms.pack_variables(given)
    values, problems = entry(task, given).values()
    if problems:
        raise BadData(f"task {task.id}: {'; '.join(problems)}")
    return values


def entry(task: Task, given: Mapping[str, Any]) -> forms.Entry:
    """Return a task's form with some values filled in."""
    return forms.Entry(task.form, given, task.defaults, task.variables)


def describe(task: Task) -> list[dict[str, Any]]:
    """Describe the fields of a task's form that are shown at first, as documents have them."""
    mask = task.mask
    return [
        field_document(each, _open(mask, each.id, task.defaults.get(each.id)), mask)
        for each in entry(task, {}).list_shown()
    ]


def _open(mask: Mask, name: str, value: Any) -> Any:
    """Return a value that holds no secret, else None: who gives it back must not change it."""
    return value if mask.value(name, value) == value else None


def document(task: Task) -> dict[str, Any]:
    """Describe a task, as documents have it.

    `since` is an older name of `created`, in seconds since 1970.
    """
    names = (
        "instance", "activation", "element", "name", "iteration", "assignee", "users", "groups",
        "since",
    )  # fmt: skip
    fields = {name: getattr(task, name) for name in names}
    return {
        "task": task.id, **fields, "created": instant(task.since), "due": task.due,
        "priority": task.priority, "form": describe(task),
    }  # fmt: skip


def field_document(
    field: FormField, default: Any, mask: Mask = NO_MASK, prefix: str = ""
) -> dict[str, Any]:
    """Describe a field of a form; the default of a secret is left out.

    Args:
        field: The field.
        default: Its value at first.
        mask: What is hidden of the variables.
        prefix: What precedes the field's id in the names of variables: `rows.` in rows.
    """
    name = f"{prefix}{field.id}"
    secret = mask.hides_field(field, prefix)
    inner = [field_document(each, None, mask, f"{name}.") for each in field.fields]
    return {
        "id": field.id, "label": field.label, "type": field.type,
        "default": None if secret else default,
        "required": field.required, "readonly": field.readonly or field.value is not None,
        "secret": secret,
        "options": dict(field.options),
        "limits": {n: each for n, each in field.limits.items() if isinstance(each, int | float)},
        "pattern": field.pattern,
        **({"fields": inner} if inner else {}),
    }  # fmt: skip


def decide(task: Task, approved: bool, comment: str | None) -> dict[str, Any]:
    """Return the values of an approval or a rejection.

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
        return forms.pack_variables(values)
    known = {each.id for each in task.form}
    extra = {key: value for key, value in values.items() if key not in known}
    return {**fill(task, {k: v for k, v in values.items() if k in known}), **extra}


def is_allowed(task: Task, person: str) -> bool:
    """Return whether a person may do a task for themselves.

    Whoever it is assigned to may, else its candidate users; a group's members are not known here,
    so that anybody may be one of them.
    """
    if task.assignee is not None:
        return task.assignee == person
    return bool(not task.users or task.groups or person in task.users)
