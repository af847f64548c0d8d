"""Messages between the pools of one file, along their message flows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.engine.events import Receive
from mlkit.bpmn.engine.state import Activation, Post, Scope
from mlkit.bpmn.engine.waits import ForMessage

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Move


def deliver(move: Move) -> bool:
    """Deliver one message that somebody takes; say whether there was one."""
    for post in move.state.posts:
        waiting = receivers(move, post)
        if len(waiting) == 1:
            move.state.posts.remove(post)
            receiver = waiting[0]
            event = Receive(receiver.id, post.variables)
            move.behavior(receiver).event(move, receiver, event)
            return True
        if not waiting and move.begin_by(post):
            move.state.posts.remove(post)
            return True
    return False


def receivers(move: Move, post: Post) -> list[Activation]:
    """Return what waits for a message."""
    return [each for each in move.state.activations.values() if _takes(move, each, post)]


def _takes(move: Move, activation: Activation, post: Post) -> bool:
    wait = activation.wait
    if activation.status != "waiting" or not isinstance(wait, ForMessage):
        return False
    if wait.name != post.name or (activation.role != "start" and wait.key != post.key):
        return False
    pool = _pool(move, move.state.scopes[activation.scope])
    return activation.node in post.recipients or pool.element in post.recipients


def _pool(move: Move, scope: Scope) -> Scope:
    while scope.parent:
        scope = move.state.scopes[scope.parent]
    return scope
