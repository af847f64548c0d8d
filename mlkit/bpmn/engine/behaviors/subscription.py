"""Waiting for time, a message, a signal, a condition, or several of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.definition.model import EventDefinition
from mlkit.bpmn.definition.timers import FOREVER, following, schedule
from mlkit.bpmn.engine.effects import Listen, Subscribe, Wake
from mlkit.bpmn.engine.events import AnyEvent, ConditionMet, Fire, Receive, Signal
from mlkit.bpmn.engine.state import Activation, Scope
from mlkit.bpmn.engine.waits import ForCondition, ForMessage, ForSignal, ForTimer, Wait
from mlkit.bpmn.expressions import Expression, UnknownVariable
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step

Mappings = tuple[tuple[str, Expression], ...]
# What is thrown inside the instance finds its catcher; nothing waits for it.
THROWN = ("error", "escalation", "compensate", "cancel")
_AWAITED: dict[type, type[Wait]] = {
    Fire: ForTimer,
    Receive: ForMessage,
    Signal: ForSignal,
    ConditionMet: ForCondition,
}


def prepare(step: Step, activation: Activation, inputs: Mappings) -> None:
    """Create the activation's own variables, from which what it waits for may be computed.

    Raises:
        BadData: One cannot be evaluated.
    """
    if inputs and not activation.local:
        activation.local = step.state.next_id()
        local = Scope(activation.local, activation.node, activation.scope)
        step.state.scopes[activation.local] = local
        for name, each in inputs:
            local.variables[name] = step.evaluate(each, activation.local)


def subscribe(step: Step, activation: Activation, event: EventDefinition) -> None:
    """Let an activation wait for an event.

    Raises:
        BadData: The timer, name or key cannot be evaluated.
    """
    activation.status = "waiting"
    if event.kind == "multiple":
        _await_parts(step, activation, event)
    elif event.kind == "timer":
        _start_timer(step, activation, event)
    elif event.kind == "message":
        _await_message(step, activation, event)
    elif event.kind == "conditional":
        activation.wait = ForCondition()
    else:
        name = step.text(event.name, step.variables(activation))
        activation.wait = ForSignal(name)
        step.effects.append(Listen(activation.id, name))


def _await_parts(step: Step, activation: Activation, event: EventDefinition) -> None:
    scope = step.state.scopes[activation.scope]
    for number, part in enumerate(event.parts):
        if part.kind not in THROWN:
            child = step.activate(step.behavior(activation), scope, "part", activation)
            child.part = number
            subscribe(step, child, part)


def _start_timer(step: Step, activation: Activation, event: EventDefinition) -> None:
    text = step.text(event.expression, step.variables(activation))
    timer = schedule(event.timer, text, step.at, event.calendar)
    activation.wait = ForTimer(timer.due, timer.again, timer.interval)
    step.effects.append(Wake(activation.id, timer.due))


def _await_message(step: Step, activation: Activation, event: EventDefinition) -> None:
    scope = step.variables(activation)
    name = step.text(event.name, scope)
    key = step.correlation_key(event, scope)
    activation.wait = ForMessage(name, key)
    step.effects.append(Subscribe(activation.id, name, key))


def is_thrown(event: EventDefinition) -> bool:
    """Return whether an event is thrown inside the instance, so that nothing waits for it."""
    return all(each.kind in THROWN for each in event.parts or (event,))


def matches(activation: Activation, event: AnyEvent) -> bool:
    """Return whether an event is what the activation waits for."""
    wanted = _AWAITED.get(type(event), ())
    return activation.status == "waiting" and isinstance(activation.wait, wanted)


def find_completed(step: Step, activation: Activation, event: EventDefinition) -> Activation | None:
    """Return what an event completes: itself, or the multiple event that it is a part of.

    None: other parts are still missing.
    """
    if activation.role != "part":
        return activation
    whole = step.state.activations[activation.host]
    if not event.parallel:
        return whole
    step.remove(activation)
    left = (step.state.activations[each] for each in whole.children)
    return None if any(each.role == "part" for each in left) else whole


def publish(step: Step, activation: Activation, event: AnyEvent, outputs: Mappings = ()) -> bool:
    """Set what the outputs of an event define, or all variables that a message or signal brings.

    Returns:
        False where a mapping fails: the activation keeps what came, for a retry.
    """
    scope = step.variables(activation)
    brought = event.variables if isinstance(event, Receive | Signal) else {}
    values = brought
    try:
        if outputs:
            with step.names(step.state.scopes[scope], **brought) as inner:
                mapped = {name: step.evaluate(each, inner) for name, each in outputs}
            values = brought | mapped if step.behavior(activation).node.shares else mapped
    except BadData as error:
        step.incident(activation, f"{activation.node}: {error.message}", "receive", brought)
        return False
    step.state.assign(scope, values)
    return True


def receive_again(step: Step, activation: Activation) -> None:
    """Take once more what came when a mapping failed."""
    assert activation.incident is not None
    variables, activation.incident = activation.incident.received, None
    activation.status = "waiting"
    event: AnyEvent
    match activation.wait:
        case ForMessage():
            event = Receive(activation.id, variables)
        case ForSignal(name):
            event = Signal(name, variables)
        case ForCondition():
            event = ConditionMet(activation.id)
        case _:
            event = Fire(activation.id)
    step.behavior(activation).event(step, activation, event)


def again(step: Step, activation: Activation, event: EventDefinition) -> None:
    """Let what does not interrupt wait once more, or remove it."""
    part = activation.role == "part"
    whole = step.state.activations[activation.host] if part else activation
    if event.parallel:
        subscribe(step, whole, event)
    elif not _repeats(step, activation):
        step.remove(activation)
        if part and not whole.children:
            step.remove(whole)


def _repeats(step: Step, activation: Activation) -> bool:
    wait = activation.wait
    if isinstance(wait, ForMessage):
        step.effects.append(Subscribe(activation.id, wait.name, wait.key))
    if not isinstance(wait, ForTimer):
        return True
    if wait.again == 0:
        return False
    found = following(wait.interval, wait.due, step.at)
    if found is None:
        return False
    due, steps = found
    if wait.again != FOREVER and wait.again < steps:
        return False
    wait.due = due
    wait.again -= steps if wait.again != FOREVER else 0
    step.effects.append(Wake(activation.id, due))
    return True


def conditions(step: Step) -> bool:
    """Fire one condition that became true; return whether there was one (13.5.1)."""
    for each in list(step.state.activations.values()):
        if each.status == "waiting" and isinstance(each.wait, ForCondition):
            held, holds = each.wait.held, _holds(step, each)
            each.wait.held = holds
            if holds and not held:
                step.behavior(each).event(step, each, ConditionMet(each.id))
                return True
    return False


def _holds(step: Step, activation: Activation) -> bool:
    definition = step.behavior(activation).awaited
    if activation.role == "part":
        definition = definition.parts[activation.part]
    assert definition.expression is not None
    try:
        return step.holds(definition.expression, step.variables(activation))
    except UnknownVariable:
        return False  # It may be set later.
    except BadData as error:
        step.incident(activation, f"{activation.node}: {error.message}", "await")
        return False
