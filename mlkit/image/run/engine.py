"""The Docker Engine: everything that crosses its API goes through here."""

from __future__ import annotations

import contextlib
import io
import re
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import docker
import requests
from docker.errors import APIError, BuildError, DockerException, ImageNotFound, NotFound

from mlkit.errors import BadData, InputMissing, ServiceUnavailable
from mlkit.image.filesystem import build
from mlkit.image.filesystem.archive import CHUNK
from mlkit.image.filesystem.build import Blob
from mlkit.image.run import owner
from mlkit.image.run.again import insist
from mlkit.image.run.tunnel import Tunnel
from mlkit.interruption import whole

LABEL = "io.mlkit.image.temporary"
"""On everything that a run makes in the engine and takes away again."""
RUN = f"{LABEL}.run"
"""The label that identifies the run."""
TEMPORARY = "mlkit-temporary"
"""The name of images that a run takes away again, each with a tag of its own."""
ID = re.compile(r"[0-9a-f]{64}")
SHORT = len("sha256:") + 12
OWN = frozenset((None, "", "private"))
"""What engines say of a container that has a process namespace of its own."""
RACE = re.compile(
    "unable to find image|no such image|unknown parent image|layer does not exist"
    "|failed to get digest|failed to get destination image"
    "|failed to export image: failed to set parent",
    re.IGNORECASE,
)
"""What a build or a load reports when another client removes an image that it shares or looks at.

Images of the same content are one image: who removes its last name removes it under the others.
"""
BUSY = re.compile(
    "is already in progress|has active endpoints|is in use|is being used|device or resource busy",
    re.IGNORECASE,
)
"""What a removal reports while another client removes the same, or something still leaves it."""
TIMEOUT = 600
"""Seconds without a byte: a busy engine packs or unpacks for minutes before it answers anything."""


@dataclass(frozen=True)
class State:
    """What the engine reports about a container.

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


def credentials(registry: str) -> dict[str, str] | None:
    """Return what `docker login` has stored for a registry in Docker's own settings."""
    try:
        found = docker.auth.load_config().resolve_authconfig(registry)
    except DockerException as error:
        raise ServiceUnavailable(f"{registry}: no credentials: {_text(error)}") from error
    return dict(found) if found else None


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

    @contextlib.contextmanager
    def use_profile(self, profile: str) -> Iterator[str]:
        """Return the option of a container that has it run under a seccomp profile.

        Docker's interface takes the text. Podman's takes the place of a file on its own machine,
        which is there while the block runs if that machine is this one.

        Args:
            profile: The profile, in JSON.
        """
        parts = self._client.version().get("Components") or []
        if not any("podman" in str(each.get("Name")).lower() for each in parts):
            yield f"seccomp={profile}"
            return
        with tempfile.NamedTemporaryFile("w", prefix="mlkit-image-", suffix=".json") as file:
            file.write(profile)
            file.flush()
            yield f"seccomp={file.name}"

    def inspect(self, name: str) -> dict[str, Any]:
        """Return what the engine knows of an image.

        Raises:
            InputMissing: It has no such image.
        """
        if ID.fullmatch(name):  # Podman takes it for a name that is none
            name = f"sha256:{name}"
        try:
            found = self._client.api.inspect_image(name)
            if not isinstance(found, dict):  # A name such as "." leads to another address.
                raise NotFound(name)
            return found
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

    def load(self, archive: Callable[[], Iterable[bytes]]) -> str:
        """Load a `docker save` archive; return the image's id.

        Args:
            archive: Returns the archive in parts, anew for each attempt.
        """
        try:
            # A list would be encoded as a form: `requests` streams what can only be iterated.
            return str(insist(lambda: self._client.images.load(iter(archive())), _is_race)[0].id)
        except (DockerException, IndexError) as error:
            raise ServiceUnavailable(f"the engine refuses the image: {_text(error)}") from error

    @contextlib.contextmanager
    def load_temporary(self, document: bytes, layers: Sequence[Blob]) -> Iterator[str]:
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
                image = self.load(partial(build.archive, document, layers, name))
                stack.callback(self.remove_image, name)
            yield image

    @contextlib.contextmanager
    def build_temporary(self, folder: Path) -> Iterator[str]:
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
        """Name an image."""
        repository, _, tag = build.with_tag(name).rpartition(":")
        try:
            self._client.api.tag(image, repository, tag)
        except APIError as error:
            raise BadData(f"{name}: {_text(error)}") from error

    def push(self, image: str, reference: str) -> str:
        """Push an image to a registry, and return its digest there.

        The engine pushes, with the credentials that `docker login` has left in Docker's own
        settings. The image has the name in the engine only meanwhile.

        Raises:
            ServiceUnavailable: The registry cannot be reached, or refuses.
        """
        repository, _, tag = build.with_tag(reference).rpartition(":")
        with self._tag_temporarily(image, reference):
            try:
                events = self._client.api.push(repository, tag, stream=True, decode=True)
                return _read_push(events)
            except (APIError, DockerException, OSError) as error:
                hint = f"`docker login {repository.partition('/')[0]}`, or try `docker push`"
                text = f"{reference}: not pushed: {_text(error)}"
                raise ServiceUnavailable(text, hint=hint) from error

    @contextlib.contextmanager
    def _tag_temporarily(self, image: str, name: str) -> Iterator[None]:
        """Name an image while the block runs; one that had the name gets it back."""
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

    def remove_image(self, name: str) -> bool:
        """Remove an image, if it is there; return whether it was removed."""
        with whole(), contextlib.suppress(APIError):
            self._client.api.remove_image(name, force=True)
            return True
        return False

    def build(self, folder: Path, name: str | None = None) -> str:
        """Build a Dockerfile folder, and return the image's id."""
        settings = {"path": str(folder), "tag": name, "rm": True, "forcerm": True}
        try:
            image, _ = insist(lambda: self._client.images.build(**settings), _is_race)
        except (APIError, BuildError, TypeError) as error:
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

    @contextlib.contextmanager
    def network(self) -> Iterator[str]:
        """Create a network that is gone after the block; return its name."""
        with self._create_temporary(self._client.networks) as name:
            yield name

    @contextlib.contextmanager
    def volume(self) -> Iterator[str]:
        """Create a volume that is gone after the block; return its name."""
        with self._create_temporary(self._client.volumes) as name:
            yield name

    @contextlib.contextmanager
    def _create_temporary(self, kind: Any) -> Iterator[str]:
        with contextlib.ExitStack() as stack:
            with whole():
                name = _temporary_name().replace(":", "-")
                raw = kind.create(name, labels={LABEL: "1", RUN: owner.mark()})
                stack.callback(_remove_made, raw)
            yield name

    def named_in(self, network: str, names: Sequence[str]) -> dict[str, Any]:
        """Return the settings of a container that others reach in a network by some names."""
        endpoint = self._client.api.create_endpoint_config(aliases=list(names))
        return {"network": network, "networking_config": {network: endpoint}}

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

    def list_labelled(self, label: str) -> list[tuple[str, dict[str, str]]]:
        """List the names of images that carry a label, with all their labels."""
        images = self._images(filters={"label": label})
        return sorted((name, each["Labels"]) for each in images for name in each["RepoTags"])

    def _images(self, **wanted: Any) -> list[dict[str, Any]]:
        """List images; the `docker` package's own list fails if one vanishes meanwhile."""
        return [
            {**each, "Labels": each["Labels"] or {}, "RepoTags": each["RepoTags"] or []}
            for each in self._client.api.images(**wanted)
        ]

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
        removed = []
        for what, raw in list(self._left({"label": f"{LABEL}=1"})):
            # Its run may have removed it and ended since it was listed.
            with contextlib.suppress(NotFound):
                raw.reload()
                if dry or raw.remove():
                    removed.append(what)
        return removed

    def _left(self, wanted: dict[str, str]) -> Iterator[tuple[str, Any]]:
        """List what runs that have ended left, with what looks at it again and removes it."""
        containers = self._client.containers
        for raw in containers.list(all=True, filters=wanted, sparse=True):
            if not owner.goes_on((raw.attrs.get("Labels") or {}).get(RUN, "")):
                yield f"container {raw.short_id}", _Left(raw.reload, partial(_remove, raw))
        for kind in ("networks", "volumes"):
            for raw in getattr(self._client, kind).list(filters=wanted):
                labels = raw.attrs.get("Labels") or {}
                if not owner.goes_on(labels.get(RUN, "")):
                    yield f"{kind[:-1]} {raw.name}", _Left(raw.reload, partial(_remove_made, raw))
        for name, image in self._list_left_images(wanted):
            look = partial(self._client.api.inspect_image, name)
            yield f"image {image}", _Left(look, partial(self.remove_image, name))

    def _list_left_images(self, wanted: dict[str, str]) -> Iterator[tuple[str, str]]:
        """Return what to remove, and the short id: names of ours, and images with our label."""
        for image in self._images(name=TEMPORARY):
            ours = [name for name in image["RepoTags"] if name.startswith(f"{TEMPORARY}:")]
            left = (name for name in ours if not owner.goes_on(name.partition(":")[2]))
            yield from ((name, image["Id"][:SHORT]) for name in left)
        for image in self._images(filters=wanted):
            if not owner.goes_on(image["Labels"].get(RUN, "")):
                yield image["Id"], image["Id"][:SHORT]


@dataclass(frozen=True)
class _Left:
    """What was left: how it is looked at again, and removed, with whether it was."""

    reload: Callable[[], Any]
    remove: Callable[[], bool]


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
            return _text(error)
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
            return 127, _text(error).encode()
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
            raise ConnectionError(_text(error)) from error


def _read_push(events: Iterable[dict[str, Any]]) -> str:
    """Read the engine's report of a push, and return the digest."""
    digest = ""
    for event in events:
        if "error" in event:
            raise DockerException(event["error"])
        digest = (event.get("aux") or {}).get("Digest") or digest
    return digest


def _temporary_name() -> str:
    return f"{TEMPORARY}:{owner.mark()}"


def _remove(raw: Any) -> bool:
    """Remove a container, with the anonymous volumes that it made; return whether it was there."""
    with contextlib.suppress(NotFound):
        insist(whole()(partial(raw.remove, force=True, v=True)), _is_busy)
        return True
    return False


def _remove_made(raw: Any) -> bool:
    """Remove a network or a volume; return whether it was removed."""
    with contextlib.suppress(APIError):
        insist(whole()(raw.remove), _is_busy)
        return True
    return False


def _is_race(error: Exception) -> bool:
    """Return whether an image has vanished that another client removed."""
    return isinstance(error, DockerException) and RACE.match(_text(error)) is not None


def _is_busy(error: Exception) -> bool:
    """Return whether something cannot be removed yet: others remove it, or still leave it."""
    return isinstance(error, APIError) and BUSY.search(_text(error)) is not None


def _text(error: Exception) -> str:
    explanation = getattr(error, "explanation", None) or str(error) or type(error).__name__
    return str(explanation).strip().splitlines()[0]
