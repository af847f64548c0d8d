"""Image archives: `docker save` tars and OCI layouts, read without an engine."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import posixpath
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Protocol, cast

from mlkit.errors import BadData, InputMissing, ServiceUnavailable
from mlkit.files import FULL
from mlkit.image.filesystem import index
from mlkit.image.filesystem.config import check_config
from mlkit.image.filesystem.index import Listed, Selection
from mlkit.scratch import scratch
from mlkit.zstd import DecompressionParameter, ZstdError, ZstdFile

BOMB_RATIO = 200
"""Factor by which a layer may grow when it is decompressed; checked beyond `BOMB_FLOOR`."""
BOMB_FLOOR = 1 << 30
"""Decompressed bytes of a layer that are never refused."""
CHUNK = 1 << 20
MOST_LINKS = 8
"""Links followed inside an archive."""
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


class Store(Protocol):
    """The named members of an archive."""

    @property
    def size(self) -> int:
        """The bytes of the archive as it is stored."""

    def open(self, name: str) -> Part:
        """Open a member."""

    def close(self) -> None:
        """Let the archive go."""


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


class Part(io.RawIOBase):
    """A part of a file as a file of its own; several can be read at the same time.

    Args:
        file: The whole file.
        begin: Where the part begins.
        size: Its bytes.
        whole: Close the file with the part.
    """

    def __init__(self, file: IO[bytes], begin: int, size: int, whole: bool = False) -> None:
        self._file = file
        self._begin = begin
        self._size = size
        self._whole = whole
        self._at = 0

    def part(self, begin: int, size: int) -> Part:
        """Return a part of this part, in its stead: the file is closed with that one."""
        size = min(size, max(0, self._size - begin))
        whole, self._whole = self._whole, False
        return Part(self._file, self._begin + begin, size, whole)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("an offset before the beginning")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read what fits, from its own place: the file's is left alone."""
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        count = os.preadv(self._file.fileno(), [view], self._begin + self._at) if view else 0
        self._at += count
        return count

    def close(self) -> None:
        """Close it."""
        if self._whole:
            self._file.close()
        super().close()


def open_file(path: Path) -> Part:
    """Open a whole file as a part."""
    return Part(path.open("rb"), 0, path.stat().st_size, whole=True)


class TarStore:
    """The members of a tar file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        try:
            with tarfile.open(fileobj=self._file, mode="r:") as tar:
                self._names = {member.name.removeprefix("./"): member for member in tar}
        except BaseException:
            self._file.close()
            raise
        self.size = path.stat().st_size

    def open(self, name: str) -> Part:
        """Open a member, following links inside the tar."""
        for _ in range(MOST_LINKS):
            member = self._names.get(name)
            if member is None or not (member.issym() or member.islnk()):
                break
            beside = posixpath.dirname(name) if member.issym() else ""
            name = posixpath.normpath(posixpath.join(beside, member.linkname))
        if member is None or not member.isreg() or member.issparse():
            raise BadData(f"{self._path}: {name} is missing", hint="the archive is incomplete")
        return Part(self._file, member.offset_data, member.size)

    def close(self) -> None:
        """Close the tar."""
        self._file.close()


class DirectoryStore:
    """The files of a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())

    def open(self, name: str) -> Part:
        """Open a file of the folder."""
        path = self._path / name
        if ".." in Path(name).parts or Path(name).is_absolute() or not path.is_file():
            raise BadData(f"{self._path}: {name} is missing", hint="the layout is incomplete")
        return open_file(path)

    def close(self) -> None:
        """Do nothing: each file is closed by whoever opened it."""


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
