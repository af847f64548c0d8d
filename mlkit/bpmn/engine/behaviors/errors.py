"""How errors and escalations travel outwards to what catches them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mlkit.bpmn.definition.model import EventDefinition
from mlkit.bpmn.engine.state import Activation, Scope

if TYPE_CHECKING:
    from mlkit.bpmn.engine.behaviors.behavior import Behavior
    from mlkit.bpmn.engine.step import Move

Catcher = TypeVar("Catcher", bound="Behavior")


class Thrown(NamedTuple):
    """What travels.

    Attributes:
        kind: `error`, `escalation` or `cancel`.
        code: None for a failure that is no BPMN error: only a catch-all takes it.
    """

    kind: str
    code: str | None
    message: str = ""


def throw(move: Move, activation: Activation, code: str, message: str) -> None:
    """Throw a BPMN error from an activity: something around it catches, or all fails."""
    host = _outermost(move, activation)
    _or_fail(move, Thrown("error", code, message), host, move.state.scopes[host.scope])


def throw_from(move: Move, scope: Scope, code: str, message: str) -> None:
    """Throw a BPMN error from inside a scope (an error end event)."""
    _or_fail(move, Thrown("error", code, message), None, scope)


def _or_fail(move: Move, thrown: Thrown, host: Activation | None, scope: Scope) -> None:
    if not _rise(move, thrown, host, scope):
        for root in move.state.roots():
            move.clear(root)
        move.state.status = "failed"
        move.state.error = {"code": thrown.code or "", "message": thrown.message}


def throw_failure(move: Move, activation: Activation, message: str) -> bool:
    """Let a catch-all error event catch a failure that is no BPMN error; say whether one did."""
    host = _outermost(move, activation)
    return _rise(move, Thrown("error", None, message), host, move.state.scopes[host.scope])


def escalate(move: Move, scope: Scope, code: str, host: Activation | None = None) -> None:
    """Throw an escalation outwards, from an activity or from inside a scope.

    One that nobody catches has no effect.
    """
    _rise(move, Thrown("escalation", code), host, scope)


def _rise(move: Move, thrown: Thrown, host: Activation | None, scope: Scope) -> bool:
    """Offer what was thrown to the boundary of `host`, the scope around it, and so outwards."""
    while True:
        if host is not None:
            guard = find(move.graph.guards.get(host.node, ()), thrown)
            if guard is not None:
                guard.catch(move, host, thrown)
                return True
        if not scope.interrupted:
            inside = "" if host is None else host.node
            triggers = move.graph.triggers.get(scope.element, ())
            trigger = find((each for each in triggers if each.id != inside), thrown)
            if trigger is not None:
                trigger.catch(move, scope, thrown)
                return True
        if not scope.owner:
            return False
        caller = move.state.activations[scope.owner]
        if scope.called and thrown.kind == "error":
            inner_of(move.behavior(caller)).failed_inside(move, caller, scope)
        host = _outermost(move, caller)
        scope = move.state.scopes[host.scope]


def inner_of(behavior: Behavior) -> Any:
    """Return what one iteration of a repeated activity does; any other behavior itself."""
    return getattr(behavior, "inner", behavior)


def _outermost(move: Move, activation: Activation) -> Activation:
    while activation.role == "iteration":
        activation = move.state.activations[activation.host]
    return activation


def find(catchers: Iterable[Catcher], thrown: Thrown) -> Catcher | None:
    """Find what catches this code, else what catches every code."""
    events = [(each, event) for each in catchers for event in each.awaited.of_kind(thrown.kind)]
    every = next((each for each, event in events if event.code is None), None)
    if thrown.code is None:
        return every
    return next((each for each, event in events if event.code == thrown.code), every)


def tell(move: Move, scope: int, awaited: EventDefinition, thrown: Thrown) -> None:
    """Set the variables in which a catching event keeps the code and the message."""
    for event in awaited.of_kind(thrown.kind):
        for name, value in (
            (event.code_variable, thrown.code or ""),
            (event.message_variable, thrown.message),
        ):
            if name:
                move.state.assign(scope, {name: value})
