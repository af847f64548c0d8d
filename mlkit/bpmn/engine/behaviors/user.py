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
from mlkit.bpmn.expressions.paths import value_at
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step


class UserTask(Activity):
    """Waits until somebody completes it."""

    def execute(self, step: Step, activation: Activation) -> None:
        """Find out who may do it, and ask."""
        if self.listeners and not self.notify(step, activation, "create"):
            return
        person = self.node.work if isinstance(self.node.work, Person) else Person()
        scope = step.variables(activation)
        defaults = {field.id: _default(step, field, scope) for field in person.form}
        activation.wait = ForPerson(
            step.at,
            assignee=step.text(person.assignee, scope) or None,
            users=_names(step, person.users, scope),
            groups=_names(step, person.groups, scope),
            due=step.text(person.due, scope) or None,
            priority=step.text(person.priority, scope) or None,
            defaults={name: value for name, value in defaults.items() if value is not None},
            name=step.text(person.title, scope) or None,
        )
        activation.status = "waiting"
        self._tell(step, activation, "create")
        if activation.wait.assignee:
            self._tell(step, activation, "assignment")
        step.effects.append(Ask(activation.id))

    def _tell(self, step: Step, activation: Activation, event: str) -> None:
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
        scope = step.state.scopes[step.variables(activation)]
        with step.names(scope, task=task, delegateTask=task) as inner:
            self.hear(step, inner, event)

    def complete(self, step: Step, activation: Activation, variables: dict[str, Any]) -> None:
        """Publish what the person left, let listeners know, and go on."""
        if not self.listeners:
            super().complete(step, activation, variables)
            return
        step.state.assign(step.variables(activation), variables)
        step.element = self.id
        step.run_guarded(activation, "leave", lambda: self._complete(step, activation))

    def _complete(self, step: Step, activation: Activation) -> None:
        self._tell(step, activation, "complete")
        activation.wait = None
        if self.notify(step, activation, "complete"):
            self.leave(step, activation)

    def go_on(self, step: Step, activation: Activation, moment: str) -> None:
        """Go on behind a listener; a task that a worker has let be created asks for its person."""
        if moment == "create":
            step.run_guarded(activation, "begin", lambda: self.execute(step, activation))
        elif moment == "complete":
            step.run_guarded(activation, "leave", lambda: self._go_on_completed(step, activation))
        else:
            super().go_on(step, activation, moment)

    def _go_on_completed(self, step: Step, activation: Activation) -> None:
        if self.notify(step, activation, "complete"):
            self.leave(step, activation)

    def event(self, step: Step, activation: Activation, event: AnyEvent) -> None:
        """Let somebody take the task or give it back; else it is done."""
        wait = activation.wait
        if not isinstance(event, Claim) or not isinstance(wait, ForPerson):
            super().event(step, activation, event)
            return
        is_free = event.handed or wait.assignee in (None, event.assignee, event.by)
        if event.assignee and not is_free:
            holder = wait.assignee
            raise BadData(f"{self.id}: {holder!r} has the task", hint="release it with --release")
        wait.assignee = event.assignee or None
        if wait.assignee:
            step.run_guarded(
                activation, "await", lambda: self._tell(step, activation, "assignment")
            )
        if event.assignee != event.by:  # Whoever takes a task themselves needs no mail.
            step.effects.append(Ask(activation.id))


def _default(step: Step, field: FormField, scope: int) -> Any:
    name, _, inner = field.id.partition(".")
    value = step.evaluate(Expression(name, "name"), scope)
    value = value_at(value, inner) if inner else value
    if value is None and field.default is not None:
        value = step.evaluate(field.default, scope)
    return value


def _names(step: Step, expression: Expression | None, scope: int) -> list[str]:
    value = [] if expression is None else step.evaluate(expression, scope)
    parts = value if isinstance(value, list) else str(value or "").split(",")
    return [str(each).strip() for each in parts if str(each).strip()]
