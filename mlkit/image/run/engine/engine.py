"""A connection to the Docker Engine: its images, and what is made in it and goes away again."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import docker
from docker.errors import APIError, BuildError, DockerException, ImageNotFound, NotFound

from mlkit.errors import BadData, InputMissing, ServiceUnavailable
from mlkit.image.filesystem import build
from mlkit.image.filesystem.archive import CHUNK
from mlkit.image.filesystem.build import Blob
from mlkit.image.run import owner
from mlkit.image.run.again import insist
from mlkit.image.run.engine.container import Container, remove, remove_made
from mlkit.image.run.engine.failures import first_line, is_race, system_reason
from mlkit.interruption import whole

LABEL = "io.mlkit.image.temporary"
"""On everything that a run makes in the engine and takes away again."""
RUN = f"{LABEL}.run"
"""The label that identifies the run."""
TEMPORARY = "mlkit-temporary"
"""The name of images that a run takes away again, each with a tag of its own."""
ID = re.compile(r"[0-9a-f]{64}")
SHORT = len("sha256:") + 12
TIMEOUT = 600
"""Seconds without a byte: a busy engine packs or unpacks for minutes before it answers anything."""


def credentials(registry: str) -> dict[str, str] | None:
    """Return what `docker login` has stored for a registry in Docker's own settings."""
    try:
        found = docker.auth.load_config().resolve_authconfig(registry)
    except DockerException as error:
        raise ServiceUnavailable(f"{registry}: no credentials: {first_line(error)}") from error
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
            place = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
            problem = f"no Docker Engine at {place}: {system_reason(error)}"
            raise ServiceUnavailable(problem, hint=hint) from error

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
            raise BadData(f"{name}: {first_line(error)}") from error

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
            archive: Returns the archive in parts, again for each attempt.
        """
        try:
            # A list would be encoded as a form: `requests` streams what can only be iterated.
            return str(insist(lambda: self._client.images.load(iter(archive())), is_race)[0].id)
        except (DockerException, IndexError) as error:
            raise ServiceUnavailable(
                f"the engine refuses the image: {first_line(error)}"
            ) from error

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
            raise BadData(f"{name}: {first_line(error)}") from error

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
                text = f"{reference}: not pushed: {first_line(error)}"
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
            image, _ = insist(lambda: self._client.images.build(**settings), is_race)
        except (APIError, BuildError, TypeError) as error:
            hint = "`docker build` shows its whole output"
            raise BadData(f"{folder}: the build fails: {first_line(error)}", hint=hint) from error
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
                stack.callback(remove, raw)
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
                stack.callback(remove_made, raw)
            yield name

    def named_in(self, network: str, names: Sequence[str]) -> dict[str, Any]:
        """Return the settings of a container that others reach in a network by some names."""
        endpoint = self._client.api.create_endpoint_config(aliases=list(names))
        return {"network": network, "networking_config": {network: endpoint}}

    def abandon(self) -> None:
        """Remove all containers of this connection; whoever asks them something meets an error."""
        for raw in list(self._live):
            with contextlib.suppress(APIError):
                remove(raw)

    def _create(self, image: str, settings: dict[str, Any]) -> Any:
        try:
            labels = {LABEL: "1", RUN: owner.mark()}
            return self._client.containers.create(image, labels=labels, **settings)
        except (APIError, DockerException) as error:
            hint = "look at the image's config, and at --volume and --network"
            raise BadData(f"{image}: no container: {first_line(error)}", hint=hint) from error

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
            raise BadData(f"{name}: {first_line(error)}") from error

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
                yield f"container {raw.short_id}", _Left(raw.reload, partial(remove, raw))
        for kind in ("networks", "volumes"):
            for raw in getattr(self._client, kind).list(filters=wanted):
                labels = raw.attrs.get("Labels") or {}
                if not owner.goes_on(labels.get(RUN, "")):
                    yield f"{kind[:-1]} {raw.name}", _Left(raw.reload, partial(remove_made, raw))
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
