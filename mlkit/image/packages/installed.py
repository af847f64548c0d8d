"""The packages of an image, out of the database of dpkg or apk, and their records in a result."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator

from mlkit.errors import BadData
from mlkit.image.filesystem.inventory import Inventory
from mlkit.image.packages import apk, dpkg
from mlkit.image.packages.package import Packages

FOREIGN = {"var/lib/rpm": "rpm", "usr/lib/sysimage/rpm": "rpm"}
"""Databases that are not understood."""


def read_packages(inventory: Inventory) -> Packages:
    """Read the databases of an image: of Debian's dpkg (also of a distroless image), or of apk.

    Raises:
        BadData: One is damaged.
    """
    debian, alpine = dpkg.read(inventory), apk.read(inventory)
    if not alpine.installed:
        return debian
    return Packages(
        alpine.installed | debian.installed, alpine.owners | debian.owners, alpine.wanted
    )


def refuse_foreign(inventory: Inventory) -> None:
    """Refuse an image whose packages come from another package manager.

    Raises:
        BadData: It has a database of rpm.
    """
    for path, name in FOREIGN.items():
        if path in inventory.files:
            hint = "images on Debian, Ubuntu, Alpine, Wolfi, distroless and scratch are understood"
            raise BadData(f"{inventory.image.source}: its packages are {name}'s", hint=hint)


def records(
    inventory: Inventory,
    packages: Packages,
    names: Collection[str],
    kept: Container[str],
    below: Inventory | None = None,
) -> Iterator[tuple[str, bytes]]:
    """Write what scanners read: the entries of packages, with the files of theirs that are kept.

    Args:
        inventory: The image that the packages come from.
        packages: Its packages.
        names: Those of which something is kept.
        kept: The paths that are kept.
        below: The image that lies below, if it is one.
    """
    yield from dpkg.records(inventory, packages, names, kept)
    yield from apk.records(inventory, names, kept, below)
