"""Free ports, for servers that cannot choose one themselves and tell."""

from __future__ import annotations

import random
import socket
from pathlib import Path

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST, HIGHEST = 10_000, 65_535
TRIED = 1000


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody has."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody has.

    They are none of those that the system hands out by itself, to servers that ask for port 0 and
    to every outgoing connection: one of these may be taken again before it is used.
    """
    chosen = random.SystemRandom().sample(_candidates(), TRIED)
    found = [port for port in chosen if _is_free(port)][:count]
    assert len(found) == count, "no port is free"
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _candidates() -> range:
    first, last = map(int, RANGE.read_text().split()) if RANGE.exists() else (32_768, 60_999)
    outside = max(range(LOWEST, first), range(last + 1, HIGHEST + 1), key=len)
    return outside if len(outside) >= TRIED else range(LOWEST, HIGHEST + 1)
