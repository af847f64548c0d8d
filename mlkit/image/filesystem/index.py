"""The index of an archive: the documents that it leads to, and the images that it lists.

A layout's `index.json` lists manifests, or leads to the image index that does. All of it is named
by digest, so no index can list itself; how deep they nest is limited.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mlkit.errors import BadData
from mlkit.image.filesystem import platforms
from mlkit.image.filesystem.platforms import Refused
from mlkit.image.filesystem.referrers import INDEX
from mlkit.image.filesystem.store import Store

ROOT = "index.json"
"""The document of a layout that leads to all others."""
HINT = "copy all its platforms from a registry: `skopeo copy --all docker://REF oci:DIR`"
"""How a user gets an index."""
LEVELS = 4
"""How deep indexes may nest, `index.json` among them; what tools write has two."""
LARGEST_DOCUMENT = 16 << 20
"""Bytes of a manifest or a config."""
DIGEST = re.compile(r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})")
BLOB = re.compile(r"blobs/(sha256|sha512)/([0-9a-f]+)")
INDEXES = {INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"}
CONFIGS = {
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
}
"""Media types of configs; the manifest of an artifact has another one."""


@dataclass(frozen=True)
class Listed:
    """An image of an index.

    Attributes:
        platform: As an index describes it: `os`, `architecture`, `variant`, and so on.
        entry: The descriptor of its manifest.
    """

    platform: dict[str, Any]
    entry: dict[str, Any]

    @property
    def name(self) -> str:
        """Return its platform as the user names it, such as `linux/arm64`."""
        return platforms.name(self.platform)


@dataclass(frozen=True)
class Dropped:
    """What an index lists besides images: it is about one of them, and not of its copy.

    Attributes:
        kind: Such as `attestation-manifest`.
        digest: Of its manifest.
        platform: That of the image that it is about, if the index states it.
    """

    kind: str
    digest: str
    platform: str | None


@dataclass(frozen=True)
class Selection:
    """The images of an index that are slimmed, and what becomes of the rest.

    Attributes:
        images: In the order of the index.
        refused: Those that are not slimmed, and why.
        dropped: What is about images.
    """

    images: list[Listed]
    refused: list[Refused]
    dropped: list[Dropped]


def read(store: Store, name: str) -> Any:
    """Read a JSON document."""
    return json.loads(document(store, name))


def document(store: Store, name: str) -> bytes:
    """Read the bytes of a document; one that is named by its digest has to have it."""
    with store.open(name) as stream:
        data = stream.read(LARGEST_DOCUMENT + 1)
    if len(data) > LARGEST_DOCUMENT:
        raise BadData(f"{name}: more than {LARGEST_DOCUMENT} bytes")
    named = BLOB.fullmatch(name)
    if named is not None and hashlib.new(named[1], data).hexdigest() != named[2]:
        raise BadData(f"{name}: its digest does not match", hint="the archive is damaged")
    return data


def blob(digest: str) -> str:
    """Return the name of the blob that has a digest.

    Raises:
        BadData: It is none of SHA-256 or SHA-512, which can be checked.
    """
    if not DIGEST.fullmatch(digest):
        raise BadData(f"digest {digest}: not understood", hint="sha256:... or sha512:...")
    return f"blobs/{digest.replace(':', '/')}"


def find_manifest(
    store: Store, source: str, wanted: str | None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the manifest for a platform, and what else the indexes on the way to it list."""
    found: dict[str, Any] = read(store, ROOT)
    others: list[str] = []
    for _ in range(LEVELS):
        entry, more = platforms.choose(found["manifests"], source, wanted)
        others += more
        found = _read_described(store, entry)
        if "manifests" not in found:
            return found, tuple(others)
    raise _too_deep(source)


def read_manifest(store: Store, image: Listed) -> dict[str, Any]:
    """Return the manifest of one image of an index.

    Raises:
        BadData: It is missing, damaged, or none.
    """
    found = _read_described(store, image.entry)
    if "manifests" in found:
        raise BadData(f"{blob(image.entry['digest'])}: an index, not the manifest of {image.name}")
    return found


def select(store: Store, source: str, wanted: Sequence[str] | None) -> Selection:
    """Select the images of an index that are slimmed, and check that they are complete.

    Args:
        store: The archive.
        source: What the user named.
        wanted: Platforms; None: all that this machine can run.

    Raises:
        BadData: It lists no image for one of them, or none that can be run; two images are for
            one platform; a document is missing or damaged.
    """
    dropped: list[tuple[dict[str, Any], str]] = []
    images = list(_walk(store, source, read(store, ROOT), 1, set(), dropped))
    named = {each.entry["digest"]: each.name for each in images}
    gone = [
        Dropped(kind, str(entry["digest"]), named.get(platforms.subject(entry)))
        for entry, kind in dropped
    ]
    _refuse_twice(images, source)
    if not images:
        held = ", ".join(sorted({each.kind for each in gone})) or "nothing"
        raise BadData(f"{source}: no image in the index, which holds {held}")
    chosen, refused = _choose(images, source, wanted)
    for image in chosen:
        _check(store, image)
    return Selection(chosen, refused, gone)


def _choose(
    images: list[Listed], source: str, wanted: Sequence[str] | None
) -> tuple[list[Listed], list[Refused]]:
    if wanted is None:
        problems = [platforms.problem(each.platform) for each in images]
    else:
        entries = [each.entry | {"platform": each.platform} for each in images]
        taken = [platforms.choose(entries, source, each)[0] for each in wanted]
        places = {next(n for n, each in enumerate(entries) if each is one) for one in taken}
        if len(places) < len(taken):
            raise BadData(f"{source}: two of {', '.join(wanted)} are the same image of the index")
        problems = [None if n in places else "not asked for" for n, _ in enumerate(entries)]
    judged = list(zip(images, problems, strict=True))
    refused = [Refused(image.name, why) for image, why in judged if why]
    if len(refused) == len(images):
        text = "; ".join(f"{each.platform}: {each.reason}" for each in refused)
        hint = "register emulators (binfmt_misc), such as by Debian's qemu-user-static"
        raise BadData(f"{source}: no image in the index can be run here: {text}", hint=hint)
    return [image for image, why in judged if not why], refused


def _walk(
    store: Store, source: str, index: dict[str, Any], level: int, seen: set[str],
    dropped: list[tuple[dict[str, Any], str]],
) -> Iterator[Listed]:  # fmt: skip
    """Yield the images that an index lists, each once; add what is about images to `dropped`."""
    if level > LEVELS:
        raise _too_deep(source)
    for entry in index["manifests"]:
        digest, found, media_type = entry["digest"], entry.get("platform"), entry.get("mediaType")
        if f"{digest} {found}" in seen:
            continue
        seen.add(f"{digest} {found}")
        if kind := platforms.kind(entry):
            dropped.append((entry, kind))
            continue
        if found is None or media_type is None or media_type in INDEXES:
            document = _read_described(store, entry)
            if "manifests" in document:
                yield from _walk(store, source, document, level + 1, seen, dropped)
                continue
            config = document["config"]
            if config.get("mediaType", min(CONFIGS)) not in CONFIGS:
                dropped.append((entry, str(document.get("artifactType", config["mediaType"]))))
                continue
            found = found or _read_described(store, config)
        yield Listed(platforms.describe(found), entry)


def _too_deep(source: str) -> BadData:
    return BadData(f"{source}: indexes nest more than {LEVELS} deep")


def _refuse_twice(images: list[Listed], source: str) -> None:
    first: dict[tuple[Any, ...], Listed] = {}
    for each in images:
        other = first.setdefault(platforms.key(each.platform), each)
        if other is not each:
            digests = " and ".join(str(one.entry["digest"])[:19] for one in (other, each))
            hint = "copy one of its images into a layout of its own: `skopeo copy --all`"
            raise BadData(f"{source}: two images for {each.name}: {digests}", hint=hint)


def _check(store: Store, image: Listed) -> None:
    """Make sure that all blobs of an image are there, and as long as their descriptors say.

    The digests of layers are checked as they are read.
    """
    manifest = read_manifest(store, image)
    _read_described(store, manifest["config"])
    for layer in manifest["layers"]:
        name = blob(layer["digest"])
        with store.open(name) as stream:
            _check_size(name, layer, stream.seek(0, os.SEEK_END))


def _read_described(store: Store, entry: dict[str, Any]) -> dict[str, Any]:
    """Read the document that a descriptor names."""
    name = blob(entry["digest"])
    data = document(store, name)
    _check_size(name, entry, len(data))
    found = json.loads(data)
    if not isinstance(found, dict):
        raise BadData(f"{name}: neither an index nor a manifest nor a config")
    return found


def _check_size(name: str, entry: dict[str, Any], size: int) -> None:
    if entry.get("size", size) != size:
        text = f"{name}: {size} bytes, but its descriptor states {entry['size']}"
        raise BadData(text, hint="the archive is damaged")
