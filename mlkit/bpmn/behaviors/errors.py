"""How errors and escalations travel outwards to the boundary event that catches them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.state import Activation, Scope

if TYPE_CHECKING:
    from mlkit.bpmn.behaviors.boundary import BoundaryEvent
    from mlkit.bpmn.move import Move


def throw(move: Move, activation: Activation, code: str, message: str) -> None:
    """Throw a BPMN error from an activity: it or a scope around it catches, or all fails."""
    host = _outermost(move, activation)
    found = _find(move, host, "error", code)
    if found is None:
        throw_from(move, move.state.scopes[host.scope], code, message)
    else:
        found.catch(move, host, code, message)


def throw_from(move: Move, scope: Scope, code: str, message: str) -> None:
    """Throw a BPMN error from inside a scope (an error end event)."""
    if scope.owner:
        throw(move, move.state.activations[scope.owner], code, message)
        return
    move.clear(scope)
    move.state.status = "failed"
    move.state.error = {"code": code, "message": message}


def throw_failure(move: Move, activation: Activation, message: str) -> bool:
    """Let a catch-all error event catch a failure that is no BPMN error; say whether one did."""
    current: Activation | None = activation
    while current is not None:
        host = _outermost(move, current)
        found = _find(move, host, "error", None)
        if found is not None:
            found.catch(move, host, "", message)
            return True
        current = move.state.activations.get(move.state.scopes[host.scope].owner)
    return False


def escalate(move: Move, scope: Scope, code: str) -> None:
    """Throw an escalation outwards; one that nobody catches has no effect."""
    while scope.owner:
        host = _outermost(move, move.state.activations[scope.owner])
        found = _find(move, host, "escalation", code)
        if found is not None:
            found.catch(move, host, code, "")
            return
        scope = move.state.scopes[host.scope]


def _outermost(move: Move, activation: Activation) -> Activation:
    while activation.role == "iteration":
        activation = move.state.activations[activation.host]
    return activation


def _find(move: Move, host: Activation, kind: str, code: str | None) -> BoundaryEvent | None:
    """Find the boundary event of that code, else the one for all codes (None: only that)."""
    events = [
        (each, each.node.event)
        for each in move.graph.guards.get(host.node, ())
        if each.node.event is not None and each.node.event.kind == kind
    ]
    exact = (each for each, event in events if code is not None and event.code == code)
    every = (each for each, event in events if event.code is None)
    return next(exact, None) or next(every, None)
