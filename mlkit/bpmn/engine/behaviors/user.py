"""User tasks: a person does the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlkit.bpmn.definition.model import FormField, Person
from mlkit.bpmn.engine.behaviors.activity import Activity
from mlkit.bpmn.engine.effects import Ask
from mlkit.bpmn.engine.events import AnyEvent, Claim
from mlkit.bpmn.engine.state import Activation
from mlkit.bpmn.engine.waits import ForPerson
from mlkit.bpmn.expressions import Expression
from mlkit.bpmn.people import forms
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Move


class UserTask(Activity):
    """Waits until somebody completes it."""

    def execute(self, move: Move, activation: Activation) -> None:
        """Find out who may do it, and ask."""
        person = self.node.work if isinstance(self.node.work, Person) else Person()
        scope = move.variables(activation)
        defaults = {field.id: _default(move, field, scope) for field in person.form}
        activation.wait = ForPerson(
            move.at,
            assignee=move.text(person.assignee, scope) or None,
            users=_names(move, person.users, scope),
            groups=_names(move, person.groups, scope),
            due=move.text(person.due, scope) or None,
            priority=move.text(person.priority, scope) or None,
            defaults={name: value for name, value in defaults.items() if value is not None},
            name=move.text(person.title, scope) or None,
        )
        activation.status = "waiting"
        self._tell(move, activation, "create")
        if activation.wait.assignee:
            self._tell(move, activation, "assignment")
        move.effects.append(Ask(activation.id))

    def _tell(self, move: Move, activation: Activation, event: str) -> None:
        """Evaluate what listens to the task, and sees it as `task`."""
        if not any(each.event == event for each in self.listeners):
            return
        wait = activation.wait
        assert isinstance(wait, ForPerson)
        task = {
            "id": str(activation.id),
            "name": wait.name or self.node.name or None,
            "taskDefinitionKey": self.id,
            "assignee": wait.assignee,
            "owner": None,
            "priority": wait.priority,
            "dueDate": wait.due,
            "eventName": event,
        }
        scope = move.state.scopes[move.variables(activation)]
        with move.names(scope, task=task, delegateTask=task) as inner:
            self.hear(move, inner, event)

    def complete(self, move: Move, activation: Activation, variables: dict[str, Any]) -> None:
        """Publish what the person left, let listeners know, and go on."""
        if not self.listeners:
            super().complete(move, activation, variables)
            return
        move.state.assign(move.variables(activation), variables)
        move.element = self.id
        move.guarded(activation, "leave", lambda: self._completed(move, activation))

    def _completed(self, move: Move, activation: Activation) -> None:
        self._tell(move, activation, "complete")
        self.leave(move, activation)

    def event(self, move: Move, activation: Activation, event: AnyEvent) -> None:
        """Let somebody take the task or give it back; else it is done."""
        wait = activation.wait
        if not isinstance(event, Claim) or not isinstance(wait, ForPerson):
            super().event(move, activation, event)
            return
        if event.assignee and wait.assignee not in (None, event.assignee):
            holder = wait.assignee
            raise BadData(f"{self.id}: {holder!r} has the task", hint="give it back by --release")
        wait.assignee = event.assignee or None
        if wait.assignee:
            move.guarded(activation, "await", lambda: self._tell(move, activation, "assignment"))


def _default(move: Move, field: FormField, scope: int) -> Any:
    name, _, inner = field.id.partition(".")
    value = move.evaluate(Expression(name, "name"), scope)
    value = forms.at(value, inner) if inner else value
    if value is None and field.default is not None:
        value = move.evaluate(field.default, scope)
    return value


def _names(move: Move, expression: Expression | None, scope: int) -> list[str]:
    value = [] if expression is None else move.evaluate(expression, scope)
    parts = value if isinstance(value, list) else str(value or "").split(",")
    return [str(each).strip() for each in parts if str(each).strip()]
