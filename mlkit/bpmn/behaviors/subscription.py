"""Waiting for time, a message or a signal: the same for all events that catch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.events import AnyEvent, Effect, Fire, Receive, Signal
from mlkit.bpmn.model import EventDefinition
from mlkit.bpmn.state import Activation
from mlkit.bpmn.timers import FOREVER, following, schedule

if TYPE_CHECKING:
    from mlkit.bpmn.move import Move


def subscribe(move: Move, activation: Activation, event: EventDefinition) -> None:
    """Let an activation wait for an event.

    Raises:
        BadData: The timer, name or key cannot be evaluated.
    """
    if event.kind == "timer":
        _start_timer(move, activation, event)
    elif event.kind == "message":
        _await_message(move, activation, event)
    else:
        name = move.text(event.name, move.variables(activation))
        activation.detail = {"signal": name}
        move.effects.append(Effect("listen", activation.id, name))
    activation.status = "waiting"


def _start_timer(move: Move, activation: Activation, event: EventDefinition) -> None:
    text = move.text(event.expression, move.variables(activation))
    timer = schedule(event.timer, text, move.at)
    activation.detail = {"due": timer.due}
    if timer.interval:
        activation.detail |= {"again": timer.again, "interval": timer.interval}
    move.effects.append(Effect("timer", activation.id, due=timer.due))


def _await_message(move: Move, activation: Activation, event: EventDefinition) -> None:
    scope = move.variables(activation)
    name = move.text(event.name, scope)
    key = move.state.key if event.expression is None else move.text(event.expression, scope)
    activation.detail = {"message": name, "key": key}
    move.effects.append(Effect("subscribe", activation.id, name, key))


def fired(activation: Activation, event: AnyEvent) -> bool:
    """Say whether an event is what the activation waits for."""
    wanted = {Fire: "due", Receive: "message", Signal: "signal"}.get(type(event), "")
    return activation.status == "waiting" and wanted in activation.detail


def publish(move: Move, activation: Activation, event: AnyEvent, scope: int) -> None:
    """Set the variables that a message or signal brings."""
    if isinstance(event, Receive | Signal) and event.variables:
        move.state.assign(scope, event.variables)


def again(move: Move, activation: Activation) -> bool:
    """Wait once more; False where nothing is left to wait for."""
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
