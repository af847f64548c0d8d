"""Message catalogs: which languages an image speaks, and what has which text."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from mlkit.image.filesystem.inventory import Inventory
from mlkit.image.packages.package import Packages

LOCALES = "usr/lib/locale"
ARCHIVE = f"{LOCALES}/locale-archive"
MAGIC = 0xDE020109
CATALOG = re.compile(r"usr/(?:local/)?share/locale(?:-langpack)?/([^/]+)/LC_MESSAGES/([^/]+)\.mo")
LANGUAGE = re.compile(r"[a-z]{2,3}_[A-Z]{2}(?:[.@].*)?")


def locales(inventory: Inventory) -> set[str]:
    """List the locales of an image but for that of C: `de_DE.utf8`."""
    names = {*inventory.files.children.get(LOCALES, ()), *_list_archived(inventory)}
    return {each for each in names if LANGUAGE.fullmatch(each)}


def languages(inventory: Inventory) -> set[str]:
    """List the languages of the locales of an image, such as `de`."""
    return {each.partition("_")[0].partition(".")[0] for each in locales(inventory)}


def other_charsets(inventory: Inventory) -> bool:
    """Return whether a locale is of another charset than UTF-8, for which glibc loads a module."""
    return any("utf" not in each.lower() for each in locales(inventory))


def _list_archived(inventory: Inventory) -> list[str]:
    """List the names in glibc's archive of locales (its `locarchive.h`)."""
    entry = inventory.files.resolve(ARCHIVE)
    head = inventory.read(entry, 32) if entry else b""
    if entry is None or len(head) < 32:
        return []
    magic, _, _, _, _, begin, used, _ = struct.unpack("<8I", head)
    if magic != MAGIC or begin + used > entry.size:
        return []
    table = inventory.read(entry, begin + used)[begin:]
    return [each.decode("ascii", "replace") for each in table.split(b"\0") if each]


def catalogs(inventory: Inventory, packages: Packages, kept: set[str]) -> Iterator[str]:
    """List the catalogs that kept code may read.

    Those of no package are the app's own. Those of packages serve where the image has a locale
    of that language, since C programs translate nothing without one.

    Args:
        inventory: The image.
        packages: Its packages.
        kept: The packages of which something is kept.
    """
    spoken = languages(inventory)
    for path in inventory.files.entries:
        if match := CATALOG.fullmatch(path):
            owner = packages.owners.get(path)
            language = match.group(1).partition("_")[0].partition("@")[0]
            of_kept = owner in kept or match.group(2) == "libc"
            if owner is None or (of_kept and language in spoken):
                yield path
