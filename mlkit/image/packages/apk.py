"""The database of apk: the installed packages of an image of Alpine or Wolfi.

A text of paragraphs, a line per field, each named by one letter: `P:` the package, `V:` its
version, `A:` its architecture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlkit.errors import BadData
from mlkit.image.filesystem.inventory import Inventory
from mlkit.image.packages.dpkg import Package

DATABASES = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
NAME = re.compile(r"\.?[A-Za-z0-9_][A-Za-z0-9+._-]*")
"""Also `.NAME`, as virtual packages are called."""


def read(inventory: Inventory) -> dict[str, Package]:
    """Return the installed packages of an image by their names, if apk installs them.

    Raises:
        BadData: The database is damaged, or holds no package.
    """
    databases = _databases(inventory)
    found = {each.name: each for path in databases for each in _read(inventory, path)}
    if databases and not found:
        text = f"{inventory.image.source}: {databases[0]} holds no package"
        raise BadData(text, hint="the database of apk is damaged")
    return found


def _databases(inventory: Inventory) -> list[str]:
    """Return where the database is; `/lib` may be a link to `/usr/lib`."""
    real = (inventory.files.walk(path)[0] for path in DATABASES)
    return sorted({path for path in real if path is not None and path in inventory.files})


def _read(inventory: Inventory, path: str) -> Iterator[Package]:
    text = (inventory.read_path(path) or b"").decode(errors="replace")
    for stanza in text.split("\n\n"):
        pairs = (line.partition(":") for line in stanza.splitlines() if line[1:2] == ":")
        fields: dict[str, str] = {}
        for key, _, value in pairs:
            fields.setdefault(key, value)
        if not fields:
            continue
        name, version = fields.get("P", ""), fields.get("V", "").strip()
        if not NAME.fullmatch(name) or not version:
            told = f"{inventory.image.source}: a package with the name {name[:60]!r}"
            raise BadData(told, hint=f"{path} is damaged")
        yield Package(name, version, fields.get("A", "noarch"), stanza.strip() + "\n")
