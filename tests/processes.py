"""Processes that a test starts, and that do not outlive its block."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from commands import Mlkit


@contextmanager
def started(command: Sequence[Any], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start a process, which is killed if it goes on after the block; `mlkit` is forked.

    `Popen` itself waits there: a failure in the block would never be seen.
    """
    is_mlkit = list(command[:3]) == [sys.executable, "-m", "mlkit"]
    begun = Mlkit(*command[3:], **options) if is_mlkit else subprocess.Popen(command, **options)
    with begun as process:
        try:
            yield process
        finally:
            process.kill()
