"""What differs between two images: files, packages, sizes, config."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from mlkit.image.filesystem.inventory import Entry, Inventory
from mlkit.image.packages.installed import read_packages


@dataclass(frozen=True)
class Change:
    """Something that is not the same in both images; None: it is not there."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Difference:
    """What differs between two images.

    Attributes:
        before: Bytes of the first image's files.
        after: Bytes of the second image's files.
        removed: Files of the first image only, largest first.
        added: Files of the second image only, largest first.
        changed: Paths in both whose content, kind, mode or owner differs.
        packages: Packages with their versions.
        config: Fields of the config.
    """

    before: int
    after: int
    removed: list[Entry]
    added: list[Entry]
    changed: list[str]
    packages: list[Change]
    config: list[Change]


def diff(a: Inventory, b: Inventory) -> Difference:
    """Compare two images; contents are hashed only where the sizes are equal."""
    ours, theirs = a.files.entries, b.files.entries
    both = sorted(ours.keys() & theirs.keys())
    return Difference(
        before=a.size,
        after=b.size,
        removed=_largest(ours[path] for path in ours.keys() - theirs.keys()),
        added=_largest(theirs[path] for path in theirs.keys() - ours.keys()),
        changed=[path for path in both if _differs(a, ours[path], b, theirs[path])],
        packages=_changes(_versions(a), _versions(b)),
        config=_changes(a.image.config, b.image.config),
    )


def _largest(entries: Any) -> list[Entry]:
    files = (entry for entry in entries if entry.kind != "directory")
    return sorted(files, key=lambda entry: (-entry.size, entry.path))


def _differs(a: Inventory, ours: Entry, b: Inventory, theirs: Entry) -> bool:
    def plain(entry: Entry) -> tuple[Any, ...]:
        owner = entry.mode, entry.uid, entry.gid
        return entry.kind, owner, entry.size, entry.target, entry.xattrs

    if plain(ours) != plain(theirs):
        return True
    same_layer = a.image.layers[ours.layer].diff_id == b.image.layers[theirs.layer].diff_id
    if ours.kind != "file" or (same_layer and ours.offset == theirs.offset):
        return False
    return digest(a, ours) != digest(b, theirs)


def digest(inventory: Inventory, entry: Entry) -> str:
    """Return the SHA-256 of a file."""
    total = hashlib.sha256()
    for chunk in inventory.chunks(entry):
        total.update(chunk)
    return total.hexdigest()


def _versions(inventory: Inventory) -> dict[str, str]:
    installed = read_packages(inventory).installed
    return {name: package.version for name, package in installed.items()}


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    names = sorted(before.keys() | after.keys())
    pairs = [Change(name, before.get(name), after.get(name)) for name in names]
    return [pair for pair in pairs if pair.before != pair.after]
