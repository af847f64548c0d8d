"""What a script leaves in the process that ran it: printed text, memory, changed streams.

This file uses the standard library only.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import Any

MAX_OUTPUT = 1_000_000


def renew(name: str, descriptor: int) -> None:
    """Undo what a script may have done to a standard stream."""
    stream = getattr(sys, f"__{name}__")
    if stream.closed:
        stream = os.fdopen(descriptor, "w", buffering=1, encoding="utf-8", closefd=False)
        setattr(sys, f"__{name}__", stream)
    if getattr(sys, name) is not stream:
        setattr(sys, name, stream)


def collect(stream: Any, descriptor: int) -> str:
    """Take what was printed, also by subprocesses: the descriptor is a file."""
    try:  # noqa: SIM105 - this is done twice a task, and half as dear
        stream.flush()
    except Exception:
        pass  # It may be what a script has put there, or closed.
    size = os.lseek(descriptor, 0, os.SEEK_END)
    if not size:
        return ""
    with open(f"/proc/self/fd/{descriptor}", "rb") as file:
        content = file.read(MAX_OUTPUT)
    os.ftruncate(descriptor, 0)
    cut = f"\n[{size - MAX_OUTPUT} more bytes]\n" if size > MAX_OUTPUT else ""
    return content.decode("utf-8", "replace") + cut


def read_peak() -> int:
    """Give the most memory that this process has had since `reset_peak`, in bytes."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def read_children() -> int:
    """Give the most memory that any child of this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def reset_peak() -> None:
    """Count the most memory anew."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass  # Without it the peak is that of the worker so far.
