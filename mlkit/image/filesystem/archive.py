"""Image archives: `docker save` tars and OCI layouts, read without an engine."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

from mlkit.errors import BadData, InputMissing, ServiceUnavailable
from mlkit.files import FULL
from mlkit.image.filesystem import index
from mlkit.image.filesystem.config import check_config
from mlkit.image.filesystem.index import Listed, Selection
from mlkit.image.filesystem.store import DirectoryStore, Part, Store, TarStore, open_file
from mlkit.scratch import scratch
from mlkit.zstd import DecompressionParameter, ZstdError, ZstdFile

BOMB_RATIO = 200
"""Factor by which a layer may grow when it is decompressed; checked beyond `BOMB_FLOOR`."""
BOMB_FLOOR = 1 << 30
"""Decompressed bytes of a layer that are never refused."""
CHUNK = 1 << 20
WINDOW_LOG = 27
"""The largest window of zstd that is read, as a power of two, as `zstd` itself has it."""


DOCKER = "manifest.json"
"""What lists the images of a `docker save` archive."""
DAMAGED = (
    *(tarfile.TarError, gzip.BadGzipFile, zlib.error, ZstdError, OverflowError),
    *(EOFError, ValueError, LookupError, TypeError, AttributeError, RecursionError),
)
"""What a damaged or hostile archive makes the readers raise."""
GZIP, ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class Layer:
    """One layer: an uncompressed tar in a store.

    Attributes:
        diff_id: `sha256:...` of the uncompressed tar, as the config states it.
        path: The uncompressed tar, if it had to be unpacked; else it lies in the store.
        name: The member of the store.
        store: The archive's members.
    """

    diff_id: str
    name: str
    store: Store
    path: Path | None = None

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the uncompressed tar, in hexadecimal digits."""
        return self.diff_id.partition(":")[2]

    @property
    def size(self) -> int:
        """Return the bytes of the uncompressed tar."""
        with self.open() as stream:
            return stream.seek(0, os.SEEK_END)

    def open(self) -> Part:
        """Open the uncompressed tar."""
        return open_file(self.path) if self.path else self.store.open(self.name)


@dataclass(frozen=True)
class Image:
    """An image: its config document, and its layers from the lowest up.

    Attributes:
        source: What the user named.
        document: The whole config document (`architecture`, `os`, `config`, `rootfs`, ...).
        layers: The layers, lowest first.
        raw: The config document as it is stored: its SHA-256 is the image's id.
        others: What the index that it came from holds besides: platforms, attestations.
    """

    source: str
    document: dict[str, Any]
    layers: tuple[Layer, ...]
    raw: bytes = b""
    others: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Return the image's id."""
        return f"sha256:{hashlib.sha256(self.raw).hexdigest()}"

    @property
    def config(self) -> dict[str, Any]:
        """Return what the container runs: Entrypoint, Cmd, Env, User, and so on."""
        return self.document.get("config") or {}


@contextlib.contextmanager
def open_image(
    path: Path, source: str | None = None, platform: str | Listed | None = None
) -> Iterator[Image]:
    """Open a `docker save` archive, an OCI layout, or a tar of one.

    Compressed layers are unpacked into a temporary folder, which is gone after the block.

    Args:
        path: The archive or the folder.
        source: What to call it in messages.
        platform: Which image of an index; None: that of this machine.

    Raises:
        InputMissing: There is nothing at `path`.
        BadData: It is not an image, is damaged, or is an image for another system.
    """
    if not path.exists():
        raise InputMissing(f"{path}: not found")
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(scratch("mlkit-image-"))
        with _refusing(path):
            store = stack.enter_context(contextlib.closing(_store(path, work)))
            image = _read(store, source or str(path), work, platform)
        yield image


def select_images(path: Path, wanted: Sequence[str] | None) -> Selection:
    """Select the images of an OCI layout, or a tar of one, that are slimmed into one index.

    Args:
        path: The layout.
        wanted: Platforms; None: all that this machine can run.

    Raises:
        BadData: It has no index, or one that cannot be used.
    """
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(scratch("mlkit-image-"))
        stack.enter_context(_refusing(path))
        store = stack.enter_context(contextlib.closing(_store(path, work)))
        if not _holds(store, index.ROOT):
            raise BadData(f"{path}: one image, and no index", hint=index.HINT)
        return index.select(store, str(path), wanted)


def _store(path: Path, work: Path) -> Store:
    """Return what an archive holds; one that is compressed is unpacked beside."""
    if path.is_dir():
        return DirectoryStore(path)
    with path.open("rb") as stream:
        if not stream.read(4).startswith((GZIP, ZSTANDARD)):
            return TarStore(path)
        _unpack(stream, path.name, path.stat().st_size, work / "archive.tar")
    store = TarStore(work / "archive.tar")
    store.size = path.stat().st_size
    return store


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn what a damaged archive raises into an error for the user."""
    try:
        yield
    except BadData:
        raise
    except OSError as error:
        if error.errno in FULL:
            raise
        reason = error.strerror or "it is damaged"
        raise InputMissing(f"{path}: cannot be read: {reason}") from error
    except DAMAGED as error:
        hint = "use a `docker save` archive or an OCI layout"
        raise BadData(f"{path}: not a readable image: {error}", hint=hint) from error


def _read(store: Store, source: str, work: Path, platform: str | Listed | None) -> Image:
    others: tuple[str, ...] = ()
    if isinstance(platform, Listed):
        manifest = index.read_manifest(store, platform)
    elif _holds(store, DOCKER):
        manifest = index.read(store, DOCKER)[0]
        return _assemble(store, source, work, manifest["Config"], manifest["Layers"])
    else:
        manifest, others = index.find_manifest(store, source, platform)
    layers = [index.blob(layer["digest"]) for layer in manifest["layers"]]
    image = _assemble(store, source, work, index.blob(manifest["config"]["digest"]), layers)
    return replace(image, others=others)


def _holds(store: Store, name: str) -> bool:
    try:
        store.open(name).close()
    except BadData:
        return False
    return True


def _assemble(store: Store, source: str, work: Path, config: str, names: list[str]) -> Image:
    raw = index.document(store, config)
    document = json.loads(raw)
    if document.get("os", "linux") != "linux":
        raise BadData(f"{source}: an image for {document['os']}; only Linux images are understood")
    ids = document["rootfs"]["diff_ids"]
    if len(ids) != len(names):
        raise BadData(f"{source}: {len(names)} layers, but the config names {len(ids)}")
    check_config(document, source)
    unpacked: dict[str, Layer] = {}
    total, limit = 0, max(BOMB_FLOOR, BOMB_RATIO * store.size)
    layers = []
    for number, (diff, name) in enumerate(zip(ids, names, strict=True)):
        if name not in unpacked:
            unpacked[name] = _layer(store, name, diff, work / f"{number}.tar")
        total += unpacked[name].size  # one that is named twice is unpacked once, and counts twice
        if total > limit:
            text = f"{source}: {store.size} bytes unpack to more than {limit}"
            raise BadData(f"{text}: a decompression bomb?", hint="the archive is hostile")
        layers.append(replace(unpacked[name], diff_id=diff))
    return Image(source, document, tuple(layers), raw)


def _layer(store: Store, name: str, diff_id: str, spare: Path) -> Layer:
    """Return a layer; if it is compressed, unpack it beside, so that it can be sought."""
    with store.open(name) as stream:
        if not stream.read(4).startswith((GZIP, ZSTANDARD)):
            return Layer(diff_id, name, store)
        size = stream.seek(0, 2)
        stream.seek(0)
        _unpack(cast(IO[bytes], stream), name, size, spare)
    return Layer(diff_id, name, store, spare)


def _unpack(stream: IO[bytes], name: str, size: int, target: Path) -> None:
    """Decompress a layer to a file, but not a bomb."""
    limit, written = max(BOMB_FLOOR, BOMB_RATIO * size), 0
    _check_space(target, size)
    with decompress(stream) as source, target.open("wb") as file:
        while chunk := source.read(CHUNK):
            written += len(chunk)
            if written > limit:
                raise BadData(
                    f"{name}: {size} bytes unpack to more than {limit}: a decompression bomb?"
                )
            file.write(chunk)


def decompress(stream: IO[bytes]) -> IO[bytes]:
    """Open a stream that is compressed with gzip or zstd."""
    stream.seek(0)
    magic = stream.read(4)
    stream.seek(0)
    if magic.startswith(GZIP):
        return cast(IO[bytes], gzip.open(stream))
    options = {int(DecompressionParameter.window_log_max): WINDOW_LOG}
    return cast(IO[bytes], ZstdFile(stream, options=options))


def _check_space(target: Path, needed: int) -> None:
    if shutil.disk_usage(target.parent).free < needed:
        hint = "free some, or point TMPDIR to a larger disk"
        raise ServiceUnavailable(f"{target.parent}: no space left to unpack a layer", hint=hint)
