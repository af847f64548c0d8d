"""What the other process of a connection within this machine has done so far, as Linux shows it."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

TABLE = Path("/proc/net/tcp")
Ends = tuple[int, int]


def ends(stream: socket.socket) -> Ends:
    """Return the ports of a connection to 127.0.0.1: ours and theirs."""
    return stream.getsockname()[1], stream.getpeername()[1]


def is_read(connection: Ends) -> bool:
    """Return whether the other process has accepted a connection and read all that was sent."""
    found = _other_end(connection)
    return found is not None and found[4].endswith(":00000000") and found[9] != "0"


def is_left(connection: Ends) -> bool:
    """Return whether the other process has noticed that we closed a connection."""
    found = _other_end(connection)
    return found is None or found[9] == "0"


def _other_end(connection: Ends) -> list[str] | None:
    """Return the columns of the system's table for the socket of the other process."""
    ours, theirs = (f":{port:04X}" for port in connection)
    rows = (line.split() for line in TABLE.read_text().splitlines()[1:])
    return next((r for r in rows if r[1].endswith(theirs) and r[2].endswith(ours)), None)


def is_delivered(pid: int, number: signal.Signals) -> bool:
    """Return whether a signal that was sent to a process waits there no more."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [line.split()[1] for line in status.splitlines() if line[:7] in {"SigPnd:", "ShdPnd:"}]
    return not any(int(each, 16) >> (number - 1) & 1 for each in masks)
