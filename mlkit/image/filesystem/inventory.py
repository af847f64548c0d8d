"""The merged file system of an image: what a container would see, computed from the layers."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import IO, Any, Literal, cast

from mlkit.errors import BadData
from mlkit.image.filesystem.archive import CHUNK, DAMAGED, Image, Layer
from mlkit.image.filesystem.store import Part
from mlkit.progress import Progress, silent

Kind = Literal["file", "directory", "symlink"]
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
DEEPEST = 255
"""Directories within one another; no real image comes near."""
PATH_MAX = 4096
"""Bytes of a path that Linux takes."""
HOSTILE = "the archive is hostile"
EARLIEST, LATEST = -(1 << 40), 1 << 40
"""Seconds before and after 1970 that a file system may have."""
MAX_LINKS = 40
"""Symbolic links followed before a path counts as a loop, as in Linux."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, directory or symbolic link of an image.

    Attributes:
        path: Without a leading slash.
        kind: What it is.
        mode: Permission bits, with set-id and sticky bits.
        uid: Owner.
        gid: Group.
        size: Bytes of a file.
        target: Where a symbolic link points.
        layer: Index of the layer that holds it.
        offset: Where a file's bytes begin in the layer's tar.
        xattrs: Extended attributes, file capabilities among them.
        mtime: When it was changed, in seconds since 1970.
    """

    path: str
    kind: Kind
    mode: int
    uid: int = 0
    gid: int = 0
    size: int = 0
    target: str = ""
    layer: int = 0
    offset: int = 0
    xattrs: tuple[tuple[str, str], ...] = ()
    mtime: float = 0

    @property
    def content(self) -> tuple[int, int]:
        """Return where the bytes are; hard links share it."""
        return self.layer, self.offset


@dataclass
class FileSystem:
    """A tree of entries by path, with the rules of path look-up inside the image.

    Attributes:
        entries: Path to entry; every parent directory is there.
        children: Directory to the names in it.
        dropped: Device nodes, FIFOs and sockets: they are left out.
        stored: Bytes of the files of all layers, overwritten and deleted ones among them.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    children: dict[str, set[str]] = field(default_factory=lambda: {"": set()})
    dropped: list[str] = field(default_factory=list)
    stored: int = 0

    def __contains__(self, path: str) -> bool:
        return path in self.entries

    def get(self, path: str) -> Entry | None:
        """Return the entry at a path, without following links."""
        return self.entries.get(path)

    def add(self, entry: Entry) -> None:
        """Put an entry in its place; what is not a directory takes away what was below."""
        parent, _, name = entry.path.rpartition("/")
        if parent and self._kind(parent) != "directory":
            self.add(Entry(parent, "directory", 0o755, layer=entry.layer))
        if entry.kind != "directory" and entry.path in self.children:
            self.remove(entry.path)
        self.entries[entry.path] = entry
        self.children.setdefault(parent, set()).add(name)
        if entry.kind == "directory":
            self.children.setdefault(entry.path, set())

    def remove(self, path: str) -> None:
        """Take a path and all below it away."""
        for name in sorted(self.children.pop(path, ())):
            self.remove(f"{path}/{name}")
        if self.entries.pop(path, None):
            parent, _, name = path.rpartition("/")
            self.children.get(parent, set()).discard(name)

    def below(self, path: str) -> Iterator[str]:
        """List the paths under a directory, in order."""
        for name in sorted(self.children.get(path, ())):
            each = f"{path}/{name}" if path else name
            yield each
            yield from self.below(each)

    def walk(self, path: str) -> tuple[str | None, list[str]]:
        """Resolve a path as `chroot` would.

        Args:
            path: Absolute, or relative to the root; `..` at the root stays there.

        Returns:
            The path without links (None: it leads nowhere), and the links that were followed.
        """
        todo, here = _parts(path), ""
        links: list[str] = []
        while todo:
            name = todo.pop(0)
            if name == "..":
                here = here.rpartition("/")[0]
                continue
            step = f"{here}/{name}" if here else name
            entry = self.entries.get(step)
            if entry is None or (todo and entry.kind == "file"):
                return None, links
            if entry.kind != "symlink":
                here = step
                continue
            links.append(step)
            if len(links) > MAX_LINKS:
                return None, links
            here = "" if entry.target.startswith("/") else here
            todo = _parts(entry.target) + todo
        return here, links

    def resolve(self, path: str) -> Entry | None:
        """Return the entry that a path leads to, following links."""
        real, _ = self.walk(path)
        return self.entries.get(real) if real else None

    def real_parent(self, path: str) -> str:
        """Return a path with the links of its directory resolved, but not its own."""
        parts = path.split("/")
        for count in range(len(parts) - 1, 0, -1):  # directories that are still to come are none
            real, _ = self.walk("/".join(parts[:count]))
            if real is not None:
                return "/".join([real, *parts[count:]]).lstrip("/")
        return path

    def _kind(self, path: str) -> Kind | None:
        entry = self.entries.get(path)
        return entry.kind if entry else None


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in {"", "."}]


@dataclass
class Inventory:
    """An image with its merged file system.

    Attributes:
        image: Where it came from.
        files: The merged file system.
    """

    image: Image
    files: FileSystem

    def read(self, entry: Entry, length: int = -1) -> bytes:
        """Read a file's bytes, or its first `length`."""
        size = entry.size if length < 0 else min(length, entry.size)
        with self.open(entry) as stream:
            return stream.read(size)

    def open(self, entry: Entry) -> IO[bytes]:
        """Open a file, which may be too large to be read as a whole; it can be sought."""
        layer = self.image.layers[entry.layer].open()
        return io.BufferedReader(layer.part(entry.offset, entry.size))

    def read_path(self, path: str) -> bytes | None:
        """Read the file that a path leads to; None if there is none."""
        entry = self.files.resolve(path)
        return self.read(entry) if entry and entry.kind == "file" else None

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        """Read a file in parts."""
        with self.open(entry) as stream:
            while chunk := stream.read(CHUNK):
                yield chunk

    def content(self, entry: Entry) -> object:
        """Return what files with the same bytes at the same place, hard links, have in common."""
        return entry.content

    @property
    def size(self) -> int:
        """Return the bytes of all files, hard links counted once."""
        files = (entry for entry in self.files.entries.values() if entry.kind == "file")
        return sum({self.content(entry): entry.size for entry in files}.values())


def take(image: Image, progress: Progress = silent) -> Inventory:
    """Merge an image's layers; each is read once, and its digest is checked.

    Raises:
        BadData: A layer is damaged, or names a path that leaves the root.
    """
    files = FileSystem()
    for number, layer in enumerate(image.layers):
        progress(number, len(image.layers))
        where = f"{image.source}: layer {number + 1}"
        with ThreadPoolExecutor(1) as other:  # both wait for the disk; neither needs the other
            found = other.submit(_digest, layer)
            with layer.open() as stream:
                apply(files, _members(stream, where), number, where)
        if found.result() != layer.diff_id:
            raise BadData(f"{where}: its digest is not {layer.diff_id}", hint="save it again")
    return Inventory(image, files)


def _digest(layer: Layer) -> str:
    with layer.open() as stream:
        return f"sha256:{hashlib.file_digest(cast(Any, stream), 'sha256').hexdigest()}"


def _members(stream: Part, where: str) -> Iterator[tarfile.TarInfo]:
    try:
        buffered = io.BufferedReader(stream)
        with tarfile.open(fileobj=buffered, mode="r:", errorlevel=2) as tar:
            for member in tar:
                yield member
                cast(Any, tar).members.clear()  # or tarfile keeps them all
    except (*DAMAGED, OverflowError) as error:
        if isinstance(error, BadData):
            raise
        raise BadData(f"{where}: {error}", hint="the archive is damaged") from error


def apply(files: FileSystem, members: Iterable[tarfile.TarInfo], layer: int, where: str) -> None:
    """Apply a layer to the tree by the OCI image specification ("Applying Changesets").

    Whiteouts and opaque marks hide what lower layers hold, never what this layer adds.

    Raises:
        BadData: A name has `..`, or a hard link leads nowhere or out of the image.
    """
    fresh: set[str] = set()
    for member in members:
        path = files.real_parent(_clean(member.name, where))
        if path.count("/") > DEEPEST:
            raise BadData(f"{where}: {path[:60]}...: nested too deeply", hint=HOSTILE)
        parent, _, name = path.rpartition("/")
        if name == OPAQUE:
            _hide_below(files, parent, fresh)
        elif name.startswith(WHITEOUT):
            if not name.startswith(".wh..wh."):  # the bookkeeping of AUFS
                _hide(files, f"{parent}/{name[len(WHITEOUT) :]}".lstrip("/"), fresh)
        elif path:
            _add(files, member, path, layer, where)
            fresh.add(path)


def _clean(name: str, where: str) -> str:
    if len(name) > PATH_MAX:
        raise BadData(f"{where}: {name[:60]!r}...: longer than {PATH_MAX} bytes", hint=HOSTILE)
    parts = _parts(name)
    if len(parts) > DEEPEST:
        raise BadData(f"{where}: {name[:60]!r}...: nested too deeply", hint=HOSTILE)
    if ".." in parts:
        raise BadData(f"{where}: the name {name!r} leaves the image", hint=HOSTILE)
    return "/".join(parts)


def _hide(files: FileSystem, path: str, fresh: set[str]) -> None:
    """Remove a path of lower layers; what this layer has put there stays."""
    _hide_below(files, path, fresh)
    if path not in fresh and not files.children.get(path):
        files.remove(path)


def _hide_below(files: FileSystem, path: str, fresh: set[str]) -> None:
    for name in sorted(files.children.get(path, ())):
        _hide(files, f"{path}/{name}" if path else name, fresh)


def _add(files: FileSystem, member: tarfile.TarInfo, path: str, layer: int, where: str) -> None:
    if member.issparse():
        raise BadData(f"{where}: {member.name!r} is a sparse file", hint="save the image again")
    if member.islnk():
        files.add(replace(_find_linked(files, member, where), path=path))
    elif member.isreg() or member.isdir() or member.issym():
        entry = _entry(member, path, layer, where)
        files.stored += entry.size
        files.add(entry)
    else:
        files.dropped.append(path)


def _find_linked(files: FileSystem, member: tarfile.TarInfo, where: str) -> Entry:
    target = files.get(files.real_parent(_clean(member.linkname, where)))
    if target is None or target.kind == "directory":
        raise BadData(f"{where}: {member.name!r} is a hard link to {member.linkname!r}: no file")
    return target


def _entry(member: tarfile.TarInfo, path: str, layer: int, where: str) -> Entry:
    if len(member.linkname) > PATH_MAX:
        text = f"{where}: {member.name[:60]!r} points to more than {PATH_MAX} bytes"
        raise BadData(text, hint=HOSTILE)
    kind: Kind = "directory" if member.isdir() else "symlink" if member.issym() else "file"
    prefix = "SCHILY.xattr."
    xattrs = sorted(
        (key.removeprefix(prefix), value)
        for key, value in member.pax_headers.items()
        if key.startswith(prefix)
    )
    return Entry(
        path=path,
        kind=kind,
        mode=member.mode & 0o7777,
        uid=member.uid,
        gid=member.gid,
        size=member.size if kind == "file" else 0,
        target=member.linkname if kind == "symlink" else "",
        layer=layer,
        offset=member.offset_data,
        xattrs=tuple(xattrs),
        mtime=_time(member, where),
    )


def _time(member: tarfile.TarInfo, where: str) -> float:
    """Return a member's time; whole seconds as a whole number."""
    time = float(member.mtime)
    if not EARLIEST <= time <= LATEST:  # no number at all is not between them either
        raise BadData(f"{where}: {member.name[:60]!r}: a time out of range", hint=HOSTILE)
    return int(time) if time.is_integer() else time
