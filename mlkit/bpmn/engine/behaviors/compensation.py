"""Compensation (BPMN 2.0.2, 13.5.5): undo what completed, the last first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlkit.bpmn.engine.state import Activation, Done, Scope

if TYPE_CHECKING:
    from mlkit.bpmn.engine.behaviors.activity import Activity
    from mlkit.bpmn.engine.step import Move


def keep(move: Move, activation: Activation, done: Done) -> None:
    """Note in the scope around an activity that it completed."""
    scope = activation.scope
    if activation.role == "iteration":
        # Its turns count once the whole activity has completed.
        scope = move.state.activations[activation.host].local
    done.order = move.state.next_id()
    move.state.scopes[scope].done.append(done)


def homes(move: Move, scope: Scope) -> Iterator[Scope]:
    """Go through the scopes whose activities a throwing event compensates.

    It is the event's own scope; for an event inside an event sub-process the one around it too.
    """
    yield scope
    owner = move.state.activations.get(scope.owner)
    if owner is not None and move.behavior(owner).node.triggered:
        around = move.state.scopes[owner.scope]
        if owner.role == "compensation" and owner.local:
            yield move.state.scopes[owner.local]
        else:
            yield from homes(move, around)


def begin(move: Move, thrower: Activation, scope: Scope, activity: str | None) -> None:
    """Let an activation compensate what completed around it: one activity, or all."""
    todo: list[Done] = []
    for each in homes(move, scope):
        todo += [done for done in each.done if activity in (None, done.node)]
        each.done = [done for done in each.done if activity not in (None, done.node)]
    thrower.todo = sorted(todo, key=lambda done: done.order)
    proceed(move, thrower)


def proceed(move: Move, thrower: Activation) -> None:
    """Run the next handler; after the last the activation goes on."""
    while thrower.todo:
        done = thrower.todo.pop()
        handler = _handler(move, done)
        if handler is not None:
            _run(move, thrower, handler, done)
            return
        thrower.todo += [inside(each, done) for each in done.inner]
    move.behavior(thrower).compensated(move, thrower)


def _handler(move: Move, done: Done) -> Activity | None:
    """Return the handler of an activity, or the compensation event sub-process inside it."""
    found = move.graph.handlers.get(done.node)
    if found is not None:
        return found
    body = move.graph.behaviors[done.node].node.body
    triggers = () if body is None else move.graph.triggers.get(body.id, ())
    return next((each for each in triggers if each.awaited.of_kind("compensate")), None)


def inside(inner: Done, outer: Done) -> Done:
    """Let what completed inside a sub-process see the variables that this had."""
    return Done(inner.node, {**outer.variables, **inner.variables}, inner.inner, inner.order)


def _run(move: Move, thrower: Activation, handler: Activity, done: Done) -> None:
    scope = move.state.scopes[thrower.body or thrower.scope]
    activation = move.activate(handler, scope, "compensation", thrower)
    inner = [inside(each, done) for each in done.inner]
    if done.variables or inner:
        local = Scope(
            move.state.next_id(), handler.id, scope.id, variables=dict(done.variables), done=inner
        )
        move.state.scopes[local.id] = local
        activation.local = local.id
    handler.begin(move, activation)


def handled(move: Move, activation: Activation) -> None:
    """Take the end of a handler; the next one begins when all else rests."""
    move.remove(activation)
    move.step(activation, "completed")
    move.deferred.append(activation.host)
