"""Durable delivery: inboxes of instances, messages that nobody took yet, subscriptions."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from mlkit.bpmn.engine.events import AnyEvent, Receive, Signal
from mlkit.errors import UsageError

_ENCODER = msgspec.json.Encoder()
_EVENTS: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


class Mailbox:
    """The tables of a journal that carry events between instances.

    Every method runs inside a transaction of the caller.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def deliver(self, instance: int, event: AnyEvent) -> None:
        """Put an event into an instance's inbox."""
        self.connection.execute(
            "INSERT INTO inbox (instance, event) VALUES (?, ?)", (instance, _ENCODER.encode(event))
        )

    def inbox(self) -> list[tuple[int, int, AnyEvent]]:
        """Give the events that wait, oldest first: their number, their instance, the event."""
        found = self.connection.execute("SELECT id, instance, event FROM inbox ORDER BY id")
        return [(number, instance, _EVENTS.decode(event)) for number, instance, event in found]

    def subscribe(self, instance: int, activation: int, name: str, key: str, now: float) -> None:
        """Wait for a message; one that is there already is delivered at once."""
        found = self.connection.execute(
            "SELECT id, variables FROM messages WHERE name = ? AND key = ? AND expires > ?"
            " ORDER BY id LIMIT 1",
            (name, key, now),
        ).fetchone()
        if found is None:
            self._register(instance, activation, "message", name, key)
            return
        self.connection.execute("DELETE FROM messages WHERE id = ?", (found[0],))
        self.deliver(instance, Receive(activation, msgspec.json.decode(found[1])))

    def listen(self, instance: int, activation: int, name: str) -> None:
        """Wait for a signal."""
        self._register(instance, activation, "signal", name, "")

    def _register(self, instance: int, activation: int, kind: str, name: str, key: str) -> None:
        self.connection.execute(
            "INSERT OR REPLACE INTO subscriptions VALUES (?, ?, ?, ?, ?)",
            (instance, activation, kind, name, key),
        )

    def unsubscribe(self, instance: int, activation: int) -> None:
        """Wait no longer."""
        self.connection.execute(
            "DELETE FROM subscriptions WHERE instance = ? AND activation = ?",
            (instance, activation),
        )

    def forget(self, instance: int) -> None:
        """Drop what an instance that ended waited for."""
        self.connection.execute("DELETE FROM subscriptions WHERE instance = ?", (instance,))
        self.connection.execute("DELETE FROM inbox WHERE instance = ?", (instance,))

    def send(self, name: str, key: str, variables: dict[str, Any], expires: float) -> int | None:
        """Deliver a message to the one that waits for it, or keep it.

        Returns:
            The number of the instance that gets it; None where it is kept.

        Raises:
            UsageError: Several wait for it.
        """
        found = self.connection.execute(
            "SELECT instance, activation FROM subscriptions"
            " WHERE kind = 'message' AND name = ? AND key = ?",
            (name, key),
        ).fetchall()
        if len(found) > 1:
            raise UsageError(
                f"message {name!r}, key {key!r}: {len(found)} activities wait for it",
                hint="give each a correlation key of its own",
            )
        if not found:
            self.keep(name, key, variables, expires)
            return None
        instance, activation = found[0]
        self.unsubscribe(instance, activation)
        self.deliver(instance, Receive(activation, variables))
        return int(instance)

    def keep(self, name: str, key: str, variables: dict[str, Any], expires: float) -> None:
        """Keep a message for the first that will wait for it."""
        self.connection.execute(
            "INSERT INTO messages (name, key, variables, expires) VALUES (?, ?, ?, ?)",
            (name, key, _ENCODER.encode(variables), expires),
        )

    def broadcast(self, name: str, variables: dict[str, Any], sender: int = 0) -> list[int]:
        """Deliver a signal to every instance that waits for it, except the sender."""
        found = self.connection.execute(
            "SELECT DISTINCT instance FROM subscriptions"
            " WHERE kind = 'signal' AND name = ? AND instance <> ?",
            (name, sender),
        ).fetchall()
        for (instance,) in found:
            self.deliver(instance, Signal(name, variables))
        return [instance for (instance,) in found]
