"""The Docker Engine: everything that crosses its API goes through here."""

from __future__ import annotations

import contextlib
import http.client
import io
import struct
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from mlkit.errors import BadData, InputMissing, ServiceUnavailable
from mlkit.image.archive import CHUNK
from mlkit.interruption import whole

LABEL = "io.mlkit.image.temporary"
"""On everything that a run makes in the engine and takes away again."""
TIMEOUT = 120


@dataclass(frozen=True)
class State:
    """What the engine says about a container.

    Attributes:
        running: It is up.
        exit_code: How it ended, if it did.
    """

    running: bool
    exit_code: int | None


class Engine:
    """A connection to the Docker Engine that `DOCKER_HOST` names.

    Raises:
        ServiceUnavailable: There is none.
    """

    def __init__(self) -> None:
        try:
            self._client = docker.from_env(timeout=TIMEOUT)
            self._client.ping()
        except DockerException as error:
            hint = "start dockerd, or set DOCKER_HOST; `mlkit doctor` shows what it sees"
            raise ServiceUnavailable(f"no Docker Engine: {_text(error)}", hint=hint) from error

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def inspect(self, name: str) -> dict[str, Any]:
        """Give what the engine knows of an image.

        Raises:
            InputMissing: It has no such image.
        """
        try:
            return dict(self._client.api.inspect_image(name))
        except (ImageNotFound, NotFound) as error:
            hint = "`docker images` lists what is there"
            raise InputMissing(f"no such image or archive: {name}", hint=hint) from error
        except APIError as error:
            raise BadData(f"{name}: {_text(error)}") from error

    def save(self, name: str, file: BinaryIO) -> None:
        """Write an image as a `docker save` archive."""
        self.inspect(name)
        for chunk in self._client.api.get_image(name, chunk_size=CHUNK):
            file.write(chunk)
        file.flush()

    def load(self, path: Path) -> str:
        """Load an archive, and give the image's id or name."""
        try:
            with path.open("rb") as file:
                return str(self._client.images.load(file)[0].id)
        except (APIError, docker.errors.ImageLoadError) as error:
            raise ServiceUnavailable(f"the engine refuses the image: {_text(error)}") from error

    def tag(self, image: str, name: str) -> None:
        """Give an image a name."""
        repository, _, tag = name.rpartition(":") if ":" in name.split("/")[-1] else (name, "", "")
        self._client.api.tag(image, repository, tag or "latest")

    def remove_image(self, name: str) -> None:
        """Remove an image, if it is there."""
        with whole(), contextlib.suppress(APIError):
            self._client.api.remove_image(name, force=True)

    def remove_untagged(self, image: str) -> None:
        """Remove an image unless it has a name: then somebody else wants it."""
        with contextlib.suppress(InputMissing):
            if not self.inspect(image)["RepoTags"]:
                self.remove_image(image)

    def build(self, folder: Path) -> str:
        """Build a Dockerfile folder, and give the image's id."""
        try:
            image, _ = self._client.images.build(path=str(folder), rm=True, forcerm=True)
        except (APIError, docker.errors.BuildError, TypeError) as error:
            raise BadData(f"{folder}: the build fails: {_text(error)}") from error
        return str(image.id)

    @contextlib.contextmanager
    def container(self, image: str, **settings: Any) -> Iterator[Container]:
        """Create a container that is gone after the block.

        Args:
            image: Its image.
            settings: As the `docker` package names them.
        """
        with contextlib.ExitStack() as stack:
            with whole():
                raw = self._create(image, settings)
                stack.callback(_remove, raw)
            yield Container(raw)

    def _create(self, image: str, settings: dict[str, Any]) -> Any:
        try:
            return self._client.containers.create(image, labels={LABEL: "1"}, **settings)
        except (APIError, DockerException) as error:
            raise BadData(f"{image}: no container: {_text(error)}") from error

    def clean(self, dry: bool = False) -> list[str]:
        """List what interrupted runs have left, and remove it unless `dry`."""
        wanted = {"label": f"{LABEL}=1"}
        removed = []
        for raw in self._client.containers.list(all=True, filters=wanted):
            removed.append(f"container {raw.short_id}")
            if not dry:
                raw.remove(force=True, v=True)
        for image in self._client.images.list(filters=wanted):
            removed.append(f"image {image.short_id}")
            if not dry:
                self.remove_image(image.id)
        return removed


class Container:
    """A container of ours."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    @property
    def id(self) -> str:
        """Give its id."""
        return str(self._raw.id)

    def put(self, files: Mapping[str, bytes]) -> None:
        """Put executable files into the root directory."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(data), 0o755
                tar.addfile(info, io.BytesIO(data))
        self._raw.put_archive("/", buffer.getvalue())

    def start(self) -> str | None:
        """Start it; give the engine's complaint if it cannot be started."""
        try:
            self._raw.start()
        except APIError as error:
            return _text(error)
        return None

    def state(self) -> State:
        """Ask whether it runs."""
        self._raw.reload()
        state = self._raw.attrs["State"]
        running = state["Status"] in {"running", "paused"}
        return State(
            running, None if running or state["Status"] == "created" else state["ExitCode"]
        )

    def logs(self) -> str:
        """Give standard output and error so far."""
        return bytes(self._raw.logs()).decode(errors="replace")

    def processes(self) -> list[tuple[int, str, str]]:
        """List (parent id, state, command) of its processes, first the first."""
        try:
            rows = self._raw.top(ps_args="-o pid,ppid,stat,args")["Processes"] or []
        except APIError:
            return []
        return [(int(row[1]), row[2], row[3]) for row in rows]

    def execute(self, command: Sequence[str]) -> tuple[int, bytes]:
        """Run a command in it; give the exit code and the output."""
        try:
            done = self._raw.exec_run(list(command))
        except APIError as error:
            return 127, _text(error).encode()
        return int(done.exit_code), bytes(done.output or b"")

    def finish(self, seconds: float) -> str:
        """Wait until it has ended, and give what it wrote; nothing if it takes too long."""
        until = time.monotonic() + seconds
        while self.state().running:
            if time.monotonic() > until:
                return ""
            time.sleep(0.02)
        return self.logs()

    def stop(self, patience: int) -> float:
        """Ask it to stop, kill it after `patience` seconds; give the seconds that it took."""
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
            raise ConnectionError(_text(error)) from error


class Tunnel:
    """Standard input and output of a command in a container, as a socket of `http.client`."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._socket = getattr(raw, "_sock", raw)
        self._buffer = b""

    def settimeout(self, seconds: float) -> None:
        """Bound each wait."""
        self._socket.settimeout(seconds)

    def sendall(self, data: bytes) -> None:
        """Send bytes."""
        self._socket.sendall(data)

    def receive(self) -> bytes:
        """Give the next bytes of standard output; none: it has ended."""
        while True:
            head = self._exactly(8)
            if len(head) < 8:
                return b""
            stream, size = struct.unpack(">BxxxL", head)
            data = self._exactly(size)
            if stream == 1:
                return data

    def makefile(self, mode: str = "rb") -> io.BufferedReader:
        """Give what is received as a file."""
        return io.BufferedReader(_Received(self))

    def close(self) -> None:
        """Do nothing: `http.client` closes a socket that its answer is still read from."""

    def hang_up(self) -> None:
        """Close it."""
        self._raw.close()
        if self._socket is not self._raw:
            self._socket.close()

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (part := self._socket.recv(size - len(data))):
            data += part
        return data


class _Received(io.RawIOBase):
    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._left or self._tunnel.receive()
        size = min(len(data), len(buffer))
        buffer[:size], self._left = data[:size], data[size:]
        return size


def over(tunnel: Tunnel, seconds: float) -> http.client.HTTPConnection:
    """Speak HTTP through a tunnel."""
    connection = http.client.HTTPConnection("localhost", timeout=seconds)
    connection.sock = tunnel
    return connection


def _remove(raw: Any) -> None:
    """Remove a container, with the anonymous volumes that it made."""
    with whole(), contextlib.suppress(NotFound):
        raw.remove(force=True, v=True)


def _text(error: Exception) -> str:
    explanation = getattr(error, "explanation", None) or str(error) or type(error).__name__
    return str(explanation).strip().splitlines()[0]
