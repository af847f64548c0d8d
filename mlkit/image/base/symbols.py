"""Symbol versions: whether a library is new enough for what was linked against another one."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection, GNUVerNeedSection

from mlkit.image.filesystem import elf
from mlkit.image.filesystem.inventory import Entry, Inventory

MALFORMED = (ELFError, ValueError, KeyError, IndexError, UnicodeDecodeError)


@dataclass(frozen=True)
class Lack:
    """A library that is too old for who needs it.

    Attributes:
        library: Its path.
        user: The path of who needs it.
        versions: What it lacks, such as `OPENSSL_3.0.9`.
    """

    library: str
    user: str
    versions: tuple[str, ...]


def read_needed(file: IO[bytes]) -> dict[str, set[str]]:
    """Return the symbol versions that an ELF file needs of each library, by DT_NEEDED name."""
    found: dict[str, set[str]] = {}
    for version, entries in _versions(file, GNUVerNeedSection):
        found.setdefault(version.name, set()).update(entry.name for entry in entries)
    return found


def read_offered(file: IO[bytes]) -> set[str]:
    """Return the symbol versions that a library defines."""
    return {
        entry.name
        for _, entries in _versions(file, GNUVerDefSection)
        for entry in list(entries)[:1]  # the others are the versions that it grew from
    }


def _versions(file: IO[bytes], kind: type) -> Iterator[tuple[Any, list[Any]]]:
    try:
        for section in cast(Any, ELFFile(file)).iter_sections():
            if isinstance(section, kind):
                for version, entries in cast(Any, section).iter_versions():
                    yield version, list(entries)
    except MALFORMED:
        return


def lacking(merged: Inventory, own: set[str], libraries: set[str]) -> list[Lack]:
    """Find libraries of a base that stand where an app would find its own, and are too old.

    Args:
        merged: The app's files over the base's.
        own: The paths that are the app's.
        libraries: The paths of the base that are not hidden by the app's.
    """
    names = {posixpath.basename(path) for path in libraries}
    loader = elf.Loader(merged)
    found = []
    for path in sorted(own):
        entry = merged.files.entries[path]
        if entry.kind == "file" and merged.read(entry, 4) == elf.MAGIC:
            found += list(_lacks(merged, loader, entry, names, libraries))
    return found


def _lacks(
    merged: Inventory, loader: elf.Loader, user: Entry, names: set[str], libraries: set[str]
) -> Iterator[Lack]:
    with merged.open(user) as file:
        parsed = elf.parse(file)
        if parsed is None or not names & set(parsed.needed):
            return
        wanted = read_needed(file)
    for name in parsed.needed:
        paths = loader.find(name, parsed, user.path)
        real = merged.files.walk(paths[0])[0] if paths else None
        if real in libraries:
            with merged.open(merged.files.entries[real]) as file:
                missing = wanted.get(name, set()) - read_offered(file)
            if missing:
                yield Lack(real, user.path, tuple(sorted(missing)))
