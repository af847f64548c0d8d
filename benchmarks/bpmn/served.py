"""What benchmarks of servers need: `mlkit bpmn serve` processes, and a PostgreSQL of their own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

import postgresql_server

new_schema = postgresql_server.new_schema

PATIENCE = 120.0


def load() -> float:
    """Return how many processes wanted a processor during the last minute."""
    return os.getloadavg()[0]


def wait(what: str, condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"it did not happen: {what}")
        time.sleep(0.01)


@contextlib.contextmanager
def postgresql(folder: Path, settings: tuple[str, ...] = ()) -> Iterator[postgresql_server.Server]:
    """Start a PostgreSQL server with its usual settings, and more: every commit is synced."""
    if postgresql_server.programs() is None:
        raise SystemExit("missing: PostgreSQL (Debian: postgresql)")
    folder.chmod(0o755)
    server = postgresql_server.Server(folder / "postgresql", settings)
    server.make()
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Served:
    """A server process.

    Attributes:
        url: Where it answers.
        seconds: How long its start took.
    """

    def __init__(self, state: Path, journal: str | None, *options: str) -> None:
        command = [sys.executable, "-m", "mlkit", "bpmn", "serve", "--port", "0"]
        command += ["--state", str(state), *options]
        if journal is not None:
            command += ["--journal", journal]
        state.mkdir(parents=True, exist_ok=True)
        self.log = state.parent / f"{state.name}-{time.monotonic_ns()}.log"
        begin = time.perf_counter()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=state, start_new_session=True
            )
        wait("a server starts", self._answers)
        self.seconds = time.perf_counter() - begin
        self.url = re.findall(r" at (http://[\d.:]+);", self.log.read_text())[0]

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise SystemExit(self.log.read_text())
        return " at http://" in self.log.read_text()

    def kill(self) -> None:
        """Kill all its processes."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Stop it, and wait for its end."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)


@contextlib.contextmanager
def serving(state: Path, journal: str | None, *options: str) -> Iterator[Served]:
    """Run a server."""
    server = Served(state, journal, *options)
    try:
        yield server
    finally:
        server.stop()
