"""What JavaScript code of Node requires, found without running it."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator

from mlkit.image.filesystem.inventory import Inventory

SUFFIXES = (".js", ".mjs", ".cjs", ".ts")
NAMED = re.compile(
    r"""\b(?:require(?:\.resolve)?|import)\s*\(\s*['"`]([^'"`$]+)['"`]"""
    r"""|\b(?:from|import)\s*['"]([^'"]+)['"]"""
)
GLOBAL = (
    *("usr/local/lib/node_modules", "usr/lib/node_modules", "usr/share/nodejs", "usr/lib/nodejs"),
    *("usr/lib/x86_64-linux-gnu/nodejs", "usr/lib/aarch64-linux-gnu/nodejs"),
)
"""Where Debian's Node and npm look after the folders `node_modules` on the way up."""


class Modules:
    """Finds the modules of an image.

    Args:
        inventory: The image.
        more: NODE_PATH, split.
    """

    def __init__(self, inventory: Inventory, more: list[str]) -> None:
        self._inventory = inventory
        self._files = inventory.files
        self._global = [*(each.strip("/") for each in more if each), *GLOBAL]

    def find_required(self, path: str, text: str) -> Iterator[tuple[str, bool]]:
        """Find what a source file requires.

        Returns:
            Paths, each with whether it is a package, of which the whole folder counts.
        """
        folder = posixpath.dirname(path)
        for pair in NAMED.findall(text):
            name = pair[0] or pair[1]
            if name.startswith((".", "/")):
                found = self._file(posixpath.normpath(posixpath.join("/", folder, name)))
                if found:
                    yield found, False
            elif not name.startswith("node:"):
                yield from self._package(folder, name)

    def dependencies(self, package: str) -> Iterator[tuple[str, bool]]:
        """Find what a package needs according to its `package.json`."""
        data = self._inventory.read_path(f"{package}/package.json") or b"{}"
        try:
            document = json.loads(data)
            names = [*document.get("dependencies", {}), *document.get("optionalDependencies", {})]
        except (ValueError, AttributeError, TypeError):
            return
        for name in names:
            yield from self._package(package, str(name))

    def _file(self, stem: str) -> str | None:
        for each in ("", *SUFFIXES, ".json", ".node", "/package.json", "/index.js"):
            entry = self._files.resolve(stem + each)
            if entry and entry.kind == "file":
                return stem + each
        return None

    def _package(self, folder: str, name: str) -> Iterator[tuple[str, bool]]:
        parts = name.split("/")
        top = "/".join(parts[: 2 if name.startswith("@") else 1])
        for place in self._places(folder):
            entry = self._files.resolve(f"{place}/{top}")
            if entry and entry.kind == "directory":
                yield f"{place}/{top}", True
                return
            found = self._file(f"{place}/{top}")
            if found:
                yield found, False
                return

    def _places(self, folder: str) -> Iterator[str]:
        parts = folder.strip("/").split("/")
        for count in range(len(parts), -1, -1):
            yield "/".join([*parts[:count], "node_modules"])
        yield from self._global
