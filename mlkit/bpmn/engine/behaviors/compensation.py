"""Compensation (BPMN 2.0.2, 13.5.5): undo what completed, the last first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlkit.bpmn.engine.state import Activation, Done, Scope

if TYPE_CHECKING:
    from mlkit.bpmn.engine.behaviors.activity import Activity
    from mlkit.bpmn.engine.step import Step


def keep(step: Step, activation: Activation, done: Done) -> None:
    """Note in the scope around an activity that it completed."""
    scope = activation.scope
    if activation.role == "iteration":
        # Its iterations count once the whole activity has completed.
        scope = step.state.activations[activation.host].local
    done.order = step.state.next_id()
    step.state.scopes[scope].done.append(done)


def homes(step: Step, scope: Scope) -> Iterator[Scope]:
    """Go through the scopes whose activities a throwing event compensates.

    It is the event's own scope; for an event inside an event sub-process the one around it too.
    """
    yield scope
    owner = step.state.activations.get(scope.owner)
    if owner is not None and step.behavior(owner).node.triggered:
        around = step.state.scopes[owner.scope]
        if owner.role == "compensation" and owner.local:
            yield step.state.scopes[owner.local]
        else:
            yield from homes(step, around)


def begin(step: Step, thrower: Activation, scope: Scope, activity: str | None) -> None:
    """Let an activation compensate what completed around it: one activity, or all."""
    todo: list[Done] = []
    for each in homes(step, scope):
        todo += [done for done in each.done if activity in (None, done.node)]
        each.done = [done for done in each.done if activity not in (None, done.node)]
    thrower.todo = sorted(todo, key=lambda done: done.order)
    proceed(step, thrower)


def proceed(step: Step, thrower: Activation) -> None:
    """Run the next handler; after the last the activation goes on."""
    while thrower.todo:
        done = thrower.todo.pop()
        handler = _handler(step, done)
        if handler is not None:
            if done.node in step.graph.handlers and handler.node.shares:
                # As in Camunda 7: what is inside a sub-process, beside its own handler.
                thrower.todo += [inside(each, done) for each in done.inner]
                done = Done(done.node, done.variables, order=done.order)
            _run(step, thrower, handler, done)
            return
        thrower.todo += [inside(each, done) for each in done.inner]
    step.behavior(thrower).finish_compensation(step, thrower)


def _handler(step: Step, done: Done) -> Activity | None:
    """Return the handler of an activity, or the compensation event sub-process inside it."""
    found = step.graph.handlers.get(done.node)
    if found is not None:
        return found
    body = step.graph.behaviors[done.node].node.body
    triggers = () if body is None else step.graph.triggers.get(body.id, ())
    return next((each for each in triggers if each.awaited.of_kind("compensate")), None)


def inside(inner: Done, outer: Done) -> Done:
    """Let what completed inside a sub-process see the variables that this had."""
    return Done(inner.node, {**outer.variables, **inner.variables}, inner.inner, inner.order)


def _run(step: Step, thrower: Activation, handler: Activity, done: Done) -> None:
    scope = step.state.scopes[thrower.body or thrower.scope]
    activation = step.activate(handler, scope, "compensation", thrower)
    inner = [inside(each, done) for each in done.inner]
    if done.variables or inner:
        local = Scope(
            step.state.next_id(), handler.id, scope.id, variables=dict(done.variables), done=inner
        )
        step.state.scopes[local.id] = local
        activation.local = local.id
    handler.begin(step, activation)


def finish_handler(step: Step, activation: Activation) -> None:
    """Take the end of a handler; the next one begins when all else rests."""
    step.remove(activation)
    step.step(activation, "completed")
    step.deferred.append(activation.host)
