"""How errors and escalations travel outwards to what catches them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mlkit.bpmn.definition.model import EventDefinition
from mlkit.bpmn.engine.state import Activation, Scope

if TYPE_CHECKING:
    from mlkit.bpmn.engine.behaviors.behavior import Behavior
    from mlkit.bpmn.engine.step import Step

Catcher = TypeVar("Catcher", bound="Behavior")


class Thrown(NamedTuple):
    """What travels.

    Attributes:
        kind: `error`, `escalation` or `cancel`.
        code: None for a failure that is not a BPMN error: only a catch-all takes it.
    """

    kind: str
    code: str | None
    message: str = ""


def throw(step: Step, activation: Activation, code: str, message: str) -> None:
    """Throw a BPMN error from an activity: something around it catches, or all fails."""
    host = outermost(step, activation)
    _or_fail(step, Thrown("error", code, message), host, step.state.scopes[host.scope])


def is_caught(step: Step, activation: Activation, code: str, message: str) -> bool:
    """Throw a BPMN error from an activity; return whether something around it catches it."""
    host = outermost(step, activation)
    return _rise(step, Thrown("error", code, message), host, step.state.scopes[host.scope])


def throw_from(step: Step, scope: Scope, code: str, message: str) -> None:
    """Throw a BPMN error from inside a scope (an error end event)."""
    _or_fail(step, Thrown("error", code, message), None, scope)


def _or_fail(step: Step, thrown: Thrown, host: Activation | None, scope: Scope) -> None:
    if not _rise(step, thrown, host, scope):
        for root in step.state.roots():
            step.clear(root)
        step.state.status = "failed"
        step.state.error = {"code": thrown.code or "", "message": thrown.message}


def throw_failure(step: Step, activation: Activation, message: str) -> bool:
    """Let a catch-all error event catch any other failure; return whether one did."""
    host = outermost(step, activation)
    return _rise(step, Thrown("error", None, message), host, step.state.scopes[host.scope])


def escalate(step: Step, scope: Scope, code: str, host: Activation | None = None) -> None:
    """Throw an escalation outwards, from an activity or from inside a scope.

    One that nobody catches has no effect.
    """
    _rise(step, Thrown("escalation", code), host, scope)


def _rise(step: Step, thrown: Thrown, host: Activation | None, scope: Scope) -> bool:
    """Offer what was thrown to the boundary of `host`, the scope around it, and so outwards."""
    while True:
        if host is not None:
            boundary = find(step.graph.boundary_events.get(host.node, ()), thrown)
            if boundary is not None:
                boundary.catch(step, host, thrown)
                return True
        caller = step.state.activations[scope.owner] if scope.owner else None
        if caller is not None and scope.called and thrown.kind in ("error", "escalation"):
            inner_of(step.behavior(caller)).pass_out(step, caller, scope)
        if not scope.interrupted:
            inside = "" if host is None else host.node
            triggers = step.graph.triggers.get(scope.element, ())
            trigger = find((each for each in triggers if each.id != inside), thrown)
            if trigger is not None:
                trigger.catch(step, scope, thrown)
                return True
        if caller is None:
            return False
        host = outermost(step, caller)
        scope = step.state.scopes[host.scope]


def inner_of(behavior: Behavior) -> Any:
    """Return what one iteration of a repeated activity does; any other behavior itself."""
    return getattr(behavior, "inner", behavior)


def outermost(step: Step, activation: Activation) -> Activation:
    """Return the whole of a repeated activity for one of its iterations."""
    while activation.role == "iteration":
        activation = step.state.activations[activation.host]
    return activation


def find(catchers: Iterable[Catcher], thrown: Thrown) -> Catcher | None:
    """Find what catches this code, else what catches every code."""
    events = [(each, event) for each in catchers for event in each.awaited.of_kind(thrown.kind)]
    every = next((each for each, event in events if event.code is None), None)
    if thrown.code is None:
        return every
    return next((each for each, event in events if event.code == thrown.code), every)


def tell(step: Step, scope: int, awaited: EventDefinition, thrown: Thrown) -> None:
    """Set the variables in which a catching event keeps the code and the message.

    As in Camunda 7, the message is null where there is none.
    """
    for event in awaited.of_kind(thrown.kind):
        for name, value in (
            (event.code_variable, thrown.code or ""),
            (event.message_variable, thrown.message or None),
        ):
            if name:
                step.state.assign(scope, {name: value})
