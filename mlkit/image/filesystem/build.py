"""Images written by hand: the same input gives the same bytes, and so the same image id."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import re
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast

from mlkit.errors import UsageError
from mlkit.image.choices import COMPRESSION, Compression
from mlkit.image.filesystem.archive import CHUNK
from mlkit.image.filesystem.inventory import Entry, Inventory
from mlkit.image.filesystem.platforms import here as here
from mlkit.image.filesystem.referrers import INDEX, MANIFEST, describe
from mlkit.image.filesystem.store import Part
from mlkit.zstd import ZstdFile

GZIP_LEVEL, ZSTD_LEVEL = 6, 3
EPOCH = "1970-01-01T00:00:00Z"
PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
HOST = r"(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9-]+(?=:\d))(?::\d+)?"
TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
NAME = re.compile(rf"(?:{HOST}/)?{PART}(?:/{PART})*(?::{TAG})?")
LONGEST_NAME = 255
KIND = "application/vnd.oci.image"
"""What the media types of configs and layers begin with."""
TYPES = {"file": tarfile.REGTYPE, "directory": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE}


@dataclass(frozen=True)
class Item:
    """One path of a layer to be written, with where its bytes come from.

    Attributes:
        entry: Path, kind, mode, owner, attributes.
        data: The bytes, or the image to copy them from.
    """

    entry: Entry
    data: bytes | Inventory = b""


@dataclass(frozen=True)
class Written:
    """A layer on disk.

    Attributes:
        path: The tar.
        digest: Its SHA-256, which is the diff id.
    """

    path: Path
    digest: str

    @property
    def size(self) -> int:
        """Return its bytes."""
        return self.path.stat().st_size

    def open(self) -> IO[bytes]:
        """Open the tar."""
        return self.path.open("rb")


class Blob(Protocol):
    """A layer that can be read: one that was written, or one of an archive."""

    @property
    def digest(self) -> str:
        """Its SHA-256, in hexadecimal digits."""

    @property
    def size(self) -> int:
        """Its bytes."""

    def open(self) -> IO[bytes] | Part:
        """Open the uncompressed tar."""


def file(
    path: str, data: bytes, mode: int = 0o644, uid: int = 0, gid: int = 0, mtime: float = 0
) -> Item:
    """Make a file from bytes."""
    return Item(Entry(path, "file", mode, uid, gid, size=len(data), mtime=mtime), data)


def directory(path: str, mode: int = 0o755, uid: int = 0, gid: int = 0, mtime: float = 0) -> Item:
    """Make a directory."""
    return Item(Entry(path, "directory", mode, uid, gid, mtime=mtime))


def symlink(path: str, target: str, mtime: float = 0) -> Item:
    """Make a symbolic link."""
    return Item(Entry(path, "symlink", 0o777, target=target, mtime=mtime))


def write_layer(items: Iterable[Item], path: Path, time: float | None = None) -> Written:
    """Write a layer: sorted, parents before children, hard links kept.

    Args:
        items: What it holds.
        path: Where.
        time: Seconds since 1970, of all of it; None: each keeps its own.
    """
    by_path = {item.entry.path: item for item in items}
    for name in list(by_path):
        for parent in parents(name):
            by_path.setdefault(parent, directory(parent))
    first: dict[tuple[int, int, int], str] = {}
    with (
        path.open("wb") as raw,
        tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in sorted(by_path):
            _write(tar, by_path[name], first, time)
    return Written(path, _sha256(path))


def parents(path: str) -> list[str]:
    """List the directories above a path, the highest first."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _write(
    tar: tarfile.TarFile, item: Item, first: dict[tuple[int, int, int], str], time: float | None
) -> None:
    entry = item.entry
    info = tarfile.TarInfo(entry.path)
    info.mtime = entry.mtime if time is None else time
    info.type, info.mode, info.uid, info.gid = TYPES[entry.kind], entry.mode, entry.uid, entry.gid
    info.linkname = entry.target
    info.pax_headers = {f"SCHILY.xattr.{name}": value for name, value in entry.xattrs}
    if entry.kind == "file" and isinstance(item.data, Inventory):
        key = (id(item.data), *entry.content)
        info.linkname = first.setdefault(key, entry.path)
        if info.linkname != entry.path:
            info.type = tarfile.LNKTYPE
            tar.addfile(info)
            return
        info.linkname = ""
    info.size = entry.size if entry.kind == "file" else 0
    tar.addfile(info, _stream(item) if info.size else None)


def _stream(item: Item) -> IO[bytes]:
    if isinstance(item.data, bytes):
        return io.BytesIO(item.data)
    return io.BufferedReader(_Chunks(item.data.chunks(item.entry)))


class _Chunks(io.RawIOBase):
    """Parts of a file as a stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._left or next(self._chunks, b"")
        size = min(len(data), len(buffer))
        buffer[:size], self._left = data[:size], data[size:]
        return size


def digest(item: Item) -> str:
    """Return the SHA-256 of a file's bytes."""
    if isinstance(item.data, bytes):
        return hashlib.sha256(item.data).hexdigest()
    total = hashlib.sha256()
    for chunk in item.data.chunks(item.entry):
        total.update(chunk)
    return total.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def document(
    layers: list[Written], config: dict[str, Any], architecture: str, variant: str | None = None
) -> bytes:
    """Make the config document; its SHA-256 is the image id."""
    value = {
        "architecture": architecture,
        **({"variant": variant} if variant else {}),
        "config": config,
        "created": EPOCH,
        "history": [{"created": EPOCH, "created_by": "mlkit image"} for _ in layers],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{each.digest}" for each in layers]},
    }
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def archive(document: bytes, layers: Sequence[Blob], name: str | None) -> Iterator[bytes]:
    """Return what `docker load` reads, in parts.

    Args:
        document: The config document.
        layers: The layers, lowest first.
        name: With a tag; None: the image gets no name.
    """
    digest = hashlib.sha256(document).hexdigest()
    manifest = [
        {
            "Config": f"{digest}.json",
            "RepoTags": [name] if name else None,
            "Layers": [f"{each.digest}/layer.tar" for each in layers],
        }
    ]
    yield from member(f"{digest}.json", len(document), io.BytesIO(document))
    for each in {each.digest: each for each in layers}.values():
        with each.open() as stream:
            yield from member(f"{each.digest}/layer.tar", each.size, stream)
    text = json.dumps(manifest).encode()
    yield from member("manifest.json", len(text), io.BytesIO(text))
    yield bytes(2 * tarfile.BLOCKSIZE)


def member(name: str, size: int, stream: IO[bytes] | Part) -> Iterator[bytes]:
    """Return a file of a tar, in parts."""
    info = tarfile.TarInfo(name)
    info.size = size
    yield info.tobuf()
    while chunk := stream.read(CHUNK):
        yield chunk
    yield bytes(-size % tarfile.BLOCKSIZE)


def image_id(document: bytes) -> str:
    """Return the id of an image with this config document."""
    return f"sha256:{hashlib.sha256(document).hexdigest()}"


def check_name(name: str) -> str:
    """Return the name of an image if it is one.

    Raises:
        UsageError: It is not.
    """
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        hint = "lower case, such as app:1-slim or registry.example/team/app:1"
        raise UsageError(f"{name}: not the name of an image", hint=hint)
    return name


def with_tag(name: str) -> str:
    """Return a name with its tag."""
    return name if ":" in name.split("/")[-1] else f"{name}:latest"


def write_layout(
    document: bytes,
    layers: Sequence[Written],
    name: str | None,
    folder: Path,
    compression: Compression = COMPRESSION,
) -> str:
    """Write an OCI layout into an empty folder, and return the image id.

    The same layers give the same bytes: neither names nor times are in what is compressed.
    """
    entry, image = write_image(document, layers, make_blobs(folder), compression)
    write_index(folder, entry, name)
    return image


def make_blobs(folder: Path) -> Path:
    """Make the folder of the blobs in a layout that is written."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    return blobs


def write_image(
    document: bytes, layers: Sequence[Written], blobs: Path, compression: Compression = COMPRESSION
) -> tuple[dict[str, Any], str]:
    """Write the blobs of an image; return the descriptor of its manifest, and the image id."""
    config = write_blob(blobs, document, f"{KIND}.config.v1+json")
    suffix = "" if compression == "none" else f"+{compression}"
    described = [
        {"mediaType": f"{KIND}.layer.v1.tar{suffix}", **_compress(each, blobs, compression)}
        for each in layers
    ]
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": described}
    data = json.dumps(manifest, sort_keys=True).encode()
    return write_blob(blobs, data, MANIFEST), str(config["digest"])


def write_index(folder: Path, entry: dict[str, Any], name: str | None) -> None:
    """Write what makes a folder of blobs a layout, last: what leads to all of it.

    Args:
        folder: The layout.
        entry: The descriptor of what it holds: a manifest or an image index.
        name: What it is called.
    """
    if name:
        entry = entry | {"annotations": {"org.opencontainers.image.ref.name": name}}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
    (folder / "index.json").write_text(json.dumps(index, sort_keys=True))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def _compress(layer: Written, blobs: Path, compression: Compression) -> dict[str, Any]:
    """Write a layer into a folder of blobs under its digest, and return digest and size."""
    part = blobs / f"{layer.digest}.part"
    with layer.open() as source, part.open("wb") as raw, _compressor(raw, compression) as target:
        shutil.copyfileobj(source, target, CHUNK)
    digest = _sha256(part)
    part.replace(blobs / digest)
    return {"digest": f"sha256:{digest}", "size": (blobs / digest).stat().st_size}


def _compressor(
    raw: IO[bytes], compression: Compression
) -> contextlib.AbstractContextManager[IO[bytes]]:
    if compression == "gzip":
        return cast(
            IO[bytes],
            gzip.GzipFile(filename="", mode="wb", compresslevel=GZIP_LEVEL, fileobj=raw, mtime=0),
        )
    if compression == "zstd":
        return cast(IO[bytes], ZstdFile(raw, "wb", level=ZSTD_LEVEL))
    return contextlib.nullcontext(raw)


def write_blob(folder: Path, data: bytes, media_type: str) -> dict[str, Any]:
    """Write a document into a folder of blobs, and return its descriptor."""
    described = describe(data, media_type)
    (folder / described["digest"].removeprefix("sha256:")).write_bytes(data)
    return described
