"""The user's own test command: it runs on this machine and reaches the app by its environment."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from typing import IO

from mlkit.errors import InputMissing
from mlkit.interruption import whole

LONGEST = 600
"""Seconds; a test command that takes longer is taken for one that hangs."""
TAIL = 2000
SHELL = "/bin/sh"


def run(command: str, environment: Mapping[str, str]) -> tuple[int | None, str]:
    """Run a shell's line here; return its exit code (None: it hung) and the end of its output.

    Args:
        command: The line.
        environment: Variables beside this process's own.

    Raises:
        InputMissing: There is no shell here.
    """
    with tempfile.TemporaryFile(prefix="mlkit-image-") as output:
        with contextlib.ExitStack() as stack:
            with whole():  # a signal while it starts must find it, to end it
                process = _begin(command, environment, output)
                stack.callback(_end, process)
            try:
                code: int | None = process.wait(LONGEST)
            except subprocess.TimeoutExpired:
                code = None
        output.seek(max(0, output.seek(0, os.SEEK_END) - TAIL))
        return code, output.read().decode(errors="replace")


def _begin(
    command: str, environment: Mapping[str, str], output: IO[bytes]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [SHELL, "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,  # all that it starts can be ended with it
        )
    except OSError as error:
        raise InputMissing(f"{SHELL}: {error.strerror}") from error


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def address(host: str, ports: Mapping[int, int], container: str) -> dict[str, str]:
    """Return the environment variables that locate the app for a command.

    Args:
        host: Where its ports are forwarded from.
        ports: The app's port to ours, the most important first.
        container: Its id.
    """
    variables = {"MLKIT_HOST": host, "MLKIT_CONTAINER": container}
    if ports:
        variables["MLKIT_PORT"] = str(next(iter(ports.values())))
    return variables | {f"MLKIT_PORT_{theirs}": str(ours) for theirs, ours in ports.items()}


def last_line(output: str) -> str:
    """Return the last line that is not blank."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else ""
