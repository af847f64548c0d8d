"""User tasks: a person does the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlkit.bpmn.definition.model import FormField, Person
from mlkit.bpmn.engine.behaviors.activity import Activity
from mlkit.bpmn.engine.events import AnyEvent, Claim, Effect
from mlkit.bpmn.engine.state import Activation
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
        detail: dict[str, Any] = {"task": True, "since": move.at}
        for key in ("assignee", "due_date", "priority"):
            value = move.text(getattr(person, key.removesuffix("_date")), scope)
            if value:
                detail[key] = value
        detail |= {"users": _names(move, person.users, scope)}
        detail |= {"groups": _names(move, person.groups, scope)}
        for field in person.form:
            value = _default(move, field, scope)
            if value is not None:
                detail.setdefault("defaults", {})[field.id] = value
        activation.detail = detail
        activation.status = "waiting"
        move.effects.append(Effect("ask", activation.id))

    def event(self, move: Move, activation: Activation, event: AnyEvent) -> None:
        """Let somebody take the task or give it back; else it is done."""
        if not isinstance(event, Claim):
            super().event(move, activation, event)
            return
        holder = activation.detail.get("assignee")
        if event.assignee and holder not in (None, event.assignee):
            raise BadData(f"{self.id}: {holder!r} has the task", hint="give it back by --release")
        rest = {key: each for key, each in activation.detail.items() if key != "assignee"}
        activation.detail = rest | ({"assignee": event.assignee} if event.assignee else {})


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
