"""ELF files: what a program or library needs, and where its loader would look."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from mlkit.image.archive import CHUNK
from mlkit.image.inventory import FileSystem, Inventory

MAGIC = b"\x7fELF"
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NULL, DT_NEEDED, DT_STRTAB, DT_RPATH, DT_RUNPATH = 0, 1, 5, 15, 29
LONGEST_NAME = 4096
"""Bytes of a path, as Linux has it, and more than any name for a loader."""
MOST_TAGS = 1 << 16
"""Entries of a dynamic section; real ones have about thirty."""
LONGEST = 4 << 20
"""Bytes without a zero among them that are held at a time."""
TRIPLETS = ("x86_64-linux-gnu", "aarch64-linux-gnu")
PLACES = (
    *(f"{top}/{triplet}" for triplet in TRIPLETS for top in ("lib", "usr/lib")),
    *("lib64", "usr/lib64", "lib", "usr/lib", "usr/local/lib"),
)
"""Where glibc and musl look after RUNPATH and the directories of ld.so.conf."""


@dataclass(frozen=True)
class Elf:
    """The dynamic part of an ELF file.

    Attributes:
        interpreter: The loader it asks for; None in a library and a static program.
        needed: DT_NEEDED.
        runpath: DT_RUNPATH or DT_RPATH, split.
    """

    interpreter: str | None
    needed: tuple[str, ...]
    runpath: tuple[str, ...]


NOTHING = Elf(None, (), ())
"""Who asks for a library by name only."""
BUILT_IN = {"libnss_files", "libnss_dns", "libresolv"}


def functions(file: IO[bytes], names: frozenset[str]) -> frozenset[str]:
    """Say which functions of some an ELF file names; it may import them."""
    left = {b"\0" + name.encode() + b"\0": name for name in names}
    found = set()
    for text in pieces(file):
        for word in [each for each in left if each in text]:
            found.add(left.pop(word))
    return frozenset(found)


def pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Read a file in pieces that end, and begin, with a zero byte: no name is cut.

    What has no zero byte in many pieces' length is cut all the same, so that memory is bounded.
    """
    file.seek(0)
    rest = b""
    while chunk := file.read(CHUNK):
        cut = chunk.rfind(b"\0")
        if cut < 0 and len(rest) < LONGEST:
            rest += chunk
            continue
        yield rest + chunk[: cut + 1]
        rest = chunk[cut:] if cut >= 0 else chunk
    yield rest


def parse(file: IO[bytes]) -> Elf | None:
    """Parse an ELF file, of which little is read; None if it is none that a loader would take."""
    try:
        return _parse(Reader(file))
    except (struct.error, ValueError, OverflowError, UnicodeDecodeError):
        return None


class Reader:
    """The numbers of an ELF file, in its own byte order and width (System V ABI, chapter 4).

    Raises:
        ValueError: It is no ELF file.
        struct.error: It is too short.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        magic = self.read(0, 16)
        if magic[:4] != MAGIC or magic[4] not in {1, 2} or magic[5] not in {1, 2}:
            raise ValueError("no ELF file")
        self.wide = magic[4] == 2
        self._order = "<" if magic[5] == 1 else ">"

    def read(self, at: int, size: int) -> bytes:
        """Read bytes; fewer if the file ends before."""
        self._file.seek(at)
        return self._file.read(size)

    def numbers(self, narrow: str, wide: str, at: int) -> tuple[int, ...]:
        """Read numbers, by the format of `struct` for 32 bits or that for 64."""
        form = self._order + (wide if self.wide else narrow)
        return struct.unpack(form, self.read(at, struct.calcsize(form)))


def _parse(reader: Reader) -> Elf:
    (begin,) = reader.numbers("I", "Q", 32 if reader.wide else 28)
    size, count = reader.numbers("HH", "HH", 54 if reader.wide else 42)
    segments = [_segment(reader, begin + number * size) for number in range(count)]
    loaded = [each for each in segments if each.kind == PT_LOAD]
    interpreter, tags = None, list[tuple[int, int]]()
    for each in segments:
        if each.kind == PT_INTERP:
            interpreter = _text(reader, each.offset)
        elif each.kind == PT_DYNAMIC:
            tags += _tags(reader, each)
    found = {DT_NEEDED: list[str](), DT_RPATH: [], DT_RUNPATH: []}
    strings = next((_place(loaded, value) for tag, value in tags if tag == DT_STRTAB), 0)
    for tag, value in tags:
        if tag in found:
            found[tag].append(_text(reader, strings + value))
    places = ":".join([*found[DT_RUNPATH], *found[DT_RPATH]])
    runpath = places.split(":") if places else []
    return Elf(interpreter, tuple(found[DT_NEEDED]), tuple(runpath))


@dataclass(frozen=True)
class Segment:
    """A program header: its type, where it lies in the file and in memory, and its bytes."""

    kind: int
    offset: int
    address: int
    size: int


def _segment(reader: Reader, at: int) -> Segment:
    if reader.wide:
        kind, _, offset, address, _, size = reader.numbers("", "IIQQQQ", at)
    else:
        kind, offset, address, _, size = reader.numbers("IIIII", "", at)
    return Segment(kind, offset, address, size)


def _tags(reader: Reader, segment: Segment) -> Iterator[tuple[int, int]]:
    width = 16 if reader.wide else 8
    size = min(segment.size, MOST_TAGS * width)
    for at in range(segment.offset, segment.offset + size, width):
        tag, value = reader.numbers("iI", "qQ", at)
        if tag == DT_NULL:
            return
        yield tag, value


def _place(loaded: list[Segment], address: int) -> int:
    """Give where in the file lies what is to lie at an address."""
    for each in loaded:
        if each.address <= address < each.address + each.size:
            return address - each.address + each.offset
    raise ValueError("an address of no segment")


def _text(reader: Reader, at: int) -> str:
    data = reader.read(at, LONGEST_NAME)
    return data[: data.index(b"\0")].decode()


class Loader:
    """The dynamic loader of an image: it finds libraries by name.

    Args:
        inventory: The image.
        library_path: The container's LD_LIBRARY_PATH, split.
    """

    def __init__(self, inventory: Inventory, library_path: tuple[str, ...] = ()) -> None:
        self._files: FileSystem = inventory.files
        self._common = (*library_path, *configured(inventory), *PLACES)

    def find(self, name: str, elf: Elf, path: str) -> list[str]:
        """Give the paths that satisfy a DT_NEEDED, its CPU-dispatched siblings among them.

        Args:
            name: The needed name; with a slash it is a path.
            elf: Who needs it.
            path: Where that one is, without links.
        """
        if "/" in name:
            return [name] if self._files.resolve(name) else []
        origin = "/" + path.rpartition("/")[0]
        own = [_expand(place, origin) for place in elf.runpath if place]
        for place in (*own, *self._common):
            found = f"{place.rstrip('/')}/{name}"
            entry = self._files.resolve(found)
            if entry and entry.kind == "file":
                return [found, *self._dispatched(place.rstrip("/"), name)]
        return []

    def _dispatched(self, place: str, name: str) -> list[str]:
        real, _ = self._files.walk(f"{place}/glibc-hwcaps")
        levels = self._files.children.get(real, ()) if real else ()
        paths = [f"{real}/{level}/{name}" for level in sorted(levels)]
        return [path for path in paths if self._files.resolve(path)]


def _expand(place: str, origin: str) -> str:
    return place.replace("$ORIGIN", origin).replace("${ORIGIN}", origin)


def configured(inventory: Inventory) -> list[str]:
    """List the directories of `/etc/ld.so.conf` and its includes."""
    found = []
    names = sorted(inventory.files.children.get("etc/ld.so.conf.d", ()))
    paths = [f"etc/ld.so.conf.d/{name}" for name in names if name.endswith(".conf")]
    for path in ("etc/ld.so.conf", *paths):
        text = (inventory.read_path(path) or b"").decode(errors="replace")
        lines = (line.partition("#")[0].strip() for line in text.splitlines())
        found += [line for line in lines if line.startswith("/")]
    return found


def name_services(inventory: Inventory) -> set[str]:
    """Name the libraries that glibc loads for users, groups and hosts, as `nsswitch.conf` says."""
    text = (inventory.read_path("etc/nsswitch.conf") or b"").decode(errors="replace")
    lines = (line.partition("#")[0].partition(":")[2] for line in text.splitlines())
    return BUILT_IN | {f"libnss_{word}" for line in lines for word in line.split()}
