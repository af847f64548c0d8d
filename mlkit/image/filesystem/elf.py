"""ELF files: what a program or library needs, and where its loader would look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from mlkit.image.filesystem.archive import CHUNK
from mlkit.image.filesystem.inventory import FileSystem, Inventory
from mlkit.image.filesystem.musl import Musl

MAGIC = b"\x7fELF"
LONGEST = 4 << 20
"""Bytes without a zero among them that are held at a time."""
TRIPLETS = ("x86_64-linux-gnu", "aarch64-linux-gnu")
PLACES = (
    *(f"{top}/{triplet}" for triplet in TRIPLETS for top in ("lib", "usr/lib")),
    *("lib64", "usr/lib64", "lib", "usr/lib", "usr/local/lib"),
)
"""Where glibc looks after RUNPATH and the directories of ld.so.conf."""


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
    """Return which functions of some an ELF file names; it may import them."""
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
    interpreter, needed, runpath = None, [], []
    try:
        for segment in cast(Any, ELFFile(file)).iter_segments():
            if segment["p_type"] == "PT_INTERP":
                interpreter = segment.get_interp_name()
            elif segment["p_type"] == "PT_DYNAMIC":
                for tag in segment.iter_tags():
                    if tag.entry.d_tag == "DT_NEEDED":
                        needed.append(tag.needed)
                    elif tag.entry.d_tag == "DT_RUNPATH":
                        runpath += tag.runpath.split(":")
                    elif tag.entry.d_tag == "DT_RPATH":
                        runpath += tag.rpath.split(":")
    except (ELFError, ValueError, KeyError, IndexError, UnicodeDecodeError, OverflowError,
            TypeError, AttributeError, OSError, MemoryError):  # fmt: skip
        return None
    return Elf(interpreter, tuple(needed), tuple(runpath))


class Loader:
    """The dynamic loader of an image: it finds libraries by name.

    Args:
        inventory: The image.
        library_path: The container's LD_LIBRARY_PATH, split.

    Attributes:
        musl: The loader of musl, for what is linked against that.
    """

    def __init__(self, inventory: Inventory, library_path: tuple[str, ...] = ()) -> None:
        self._files: FileSystem = inventory.files
        self._library_path = library_path
        self._common = (*library_path, *list_configured(inventory), *PLACES)
        self.musl = Musl(inventory)
        self._places_of_musl = tuple(self.musl.directories())
        self._anywhere: dict[str, list[str]] = {}
        for path in inventory.files.entries:
            if ".so" in path:
                self._anywhere.setdefault(path.rpartition("/")[2], []).append(path)

    def find(self, name: str, elf: Elf, path: str) -> list[str]:
        """Return the paths that satisfy a DT_NEEDED, its CPU-dispatched siblings among them.

        Args:
            name: The needed name; with a slash it is a path.
            elf: Who needs it.
            path: Where that one is, without links.
        """
        if "/" in name:
            return [name] if self._files.resolve(name) else []
        musl = self.musl.loads(elf.interpreter, elf.needed)
        if musl and (stands := self.musl.stands_for(name)):
            return stands
        for place in self._search_path(elf, path, musl):
            found = f"{place.rstrip('/')}/{name}"
            entry = self._files.resolve(found)
            if entry and entry.kind == "file":
                return [found, *self._find_dispatched(place.rstrip("/"), name)]
        return self._near(name, path) if elf.needed else []

    def hand_down(self, path: str, elf: Elf, user: str) -> bool:
        """Let a library look where those look that need it, as musl does.

        Args:
            path: The library.
            elf: Who needs it.
            user: Where that one is, without links.

        Returns:
            Whether there is somewhere to look that was not known.
        """
        if not self.musl.loads(elf.interpreter, elf.needed):
            return False
        real, _ = self._files.walk(path)
        own = (*_own_places(elf, user), *self.musl.inherited(user))
        return bool(own) and real is not None and self.musl.hand_down(real, own)

    def _search_path(self, elf: Elf, path: str, musl: bool) -> tuple[str, ...]:
        own = _own_places(elf, path)
        if not musl:
            return (*own, *self._common)
        inherited = self.musl.inherited(path)
        return (*self._library_path, *own, *inherited, *self._places_of_musl)

    def _near(self, name: str, path: str) -> list[str]:
        """Return the nearest library of a name, where its user does not say where it lies.

        Who loads the user may have loaded that one before, as Java's launcher does with
        `lib/server/libjvm.so`.
        """
        parts = path.split("/")[:-1]
        while parts:
            top = "/".join(parts) + "/"
            found = [each for each in self._anywhere.get(name, ()) if each.startswith(top)]
            if found:
                return [f"/{min(found, key=lambda each: (each.count('/'), each))}"]
            parts.pop()
        return []

    def _find_dispatched(self, place: str, name: str) -> list[str]:
        real, _ = self._files.walk(f"{place}/glibc-hwcaps")
        levels = self._files.children.get(real, ()) if real else ()
        paths = [f"{real}/{level}/{name}" for level in sorted(levels)]
        return [path for path in paths if self._files.resolve(path)]


def _own_places(elf: Elf, path: str) -> tuple[str, ...]:
    """Return where an ELF file itself looks for its libraries."""
    origin = "/" + path.rpartition("/")[0]
    return tuple(_expand(place, origin) for place in elf.runpath if place)


def _expand(place: str, origin: str) -> str:
    return place.replace("$ORIGIN", origin).replace("${ORIGIN}", origin)


def list_configured(inventory: Inventory) -> list[str]:
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
    """Name the libraries that glibc loads for users, groups and hosts by `nsswitch.conf`."""
    text = (inventory.read_path("etc/nsswitch.conf") or b"").decode(errors="replace")
    lines = (line.partition("#")[0].partition(":")[2] for line in text.splitlines())
    return BUILT_IN | {f"libnss_{word}" for line in lines for word in line.split()}
