"""Which hosts follow a fleet, and how far each has come: what they report in Redis."""

from __future__ import annotations

from typing import Any, NamedTuple

from mlkit.bandit.stores.redis.address import Address
from mlkit.bandit.stores.redis.connection import Connection
from mlkit.bandit.stores.redis.keys import REPORT, Keys

FORGOTTEN = 86400
"""Seconds after which a host that reports no more is left out."""


class HostReport(NamedTuple):
    """What a host reported last.

    Attributes:
        host: Its name.
        age: Seconds since then.
        entries: Entries of the stream that it had applied.
        behind: Entries that it had not.
        stale: Seconds since it had had all; None: it never had.
        queued: Messages that waited on its disk.
    """

    host: str
    age: float
    entries: int
    behind: int
    stale: float | None
    queued: int


class Hosts:
    """A connection to the reports of a fleet's hosts.

    Args:
        address: Where the Redis is.
        name: The fleet's name.
    """

    def __init__(self, address: Address, name: str) -> None:
        self._connection = Connection(address)
        self._keys = Keys.of(name)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def report(self, host: str, entries: int, stale: float | None, queued: int) -> list[HostReport]:
        """Report about a host; return the last reports of all, by their names.

        Raises:
            MlkitError: As of `Connection.call`.
        """
        own = host, entries, "-" if stale is None else f"{stale:.3f}", queued
        keys = self._keys.head, self._keys.hosts

        def ask(client: Any) -> Any:
            return client.eval(REPORT, 2, *keys, *own, FORGOTTEN)

        now, rows = self._connection.call(ask)
        pairs = zip(rows[::2], rows[1::2], strict=True)
        found = [_report(float(now), *each) for each in pairs]
        return sorted(each for each in found if each is not None)


def _report(now: float, host: bytes, row: bytes) -> HostReport | None:
    """Return a report; None: it cannot be read, as that of a newer release."""
    try:
        at, entries, behind, stale, queued = row.decode().split(" ")
        seconds = None if stale == "-" else float(stale)
        age = max(now - float(at), 0.0)
        return HostReport(host.decode(), age, int(entries), int(behind), seconds, int(queued))
    except ValueError:
        return None
