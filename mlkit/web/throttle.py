"""Logins slowed down: after some failures each further attempt waits longer, within bounded memory.

Failures count for an account at an address, for an address, and for an account. What an account
waits stays short, since anybody could make its owner wait.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from typing import NamedTuple

MOST_KEYS = 20_000
"""Accounts and addresses that are remembered; those without failures for longest are forgotten."""
_LONGEST = 200
"""Characters of the name of an account; longer ones are those of nobody."""
_FORGOTTEN = 3600.0
"""Seconds without a failure after which a key begins again."""


class _Limit(NamedTuple):
    free: int
    """Failures before the first wait."""
    longest: float
    """Seconds of a wait, at most."""


_PAIR = _Limit(5, 300.0)
_ADDRESS = _Limit(30, 300.0)
_ACCOUNT = _Limit(50, 30.0)


class _Failures(NamedTuple):
    number: int
    last: float
    until: float


class Throttle:
    """Counts failed logins.

    Args:
        most: Keys that are remembered.
    """

    def __init__(self, most: int = MOST_KEYS) -> None:
        self._most = most
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def wait(self, account: str, address: str, now: float) -> int:
        """Return the whole seconds until an attempt is looked at; 0: it is at once."""
        keys = _keys(account, address)
        until = max((self._failures[key].until for key in keys if key in self._failures), default=0)
        return max(0, math.ceil(until - now))

    def begin(self, account: str, address: str, now: float) -> None:
        """Count an attempt, as a failure until it succeeds: many at once are many failures."""
        for key, limit in _keys(account, address).items():
            self._count(key, limit, now)

    def succeed(self, account: str, address: str) -> None:
        """Forget the failures of an account at an address, whose password was right."""
        for key in _keys(account, address):
            found = self._failures.get(key)
            if found is None:
                continue
            if key == _pair(account, address) or found.number <= 1:
                del self._failures[key]
            else:
                # Others may have failed: only this attempt is taken back.
                self._failures[key] = found._replace(number=found.number - 1)

    def _count(self, key: tuple[str, str], limit: _Limit, now: float) -> None:
        known = self._failures.pop(key, None)
        count = 1 if known is None or now - known.last > _FORGOTTEN else known.number + 1
        beyond = count - limit.free
        wait = 0.0 if beyond <= 0 else min(2.0 ** min(beyond - 1, 20), limit.longest)
        self._failures[key] = _Failures(count, now, now + wait)
        while len(self._failures) > self._most:
            self._failures.popitem(last=False)


def _keys(account: str, address: str) -> dict[tuple[str, str], _Limit]:
    account = account[:_LONGEST]
    return {
        _pair(account, address): _PAIR, ("", _network(address)): _ADDRESS, (account, ""): _ACCOUNT
    }  # fmt: skip


def _pair(account: str, address: str) -> tuple[str, str]:
    return account[:_LONGEST], _network(address)


def _network(address: str) -> str:
    """Return what one client has: an address, or the /64 network of IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address or "unknown"
    if found.version == 4:
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped or ipaddress.ip_network((found, 64), strict=False))
