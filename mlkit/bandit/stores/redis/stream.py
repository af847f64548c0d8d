"""The stream of a fleet: entries in one order, which every host reads from its own position on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from mlkit.bandit.stores.redis.address import Address
from mlkit.bandit.stores.redis.connection import Connection
from mlkit.bandit.stores.redis.keys import APPEND, NO_FLEET, Keys
from mlkit.errors import ConfigurationError, ServiceUnavailable

_BLOCK = 500
"""Milliseconds that a read waits for an entry."""
_ENTRIES = 16
"""The most entries of a read; each may have some megabytes."""
_WAIT = 1000
"""Milliseconds that an append waits for replicas."""
_LOST_HINT = "restore it from a backup; or stop the host that knows most and start it with --adopt"


class Position(NamedTuple):
    """Up to where entries are known.

    Attributes:
        number: The number of the last entry; 0: none.
        tag: Its tag.
    """

    number: int = 0
    tag: bytes = b""


class Head(NamedTuple):
    """Which fleet there is, and its last entry."""

    fleet: str
    position: Position


class Entry(NamedTuple):
    """One entry.

    Attributes:
        position: Its number and tag.
        after: The tag of the entry before.
        time: When it was appended, by the clock of Redis, in seconds since 1970.
        body: What it holds.
    """

    position: Position
    after: bytes
    time: float
    body: bytes


class Durability(NamedTuple):
    """What Redis is set to do for data that are acknowledged.

    Attributes:
        is_logged: Whether it keeps an append-only file.
        evicts: The policy that may drop keys when memory is full; empty: it refuses writes.
    """

    is_logged: bool
    evicts: str


class Diverged(Exception):
    """What a host knows is not the beginning of the stream, or the stream no longer has its end."""


class FleetLost(ServiceUnavailable):
    """Redis answers, and has no fleet of this name, or another one."""


class SharedStream:
    """A connection to a fleet's stream.

    Args:
        address: Where the Redis is.
        name: The fleet's name.
        replicas: Replicas that must have an entry before it counts as appended.
    """

    def __init__(self, address: Address, name: str, replicas: int = 0) -> None:
        self._connection = Connection(address)
        self._address, self._name = address, name
        self._replicas = replicas
        self.keys = Keys.of(name)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def head(self) -> Head | None:
        """Return the fleet and its last entry; None: there is no fleet.

        Raises:
            MlkitError: As of `Connection.call`, as of the other methods.
        """
        return _head(self._connection.call(lambda client: client.hgetall(self.keys.head)))

    def secret(self, proposed: bytes) -> bytes:
        """Return the key that signs the fleet's decision ids: what was proposed first."""

        def agree(client: Any) -> bytes:
            client.set(self.keys.secret, proposed, nx=True)
            found: bytes = client.get(self.keys.secret)
            return found

        return self._connection.call(agree)

    def durability(self) -> Durability:
        """Return what Redis is set to do for data that are acknowledged."""

        def ask(client: Any) -> Durability:
            persistence, memory = client.info("persistence"), client.info("memory")
            policy = str(memory.get("maxmemory_policy", ""))
            evicts = policy if policy.startswith("allkeys") and memory.get("maxmemory") else ""
            return Durability(bool(persistence.get("aof_enabled")), evicts)

        return self._connection.call(ask)

    # Writing

    def append(self, fleet: str, tag: bytes, body: bytes) -> None:
        """Append an entry; return when it is as durable as Redis and `replicas` make it.

        Raises:
            FleetLost: The fleet is not there.
            ServiceUnavailable: Redis or enough replicas have not answered; the entry may be there.
        """
        reached, said = self._connection.call(lambda client: self._add(client, fleet, tag, body))
        if NO_FLEET in said:
            raise self._lost()
        if said:
            raise ServiceUnavailable(f"{self._address}: {said}")
        if reached < self._replicas:
            text = f"{reached} of {self._replicas} replicas have answered"
            raise ServiceUnavailable(f"{self._address}: {text}")

    def _add(self, client: Any, fleet: str, tag: bytes, body: bytes) -> tuple[int, str]:
        """Return how many replicas have the entry, and why it was refused."""
        pipe = client.pipeline(transaction=False)
        pipe.eval(APPEND, 2, self.keys.head, self.keys.stream, fleet, tag, body)
        if self._replicas:
            pipe.execute_command("WAIT", self._replicas, _WAIT)
        appended, *waited = pipe.execute(raise_on_error=False)
        if isinstance(appended, Exception):
            text = str(appended)
            if NO_FLEET in text or text.startswith(("OOM", "MISCONF", "NOREPLICAS")):
                return 0, text
            raise appended
        for each in waited:
            if isinstance(each, Exception):
                raise each
        return (int(waited[0]) if waited else 0), ""

    def _lost(self) -> FleetLost:
        return FleetLost(f"{self._address}: there is no fleet {self._name!r}", hint=_LOST_HINT)

    # Following

    def read(self, fleet: str, after: Position, block: bool = True) -> list[Entry]:
        """Return the next entries; wait a moment for them.

        Args:
            fleet: The fleet that is followed.
            after: What the caller has.
            block: Whether to wait.

        Returns:
            The entries; none: the caller has all.

        Raises:
            Diverged: Going on from there is not possible.
            FleetLost: The fleet is not there.
        """
        found: list[Entry] = []
        # A new connection may be one to another server, with another past.
        if block and self._connection.is_open:
            found = self._connection.call(lambda client: self._next(client, after, _BLOCK))
        if not found:
            found = self._read_next(fleet, after)
        for before, entry in zip([after, *(each.position for each in found)], found, strict=False):
            if entry.after != before.tag or entry.position.number != before.number + 1:
                raise Diverged
        return found

    def _next(self, client: Any, after: Position, block: int | None) -> list[Entry]:
        at = {self.keys.stream: f"{after.number}-0"}
        return _entries(client.xread(at, count=_ENTRIES, block=block))

    def _read_next(self, fleet: str, after: Position) -> list[Entry]:
        """Return the next entries and check, at one moment, that there are no others."""

        def ask(client: Any) -> tuple[Head | None, list[Entry]]:
            pipe = client.pipeline(transaction=True)
            pipe.hgetall(self.keys.head)
            pipe.xread({self.keys.stream: f"{after.number}-0"}, count=_ENTRIES)
            head, rows = pipe.execute()
            return _head(head), _entries(rows)

        head, found = self._connection.call(ask)
        if head is None:
            raise self._lost()
        if head.fleet != fleet:
            text = f"{self._address}: {self._name!r} is now another fleet"
            raise FleetLost(text, hint="start this host with another --state, to join it")
        if not found and head.position != after:
            raise Diverged
        return found


def _head(fields: Mapping[bytes, bytes]) -> Head | None:
    if b"fleet" not in fields:
        return None
    position = Position(int(fields[b"number"]), fields[b"tag"])
    return Head(fields[b"fleet"].decode(), position)


def _entries(rows: Any) -> list[Entry]:
    found = rows[0][1] if rows else []
    return [_entry(int(name.split(b"-")[0]), fields) for name, fields in found]


def _entry(number: int, fields: Mapping[bytes, bytes]) -> Entry:
    position = Position(number, fields[b"tag"])
    return Entry(position, fields[b"after"], float(fields[b"time"]), fields[b"body"])


def new_fleet() -> str:
    """Return the id of a new fleet."""
    return os.urandom(8).hex()


def check_durable(address: Address, durability: Durability) -> str:
    """Return a warning about how Redis is set; empty: none.

    Raises:
        ConfigurationError: It may drop keys that hold the fleet's state.
    """
    if durability.evicts:
        text = f"{address}: maxmemory-policy {durability.evicts} may drop the fleet's state"
        raise ConfigurationError(text, hint="set it to noeviction")
    if not durability.is_logged:
        return f"{address} has no append-only file: what it acknowledges may be lost when it stops"
    return ""
