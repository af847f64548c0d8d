"""Servers under test as processes: start, wait, CPU time, stop."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def family(pid: int) -> list[int]:
    """List a process and all that descend from it."""
    # Of all threads: a program in Go starts processes from any.
    threads = Path(f"/proc/{pid}/task").iterdir()
    children = [one for each in threads for one in (each / "children").read_text().split()]
    return [pid, *(one for child in children for one in family(int(child)))]


def cpu_seconds(pid: int) -> float:
    """Sum the CPU time of a process and of its living descendants."""
    return sum(map(own_cpu_seconds, family(pid)))


def own_cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process without its descendants."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def proportional_set_size(pid: int) -> int:
    """Sum the PSS of a process and its descendants, in bytes."""
    total = 0
    for one in family(pid):
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def wait_for(url: str, process: subprocess.Popen, seconds: float = 120) -> None:
    """Wait until a URL answers with success."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            sys.exit(f"the server ended with {process.returncode}")
        try:
            with urlopen(url, timeout=5):
                return
        except URLError:  # nobody listens yet, or a status that is none of success
            time.sleep(0.05)
    sys.exit(f"{url} does not answer")


@contextlib.contextmanager
def running(command: list[str], port: int, path: str, **variables: str) -> Iterator[int]:
    """Run a server and give its process id."""
    quiet = subprocess.DEVNULL
    environment = {**os.environ, **variables}
    process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet)
    try:
        wait_for(f"http://127.0.0.1:{port}{path}", process)
        yield process.pid
    finally:
        workers = [] if process.poll() is not None else family(process.pid)[1:]
        process.terminate()
        process.wait(30)
        for worker in workers:  # those of Fiber outlive their master
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)


def mlkit(posteriors: Path, state: Path, port: int, *options: str) -> list[str]:
    words = ["bandit", "serve", str(posteriors), "--state", str(state), "--port", str(port)]
    return [sys.executable, "-m", "mlkit", *words, *options]
