"""The Docker Engine: everything that crosses its API goes through here."""

from __future__ import annotations

import contextlib
import io
import tarfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from mlkit.errors import BadData, InputMissing, ServiceUnavailable
from mlkit.image.filesystem import build
from mlkit.image.filesystem.archive import CHUNK
from mlkit.image.filesystem.build import Blob
from mlkit.image.run import owner
from mlkit.image.run.tunnel import Tunnel
from mlkit.interruption import whole

LABEL = "io.mlkit.image.temporary"
"""On everything that a run makes in the engine and takes away again."""
RUN = f"{LABEL}.run"
"""The label that says which run."""
TEMPORARY = "mlkit-temporary"
"""The name of images that a run takes away again, each with a tag of its own."""
TIMEOUT = 600
"""Seconds without a byte: a busy engine packs or unpacks for minutes before it says anything."""


@dataclass(frozen=True)
class State:
    """What the engine says about a container.

    Attributes:
        running: It is up.
        exit_code: How it ended, if it did.
    """

    running: bool
    exit_code: int | None


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """Distinguish what goes wrong in the engine from bugs of ours while the block runs.

    Raises:
        ServiceUnavailable: The engine refused, or was gone.
    """
    try:
        yield
    except (DockerException, requests.RequestException) as error:
        hint = "see the engine's log and its disk; `mlkit image clean` removes what was left"
        raise ServiceUnavailable(f"the Docker Engine fails: {_text(error)}", hint=hint) from error


class Engine:
    """A connection to the Docker Engine that `DOCKER_HOST` names.

    Raises:
        ServiceUnavailable: There is none.
    """

    def __init__(self) -> None:
        self._live: set[Any] = set()
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
        """Return what the engine knows of an image.

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

    @contextlib.contextmanager
    def saving(self, name: str, file: BinaryIO) -> Iterator[Callable[[], None]]:
        """Write an image as a `docker save` archive while the block does something else.

        The engine packs the whole image before it sends the first byte. Whoever leaves the block
        before that closes the file, and does not wait: the thread, with a connection of its own,
        then ends at its first write.

        Yields:
            What waits until the archive is there, and raises what went wrong.
        """
        done: Future[None] = Future()

        def save() -> None:
            try:
                with contextlib.closing(Engine()) as engine:
                    engine.save(name, file)
            except BaseException as error:  # whoever waits for it gets it
                done.set_exception(error)
            else:
                done.set_result(None)

        self.inspect(name)
        threading.Thread(target=save, name="docker save", daemon=True).start()
        yield done.result

    def load(self, archive: Iterable[bytes]) -> str:
        """Load a `docker save` archive, given in parts, and give the image's id."""
        try:
            return str(self._client.images.load(archive)[0].id)
        except (DockerException, IndexError) as error:
            raise ServiceUnavailable(f"the engine refuses the image: {_text(error)}") from error

    @contextlib.contextmanager
    def loaded(self, document: bytes, layers: Sequence[Blob]) -> Iterator[str]:
        """Load an image that is gone after the block, unless somebody has named it meanwhile.

        Args:
            document: Its config document.
            layers: Its layers, lowest first.

        Yields:
            Its id.
        """
        name = _temporary_name()
        with contextlib.ExitStack() as stack:
            with whole():
                image = self.load(build.archive(document, layers, name))
                stack.callback(self.remove_image, name)
            yield image

    @contextlib.contextmanager
    def built(self, folder: Path) -> Iterator[str]:
        """Build a Dockerfile folder into an image that is gone after the block.

        Yields:
            Its id.
        """
        name = _temporary_name()
        with contextlib.ExitStack() as stack:
            with whole():
                image = self.build(folder, name)
                stack.callback(self.remove_image, name)
            yield image

    def tag(self, image: str, name: str) -> None:
        """Return an image a name."""
        repository, _, tag = build.with_tag(name).rpartition(":")
        try:
            self._client.api.tag(image, repository, tag)
        except APIError as error:
            raise BadData(f"{name}: {_text(error)}") from error

    def push(self, image: str, reference: str) -> str:
        """Push an image to a registry, and give its digest there.

        The engine pushes, with the credentials that `docker login` has left in Docker's own
        settings. The image has the name in the engine only meanwhile.

        Raises:
            ServiceUnavailable: The registry cannot be reached, or refuses.
        """
        repository, _, tag = build.with_tag(reference).rpartition(":")
        with self._named(image, reference):
            try:
                events = self._client.api.push(repository, tag, stream=True, decode=True)
                return _pushed(events)
            except (APIError, DockerException, OSError) as error:
                hint = f"`docker login {repository.partition('/')[0]}`, or try `docker push`"
                text = f"{reference}: not pushed: {_text(error)}"
                raise ServiceUnavailable(text, hint=hint) from error

    @contextlib.contextmanager
    def _named(self, image: str, name: str) -> Iterator[None]:
        """Return an image a name while the block runs; an image that has it gets it back."""
        try:
            before = str(self.inspect(name)["Id"])
        except InputMissing:
            before = ""
        with contextlib.ExitStack() as stack:
            with whole():
                self.tag(image, name)
                if before:
                    stack.callback(self.tag, before, name)
                else:
                    stack.callback(self.remove_image, name)
            yield

    def remove_image(self, name: str) -> None:
        """Remove an image, if it is there."""
        with whole(), contextlib.suppress(APIError):
            self._client.api.remove_image(name, force=True)

    def build(self, folder: Path, name: str | None = None) -> str:
        """Build a Dockerfile folder, and give the image's id."""
        try:
            image, _ = self._client.images.build(path=str(folder), tag=name, rm=True, forcerm=True)
        except (APIError, docker.errors.BuildError, TypeError) as error:
            hint = "`docker build` shows all that it says"
            raise BadData(f"{folder}: the build fails: {_text(error)}", hint=hint) from error
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
                self._live.add(raw)
                stack.callback(self._live.discard, raw)
                stack.callback(_remove, raw)
            yield Container(raw)

    def abandon(self) -> None:
        """Remove all containers of this connection; whoever asks them something meets an error."""
        for raw in list(self._live):
            with contextlib.suppress(APIError):
                _remove(raw)

    def _create(self, image: str, settings: dict[str, Any]) -> Any:
        try:
            labels = {LABEL: "1", RUN: owner.mark()}
            return self._client.containers.create(image, labels=labels, **settings)
        except (APIError, DockerException) as error:
            hint = "look at the image's config, and at --volume and --network"
            raise BadData(f"{image}: no container: {_text(error)}", hint=hint) from error

    def labelled(self, label: str) -> list[tuple[str, dict[str, str]]]:
        """List the names of images that carry a label, with all their labels."""
        images = self._client.images.list(filters={"label": label})
        return sorted((name, dict(each.labels)) for each in images for name in each.tags)

    def find_container(self, name: str) -> Container | None:
        """Return a container of the user's, to be looked at only."""
        try:
            return Container(self._client.containers.get(name))
        except NotFound:
            return None
        except APIError as error:
            raise BadData(f"{name}: {_text(error)}") from error

    def clean(self, dry: bool = False) -> list[str]:
        """List what interrupted runs have left, and remove it unless `dry`.

        What belongs to a run that still goes on, on this machine, is left alone.
        """
        wanted = {"label": f"{LABEL}=1"}
        removed = []
        for raw in self._client.containers.list(all=True, filters=wanted):
            if not owner.goes_on(raw.labels.get(RUN, "")):
                removed.append(f"container {raw.short_id}")
                if not dry:
                    raw.remove(force=True, v=True)
        for name, image in self._left_images(wanted):
            removed.append(f"image {image}")
            if not dry:
                self.remove_image(name)
        return removed

    def _left_images(self, wanted: dict[str, str]) -> Iterator[tuple[str, str]]:
        """Return what to remove, and the short id: names of ours, and images with our label."""
        for image in self._client.images.list(name=TEMPORARY):
            ours = [name for name in image.tags if name.startswith(f"{TEMPORARY}:")]
            left = (name for name in ours if not owner.goes_on(name.partition(":")[2]))
            yield from ((name, image.short_id) for name in left)
        for image in self._client.images.list(filters=wanted):
            if not owner.goes_on(image.labels.get(RUN, "")):
                yield image.id, image.short_id


class Container:
    """A container of ours."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    @property
    def id(self) -> str:
        """Return its id."""
        return str(self._raw.id)

    def facts(self) -> dict[str, Any]:
        """Return all that the engine says about it."""
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
        self._raw.put_archive("/", buffer.getvalue())

    def start(self) -> str | None:
        """Start it; return the engine's complaint if it cannot be started."""
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
        """Return standard output and error so far."""
        return bytes(self._raw.logs()).decode(errors="replace")

    def processes(self) -> list[tuple[int, str, str]]:
        """List (parent id, state, command) of its processes, first the first."""
        try:
            rows = self._raw.top(ps_args="-o pid,ppid,stat,args")["Processes"] or []
        except APIError:
            return []
        return [(int(row[1]), row[2], row[3]) for row in rows]

    def execute(self, command: Sequence[str]) -> tuple[int, bytes]:
        """Run a command in it; return the exit code and the output."""
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
            raise ConnectionError(_text(error)) from error


def _pushed(events: Iterable[dict[str, Any]]) -> str:
    """Read what the engine says of a push, and give the digest."""
    digest = ""
    for event in events:
        if "error" in event:
            raise DockerException(event["error"])
        digest = (event.get("aux") or {}).get("Digest") or digest
    return digest


def _temporary_name() -> str:
    return f"{TEMPORARY}:{owner.mark()}"


def _remove(raw: Any) -> None:
    """Remove a container, with the anonymous volumes that it made."""
    with whole(), contextlib.suppress(NotFound):
        raw.remove(force=True, v=True)


def _text(error: Exception) -> str:
    explanation = getattr(error, "explanation", None) or str(error) or type(error).__name__
    return str(explanation).strip().splitlines()[0]
