"""Whose a container or an image is: the run that made it, and whether that still goes on."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from pathlib import Path

PROC = Path("/proc")
BOOT = PROC / "sys/kernel/random/boot_id"


def mark() -> str:
    """Return a word that names this run, another one each time: MACHINE-PROCESS-START-RANDOM."""
    pid = os.getpid()
    return f"{_machine()}-{pid}-{_start(pid)}-{secrets.token_hex(4)}"


def goes_on(word: str) -> bool:
    """Return whether the run that a mark names still goes on; False for one of another machine."""
    machine, _, rest = word.partition("-")
    parts = rest.split("-")
    if machine != _machine() or len(parts) < 2 or not parts[0].isdigit():
        return False
    return parts[1] != "" and _start(int(parts[0])) == parts[1]


def _machine() -> str:
    boot = BOOT.read_text() if BOOT.exists() else ""
    return hashlib.sha256(f"{socket.gethostname()} {boot}".encode()).hexdigest()[:12]


def _start(pid: int) -> str:
    """Return when a process began, in ticks since the machine did; nothing if there is none."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
