"""Inboxes, pending messages and subscriptions as rows of a journal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from mlkit.bpmn.engine.events import DECIDED, AnyEvent, Receive, Signal
from mlkit.bpmn.journal.records import DECODE_EVENT, UNREADABLE, Delivered, encode
from mlkit.errors import UsageError
from mlkit.storage.database import Database

_KEPT_VERDICTS = 10_000
_AT_ONCE = 500
STEERS = 2
"""What `asks` is of an event that a suspended instance takes, too."""
_DELIVER = "INSERT INTO inbox (instance, event, asks) VALUES (?, ?, ?)"


class SqlMailbox:
    """The tables of a journal that carry events between instances.

    Every method but `inbox` and `verdict` runs inside a transaction of the caller.

    Args:
        database: The journal's.
        on_signal: Called with the name and the variables of each signal.

    Attributes:
        on_delivery: Called with the number of each instance that an event is delivered to.
    """

    def __init__(
        self, database: Database, on_signal: Callable[[str, dict[str, Any]], None]
    ) -> None:
        self.database = database
        self.on_signal = on_signal
        self.on_delivery: Callable[[int], object] = lambda instance: None

    def deliver(self, instance: int, event: AnyEvent, asks: bool = False) -> int:
        """Put an event into an instance's inbox; return the row's number."""
        self.database.announce()
        self.on_delivery(instance)
        values = _row(instance, event, asks)
        ((row,),) = self.database.query(f"{_DELIVER} RETURNING id", values)
        return int(row)

    def enqueue(self, instance: int, event: AnyEvent, asks: bool = False) -> None:
        """Put an event into an instance's inbox where nobody needs the row's number at once."""
        self.database.announce()
        self.on_delivery(instance)
        self.database.defer(_DELIVER, _row(instance, event, asks))

    def inbox(self, instances: Iterable[int]) -> list[Delivered]:
        """Return the events that wait for these instances, oldest first; damaged ones stay."""
        wanted = tuple(instances)
        found: list[Delivered] = []
        for start in range(0, len(wanted), _AT_ONCE):
            found += self._inbox(wanted[start : start + _AT_ONCE])
        return sorted(found, key=lambda each: each.row)

    def _inbox(self, wanted: tuple[int, ...]) -> Iterator[Delivered]:
        among, values = self.database.among(wanted)
        rows = self.database.query(
            f"SELECT id, instance, event FROM inbox WHERE instance IN {among}", values
        )
        for row, instance, event in rows:
            with contextlib.suppress(*UNREADABLE):
                yield Delivered(row, instance, DECODE_EVENT.decode(event))

    def take(self, verdicts: dict[int, str]) -> None:
        """Remove rows of the inbox that were decided, and keep the verdict for whoever asks.

        What was handed over has no row.
        """
        decided = [(row, said) for row, said in verdicts.items() if row > 0]
        self._decide("id", decided)
        if decided:  # Whoever has asked and died never reads its verdict.
            oldest = max(decided)[0] - _KEPT_VERDICTS
            self.database.defer("DELETE FROM verdicts WHERE row < ?", (oldest,))

    def _decide(self, column: str, decided: list[tuple[int, str]]) -> None:
        """Decide rows of the inbox, which are named by their id or by their instance."""
        self.database.defer_rows(
            "INSERT INTO verdicts (row, refusal) SELECT inbox.id, given.refusal"
            f" FROM {{rows}} JOIN inbox ON inbox.{column} = given.name WHERE inbox.asks > 0"
            " ON CONFLICT (row) DO UPDATE SET refusal = excluded.refusal",
            {"name": "BIGINT", "refusal": "TEXT"},
            decided,
        )
        self.database.defer_rows(
            f"DELETE FROM inbox WHERE {column} IN (SELECT name FROM {{rows}})",
            {"name": "BIGINT"},
            [(name,) for name, _ in decided],
        )

    def verdict(self, row: int) -> str | None:
        """Return why an event was refused, empty where it was taken; None: not decided yet."""
        found = self.database.query("SELECT refusal FROM verdicts WHERE row = ?", (row,))
        return found[0][0] if found else None

    def lock(self, messages: Iterable[tuple[str, str]]) -> None:
        """Keep others from these messages, by name and key, until the transaction ends."""
        self.database.lock(f"message {name!r} {key!r}" for name, key in messages)

    def subscribe(self, instance: int, activation: int, name: str, key: str, now: float) -> None:
        """Wait for a message; one that is there already is delivered at once."""
        self.lock([(name, key)])
        found = self.database.query(
            "SELECT id, variables FROM messages WHERE name = ? AND key = ? AND expires > ?"
            " ORDER BY id",
            (name, key, now),
        )
        for message, body in found:
            try:
                variables = msgspec.json.decode(body, type=dict[str, Any])
            except UNREADABLE:
                continue
            self.database.execute("DELETE FROM messages WHERE id = ?", (message,))
            self.deliver(instance, Receive(activation, variables))
            return
        self._register(instance, activation, "message", name, key)

    def listen(self, instance: int, activation: int, name: str) -> None:
        """Wait for a signal."""
        self._register(instance, activation, "signal", name, "")

    def _register(self, instance: int, activation: int, kind: str, name: str, key: str) -> None:
        self.database.defer(
            "INSERT INTO subscriptions (instance, activation, kind, name, key)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT (instance, activation) DO UPDATE"
            " SET kind = excluded.kind, name = excluded.name, key = excluded.key",
            (instance, activation, kind, name, key),
        )

    def unsubscribe(self, instance: int, activation: int) -> None:
        """Wait no longer."""
        self.database.defer(
            "DELETE FROM subscriptions WHERE instance = ? AND activation = ?",
            (instance, activation),
        )

    def forget(self, ended: Mapping[int, str]) -> None:
        """Drop what instances that ended waited for.

        Args:
            ended: By instance, why what is in its inbox is refused.
        """
        self.database.defer_rows(
            "DELETE FROM subscriptions WHERE instance IN (SELECT name FROM {rows})",
            {"name": "BIGINT"},
            [(each,) for each in ended],
        )
        self._decide("instance", list(ended.items()))

    def send(self, name: str, key: str, variables: dict[str, Any], expires: float) -> int | None:
        """Deliver a message to the one that waits for it, or keep it.

        Raises:
            UsageError: Several wait for it.
        """
        self.lock([(name, key)])
        found = self.database.query(
            "SELECT instance, activation FROM subscriptions"
            f" WHERE kind = 'message' AND name = ? AND key = ?{self.database.for_share}",
            (name, key),
        )
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

    def waiting(self, name: str) -> list[tuple[int, int]]:
        """Return the instances and activations that wait for a message, whatever its key."""
        rows = self.database.query(
            "SELECT instance, activation FROM subscriptions"
            " WHERE kind = 'message' AND name = ? ORDER BY instance, activation",
            (name,),
        )
        return [(int(instance), int(activation)) for instance, activation in rows]

    def keep(self, name: str, key: str, variables: dict[str, Any], expires: float) -> None:
        """Keep a message for the first that will wait for it."""
        self.lock([(name, key)])
        self.database.execute(
            "INSERT INTO messages (name, key, variables, expires) VALUES (?, ?, ?, ?)",
            (name, key, encode(variables), expires),
        )

    def broadcast(self, name: str, variables: dict[str, Any], sender: int = 0) -> list[int]:
        """Deliver a signal to every instance that waits for it, except the sender."""
        found = self.database.query(
            "SELECT instance FROM subscriptions"
            f" WHERE kind = 'signal' AND name = ? AND instance <> ?{self.database.for_share}",
            (name, sender),
        )
        self.on_signal(name, variables)
        instances = sorted({instance for (instance,) in found})
        for instance in instances:
            self.deliver(instance, Signal(name, variables))
        return instances

    def damage(self) -> list[str]:
        """Return the rows of inboxes and pending messages that cannot be read."""
        found = []
        for row, instance, event in self.database.query(
            "SELECT inbox.id, coalesce(instances.id, 'unknown'), event FROM inbox"
            " LEFT JOIN instances ON number = instance"
        ):
            try:
                DECODE_EVENT.decode(event)
            except UNREADABLE as error:
                where = f"{self.database.place}: instance {instance}: event {row} of its inbox"
                found.append(f"{where} is damaged: {error}")
        for row, name, body in self.database.query("SELECT id, name, variables FROM messages"):
            try:
                msgspec.json.decode(body, type=dict[str, Any])
            except UNREADABLE as error:
                found.append(f"{self.database.place}: message {row} ({name}) is damaged: {error}")
        return found


def _row(instance: int, event: AnyEvent, asks: bool) -> tuple[Any, ...]:
    """Return the values of a row of the inbox."""
    steers = asks and isinstance(event, DECIDED)
    return instance, encode(event), STEERS if steers else int(asks)
