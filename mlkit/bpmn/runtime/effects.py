"""Effects that are rows of the journal: a commit writes them beside the events they follow from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlkit.bpmn.engine.effects import (
    AnyEffect,
    Ask,
    Broadcast,
    Fetch,
    Listen,
    Offer,
    Run,
    Send,
    Stop,
    Store,
    Subscribe,
    Unsubscribe,
    Wake,
    Withdraw,
)
from mlkit.bpmn.engine.waits import ForWorker
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.runtime.external import describe_offered
from mlkit.bpmn.runtime.running import Running
from mlkit.errors import UsageError

MESSAGE_LIFE = 7 * 86400.0
"""Seconds for which a message that a diagram throws is kept where nobody waits for it."""
Effects = list[tuple[Running, AnyEffect]]
_NO_ROWS = frozenset((Run, Stop, Fetch, Wake))


def select_rows(effects: Effects) -> Effects:
    """Return those effects that are rows: where scripts alone run, there are none."""
    return [each for each in effects if type(each[1]) not in _NO_ROWS]


def lock_messages(journal: Journal, effects: Effects) -> None:
    """Keep others from the messages of a commit until it ends.

    All are locked in one call, so that no two commits wait for one another.
    """
    journal.mailbox.lock(
        (each.name, each.key) for _, each in effects if isinstance(each, Send | Subscribe)
    )


def write(journal: Journal, running: Running, effect: AnyEffect, now: float) -> None:
    """Write an effect, inside a transaction; do nothing where it is not a row.

    What an activation asked for that has gone meanwhile is not written.
    """
    mailbox, number, there = journal.mailbox, running.number, running.state.activations
    match effect:
        case Subscribe(id, name, key) if id in there:
            mailbox.subscribe(number, id, name, key, now)
        case Listen(id, name) if id in there:
            mailbox.listen(number, id, name)
        case Unsubscribe(id):
            mailbox.unsubscribe(number, id)
        case Send(name, key, variables):
            _send(journal, name, key, variables, now)
        case Broadcast(name, variables):
            mailbox.broadcast(name, variables, sender=number)
        case Offer(id) if id in there and running.row is not None:
            task = describe_offered(running.row, running.engine, running.state, id)
            journal.external.offer(task)
        case Withdraw(id):
            journal.external.drop(number, id)
        case Store(name, value):
            journal.stores.set(name, value, number, now)
        case Ask(id) if id in there:
            journal.outbox.notice(number, id, "task", now)


def _send(journal: Journal, name: str, key: str, variables: dict[str, Any], now: float) -> None:
    try:
        journal.mailbox.send(name, key, variables, now + MESSAGE_LIFE)
    except UsageError:  # Several wait; none may take it unless the others give up.
        journal.mailbox.keep(name, key, variables, now + MESSAGE_LIFE)


def topics(effects: Effects) -> Iterator[str]:
    """Yield the topics of the tasks that are offered to external workers."""
    for running, effect in effects:
        if isinstance(effect, Offer):
            found = running.state.activations.get(effect.id)
            if found is not None and isinstance(found.wait, ForWorker):
                yield found.wait.topic
