"""Whose a file is: a package's, a runtime's, or the user's own."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator

from mlkit.image.filesystem.inventory import Inventory
from mlkit.image.keep.leftovers import leftover
from mlkit.image.keep.runtimes import Runtimes
from mlkit.image.keep.source_words import language_of
from mlkit.image.keep.system import DATABASES, LOADED_LATE, PYTHON_PLACES, RUNTIME
from mlkit.image.packages.installed import read_packages
from mlkit.image.packages.package import Packages

CODE = frozenset(("shell", "python", "quoting", "other"))
CONSOLE = re.compile(
    rb"#![^\n]*python[^\n]*\n(?:[^\n]*\n){0,3}?from ([\w.]+) import [^\n]+\n[^\0]{0,200}sys\.exit"
)
"""A script that pip has written for a package that it installed."""
GENERATED = re.compile(
    r"etc/(?:profile|motd|fstab|environment|hostname|hosts|subuid|subgid|shells|adjtime|issue\S*"
    r"|pam\.d/common-\S+|security/\S+|bash\.bashrc|login\.defs|default/\S+)$"
    r"|(?:.*/)?(?:pyvenv\.cfg|bin/(?:activate(?:\.\w+|_this\.py)?|Activate\.ps1))$"
    r"|(?:.*/)?hooks/[a-z-]+\.sample$"
    r"|(?:root|home/[^/]+|etc/skel)/\.(?:bashrc|profile|bash_logout)$|var/lib/[^/]+\.state$"
)
"""What a distribution, venv or git writes when it begins: kept, but no code of the user's."""


class Ownership:
    """Determines who owns the files of an image.

    Args:
        inventory: The image.
        packages: Its packages.
    """

    def __init__(self, inventory: Inventory, packages: Packages) -> None:
        self._inventory = inventory
        self._owners = packages.owners
        self._runtimes = Runtimes(inventory)
        self._changed = set(find_changed(inventory, packages))

    def is_owned(self, path: str) -> bool:
        """Return whether a file is as a package has brought it."""
        return path in self._owners and path not in self._changed

    def is_runtime(self, path: str) -> bool:
        """Return whether a file belongs to a runtime, or to a library of one."""
        return self._runtimes.holds(path)

    def is_own(self, path: str) -> bool:
        """Return whether a file is code, settings or data of the user's own."""
        if self.is_owned(path) or path in RUNTIME or path.startswith((*LOADED_LATE, *DATABASES)):
            return False
        if GENERATED.match(path) or self.is_runtime(path):
            return False
        return leftover(path, self._inventory.files) is None

    def is_code(self, path: str) -> bool:
        """Return whether a file is code of the user's own."""
        entry = self._inventory.files.get(path)
        if entry is None or entry.kind != "file" or not entry.size or not self.is_own(path):
            return False
        if path.endswith((".jar", ".war", ".class")):
            return True
        head = self._inventory.read(entry, 1024)
        if head.startswith((b"\x7fELF", b"#!")):
            return self.console_module(path) is None
        return b"\0" not in head and language_of(path, b"") in CODE

    def stays(self, path: str) -> bool:
        """Return whether a file is kept for itself: it is of no package, and no leftover."""
        if self.is_owned(path) or path.startswith(DATABASES):
            return False
        in_python = PYTHON_PLACES.search(path) and not path.endswith(".zip")
        if in_python or leftover(path, self._inventory.files) or self._is_program_of_runtime(path):
            return False
        return self.console_module(path) is None

    def console_module(self, path: str) -> str | None:
        """Return the module that a script starts which pip has written; None if it is no such."""
        if posixpath.basename(posixpath.dirname(path)) != "bin":
            return None
        entry = self._inventory.files.get(path)
        if entry is None or entry.kind != "file" or entry.size > 4096:
            return None
        match = CONSOLE.match(self._inventory.read(entry))
        return match[1].decode() if match else None

    def _is_program_of_runtime(self, path: str) -> bool:
        """Return whether a runtime of one file lies there: it is kept where something starts it."""
        name = posixpath.basename(path)
        return name.startswith(("node", "python", "deno", "bun")) and self.is_runtime(path)


def own_code(inventory: Inventory) -> list[str]:
    """List the files of an image that are code of the user's own."""
    ownership = Ownership(inventory, read_packages(inventory))
    return [path for path in sorted(inventory.files.entries) if ownership.is_code(path)]


def find_changed(inventory: Inventory, packages: Packages) -> Iterator[str]:
    """List the settings of packages that are not as installed: the user has written them."""
    for package in packages.installed.values():
        for name, noted in package.settings.items():
            path = inventory.files.real_parent(name)
            entry = inventory.files.get(path)
            if entry is not None and entry.kind == "file":
                kind, _, digest = noted.partition(":")
                data = inventory.read(entry)
                if hashlib.new(kind, data, usedforsecurity=False).hexdigest() != digest:
                    yield path
