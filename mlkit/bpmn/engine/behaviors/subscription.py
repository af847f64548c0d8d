"""Waiting for time, a message, a signal, a condition, or several of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.definition.model import EventDefinition
from mlkit.bpmn.definition.timers import FOREVER, following, schedule
from mlkit.bpmn.engine.events import AnyEvent, Effect, Fire, Hold, Receive, Signal
from mlkit.bpmn.engine.state import Activation, Scope
from mlkit.bpmn.expressions import Expression, UnknownVariable
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Move

Mappings = tuple[tuple[str, Expression], ...]
# What is thrown inside the instance finds its catcher; nothing waits for it.
THROWN = ("error", "escalation", "compensate", "cancel")
_AWAITED = {Fire: "due", Receive: "message", Signal: "signal", Hold: "condition"}


def prepare(move: Move, activation: Activation, inputs: Mappings) -> None:
    """Give an activation variables of its own, which what it waits for may be made of.

    Raises:
        BadData: One cannot be evaluated.
    """
    if inputs and not activation.local:
        activation.local = move.state.next_id()
        local = Scope(activation.local, activation.node, activation.scope)
        move.state.scopes[activation.local] = local
        for name, each in inputs:
            local.variables[name] = move.evaluate(each, activation.local)


def subscribe(move: Move, activation: Activation, event: EventDefinition) -> None:
    """Let an activation wait for an event.

    Raises:
        BadData: The timer, name or key cannot be evaluated.
    """
    activation.status = "waiting"
    if event.kind == "multiple":
        _await_parts(move, activation, event)
    elif event.kind == "timer":
        _start_timer(move, activation, event)
    elif event.kind == "message":
        _await_message(move, activation, event)
    elif event.kind == "conditional":
        activation.detail = {**activation.detail, "condition": False}
    else:
        name = move.text(event.name, move.variables(activation))
        activation.detail = {**activation.detail, "signal": name}
        move.effects.append(Effect("listen", activation.id, name))


def _await_parts(move: Move, activation: Activation, event: EventDefinition) -> None:
    scope = move.state.scopes[activation.scope]
    for number, part in enumerate(event.parts):
        if part.kind not in THROWN:
            child = move.activate(move.behavior(activation), scope, "part", activation)
            child.detail = {"part": number}
            subscribe(move, child, part)


def _start_timer(move: Move, activation: Activation, event: EventDefinition) -> None:
    text = move.text(event.expression, move.variables(activation))
    timer = schedule(event.timer, text, move.at)
    activation.detail = {**activation.detail, "due": timer.due}
    if timer.interval:
        activation.detail |= {"again": timer.again, "interval": timer.interval}
    move.effects.append(Effect("timer", activation.id, due=timer.due))


def _await_message(move: Move, activation: Activation, event: EventDefinition) -> None:
    scope = move.variables(activation)
    name = move.text(event.name, scope)
    key = move.correlation_key(event, scope)
    activation.detail = {**activation.detail, "message": name, "key": key}
    move.effects.append(Effect("subscribe", activation.id, name, key))


def is_thrown(event: EventDefinition) -> bool:
    """Say whether an event is thrown inside the instance, so that nothing waits for it."""
    return all(each.kind in THROWN for each in event.parts or (event,))


def fired(activation: Activation, event: AnyEvent) -> bool:
    """Say whether an event is what the activation waits for."""
    wanted = _AWAITED.get(type(event), "")
    return activation.status == "waiting" and wanted in activation.detail


def happened(move: Move, activation: Activation, event: EventDefinition) -> Activation | None:
    """Give what an event completes: itself, or the multiple event that it is a part of.

    None says that other parts are missing still.
    """
    if activation.role != "part":
        return activation
    whole = move.state.activations[activation.host]
    if not event.parallel:
        return whole
    move.remove(activation)
    left = (move.state.activations[each] for each in whole.children)
    return None if any(each.role == "part" for each in left) else whole


def publish(move: Move, activation: Activation, event: AnyEvent, outputs: Mappings = ()) -> bool:
    """Set what the outputs of an event say, or all variables that a message or signal brings.

    Returns:
        False where a mapping fails: the activation keeps what came, for a retry.
    """
    scope = move.variables(activation)
    brought = event.variables if isinstance(event, Receive | Signal) else {}
    values = brought
    try:
        if outputs:
            with move.names(move.state.scopes[scope], **brought) as inner:
                values = {name: move.evaluate(each, inner) for name, each in outputs}
    except BadData as error:
        move.incident(activation, f"{activation.node}: {error.message}", "receive")
        activation.detail["received"] = brought
        return False
    move.state.assign(scope, values)
    return True


def receive_again(move: Move, activation: Activation) -> None:
    """Take once more what came when a mapping failed."""
    detail = activation.detail
    variables = detail.pop("received")
    activation.detail = {k: each for k, each in detail.items() if k not in ("incident", "stage")}
    activation.status = "waiting"
    event: AnyEvent = Fire(activation.id)
    if "message" in detail:
        event = Receive(activation.id, variables)
    elif "signal" in detail:
        event = Signal(detail["signal"], variables)
    elif "condition" in detail:
        event = Hold(activation.id)
    else:
        activation.detail["due"] = move.at
    move.behavior(activation).event(move, activation, event)


def again(move: Move, activation: Activation, event: EventDefinition) -> None:
    """Let what guards without interruption wait once more, or remove it."""
    part = activation.role == "part"
    whole = move.state.activations[activation.host] if part else activation
    if event.parallel:
        subscribe(move, whole, event)
    elif not _repeats(move, activation):
        move.remove(activation)
        if part and not whole.children:
            move.remove(whole)


def _repeats(move: Move, activation: Activation) -> bool:
    detail = activation.detail
    if "message" in detail:
        move.effects.append(Effect("subscribe", activation.id, detail["message"], detail["key"]))
    if "due" not in detail:
        return True
    left = activation.detail.get("again", 0)
    if left == 0:
        return False
    due = following(activation.detail["interval"], activation.detail["due"])
    rest = left if left == FOREVER else left - 1
    activation.detail = {**activation.detail, "due": due, "again": rest}
    move.effects.append(Effect("timer", activation.id, due=due))
    return True


def conditions(move: Move) -> bool:
    """Fire one condition that became true; say whether there was one (13.5.1)."""
    for each in list(move.state.activations.values()):
        if each.status == "waiting" and "condition" in each.detail:
            held, holds = each.detail["condition"], _holds(move, each)
            each.detail["condition"] = holds
            if holds and not held:
                move.behavior(each).event(move, each, Hold(each.id))
                return True
    return False


def _holds(move: Move, activation: Activation) -> bool:
    definition = move.behavior(activation).awaited
    if activation.role == "part":
        definition = definition.parts[activation.detail["part"]]
    assert definition.expression is not None
    try:
        return move.holds(definition.expression, move.variables(activation))
    except UnknownVariable:
        return False  # It may be set later.
    except BadData as error:
        move.incident(activation, f"{activation.node}: {error.message}", "await")
        return False
