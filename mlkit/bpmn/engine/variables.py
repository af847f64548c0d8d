"""What expressions see of an instance, and set in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlkit.bpmn.expressions import Expression
from mlkit.errors import BadData
from mlkit.workers.child.values import pack, unpack

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step


class Variables:
    """What an expression sees: looks variables up, and sets them where it assigns.

    Args:
        step: The step in progress.
        scope: The scope that it is evaluated in.
    """

    __slots__ = ("scope", "step")

    def __init__(self, step: Step, scope: int) -> None:
        self.step = step
        self.scope = scope

    @property
    def replays(self) -> bool:
        """Whether what is evaluated has been evaluated before, when it happened."""
        return self.step.replayed

    def __call__(self, name: str) -> Any:
        """Return a variable, or what an execution knows (`execution.id`).

        Raises:
            KeyError: There is none of that name.
        """
        if name.startswith("execution."):
            return self._execution(name.removeprefix("execution."))
        return unpack(self.step.state.lookup(self.scope, name))

    def _execution(self, name: str) -> Any:
        state, element = self.step.state, self.step.element
        if name in ("processBusinessKey", "businessKey"):
            return state.key or None
        if name in ("id", "processInstanceId"):
            return state.instance or None
        if name == "processDefinitionId":
            return state.process_of(self.scope).element
        if name == "currentActivityId":
            return element or None
        if name == "currentActivityName":
            behavior = self.step.graph.behaviors.get(element)
            return None if behavior is None else behavior.node.name or None
        return self.step.listening if name == "eventName" else None

    def names(self) -> frozenset[str]:
        """Return the names of all variables that are seen."""
        return frozenset(self.step.state.visible(self.scope))

    def note_decision(self, record: dict[str, Any]) -> None:
        """Add a decision that was evaluated to the trace, beside the element that asked for it."""
        self.step.record_decision(self.scope, record)

    def assign(self, kind: str, name: str, value: Any = None) -> None:
        """Set a variable where it is declared, or in this scope alone; or remove it.

        Raises:
            Unstorable: The value cannot be kept.
        """
        state = self.step.state
        if kind == "setVariable":
            state.assign(self.scope, {name: pack(value)})
        elif kind == "setVariableLocal":
            scope = state.scopes[self.scope]
            scope = state.scopes[scope.parent] if scope.id < 0 else scope
            scope.variables[name] = pack(value)
        else:
            holder = next((e for e in state.chain(self.scope) if name in e.variables), None)
            if holder is not None:
                del holder.variables[name]


def require_boolean(expression: Expression, value: Any) -> bool:
    """Return a condition's value; as in the vendors' engines, only a boolean is one.

    Raises:
        BadData: It is none.
    """
    if isinstance(value, bool):
        return value
    found = "null" if value is None else f"{value!r}, which is not a boolean"
    raise BadData(f"the condition {expression.text!r} is {found}")
