"""The memory that this process and its children have needed.

This file uses the standard library only.
"""

from __future__ import annotations

import resource


def read_peak() -> int:
    """Return the most memory that this process has had since `reset_peak`, in bytes."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def read_children() -> int:
    """Return the most memory that any child of this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def reset_peak() -> None:
    """Count the most memory again."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass  # Without it the peak is that of the worker so far.
