"""Containers, while they are there and as they go."""

from __future__ import annotations

import contextlib
import io
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from docker.errors import APIError, NotFound

from mlkit.image.run.again import insist
from mlkit.image.run.engine.failures import first_line, is_busy
from mlkit.image.run.tunnel import Tunnel
from mlkit.interruption import whole

OWN = frozenset((None, "", "private"))
"""What engines say of a container that has a process namespace of its own."""


@dataclass(frozen=True)
class State:
    """What the engine reports about a container.

    Attributes:
        running: It is up.
        exit_code: How it ended, if it did.
    """

    running: bool
    exit_code: int | None


class Container:
    """A container of ours."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    @property
    def id(self) -> str:
        """Return its id."""
        return str(self._raw.id)

    def facts(self) -> dict[str, Any]:
        """Return all that the engine reports about it."""
        self._raw.reload()
        return dict(self._raw.attrs)

    def put(self, files: Mapping[str, bytes]) -> None:
        """Put executable files into the root directory."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(data), 0o755
                tar.addfile(info, io.BytesIO(data))
            end = tar.offset + 2 * tarfile.BLOCKSIZE
        # Podman reads as far as the end of the archive, and complains of what is padded behind it.
        self._raw.put_archive("/", buffer.getvalue()[:end])

    def start(self) -> str | None:
        """Start it; return the engine's complaint if it cannot be started."""
        try:
            self._raw.start()
        except APIError as error:
            return first_line(error)
        return None

    def attach(self) -> Tunnel:
        """Hold its standard input and output, from its start on."""
        streams = dict.fromkeys(("stdin", "stdout", "stderr", "stream"), 1)
        return Tunnel(self._raw.attach_socket(params=streams))

    def resize(self, lines: int, columns: int) -> None:
        """Set the size of its terminal; one that has ended needs none."""
        with contextlib.suppress(APIError):
            self._raw.resize(lines, columns)

    def wait(self) -> int:
        """Wait until it has ended, and return its exit code."""
        return int(self._raw.wait()["StatusCode"])

    def state(self) -> State:
        """Ask whether it runs."""
        self._raw.reload()
        state = self._raw.attrs["State"]
        running = state["Status"] in {"running", "paused"}
        return State(
            running, None if running or state["Status"] == "created" else state["ExitCode"]
        )

    def logs(self) -> str:
        """Return standard output and error so far."""
        return bytes(self._raw.logs()).decode(errors="replace")

    def execute(self, command: Sequence[str]) -> tuple[int, bytes]:
        """Run a command in it; return the exit code and the output."""
        try:
            done = self._raw.exec_run(list(command))
        except APIError as error:
            return 127, first_line(error).encode()
        return int(done.exit_code), bytes(done.output or b"")

    def finish(self, seconds: float) -> str:
        """Wait until it has ended, and return what it wrote; nothing if it takes too long."""
        until = time.monotonic() + seconds
        while self.state().running:
            if time.monotonic() > until:
                return ""
            time.sleep(0.02)
        return self.logs()

    def stop(self, patience: int) -> float:
        """Ask it to stop, kill it after `patience` seconds; return the seconds that it took."""
        began = time.monotonic()
        with contextlib.suppress(APIError):
            self._raw.stop(timeout=patience)
        return time.monotonic() - began

    def tunnel(self, command: Sequence[str]) -> Tunnel:
        """Run a command in it and hold its standard input and output.

        Raises:
            ConnectionError: The container has ended.
        """
        api = self._raw.client.api
        try:
            made = api.exec_create(self.id, list(command), stdin=True)
            return Tunnel(api.exec_start(made["Id"], socket=True))
        except APIError as error:
            raise ConnectionError(first_line(error)) from error


def remove(raw: Any) -> bool:
    """Remove a container, with the anonymous volumes that it made; return whether it was there."""
    with contextlib.suppress(NotFound):
        insist(whole()(partial(raw.remove, force=True, v=True)), is_busy)
        return True
    return False


def remove_made(raw: Any) -> bool:
    """Remove a network or a volume; return whether it was removed."""
    with contextlib.suppress(APIError):
        insist(whole()(raw.remove), is_busy)
        return True
    return False
