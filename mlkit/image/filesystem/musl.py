"""musl's dynamic loader: where it looks for libraries, which is not where glibc's does.

It has no cache and no `ld.so.conf`. It looks in LD_LIBRARY_PATH, then where the ELF file that needs
the library says (RPATH and RUNPATH are the same to it), where the one says that needed that file,
and so on up to the program, and then in the directories of `/etc/ld-musl-ARCH.path`, which replace
those that are built in (`ldso/dynlink.c`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mlkit.image.filesystem.inventory import Inventory

LOADER = re.compile(r"(?P<prefix>(?:.*/)?)(?:usr/)?lib/ld-musl-(?P<architecture>\w+)\.so\.1")
RESERVED = re.compile(r"lib(?:c|pthread|rt|m|dl|util|xnet)\.")
"""Libraries that the loader itself stands for, whatever their suffix."""
OWN = re.compile(r"libc\.musl-\w+\.so\.1")
"""musl as what is linked against it needs it."""
GLIBC = "libc.so.6"
BUILT_IN = ("/lib", "/usr/local/lib", "/usr/lib")


class Musl:
    """The loader of musl in an image.

    Args:
        inventory: The image.

    Attributes:
        settings: Where it reads in which directories to look.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        entries = inventory.files.entries
        found = (LOADER.fullmatch(path) for path in entries if "/ld-musl-" in path)
        self._loaders = sorted((match for match in found if match), key=lambda each: each.string)
        self.settings = [
            f"{each['prefix']}etc/ld-musl-{each['architecture']}.path" for each in self._loaders[:1]
        ]
        self._alone = not any(path.rpartition("/")[2] == GLIBC for path in entries)
        self._inherited: dict[str, tuple[str, ...]] = {}

    def loads(self, interpreter: str | None, needed: Iterable[str]) -> bool:
        """Return whether it is musl that loads an ELF file.

        Args:
            interpreter: The loader that a program asks for.
            needed: The libraries that it needs.
        """
        if interpreter is not None:
            return LOADER.fullmatch(interpreter.lstrip("/")) is not None
        if GLIBC in needed or not self._loaders:
            return False
        return self._alone or any(OWN.fullmatch(each) for each in needed)

    def stands_for(self, name: str) -> list[str]:
        """Return the loader if it stands for a library that something needs."""
        return [f"/{self._loaders[0].string}"] if self._loaders and RESERVED.match(name) else []

    def directories(self) -> Iterator[str]:
        """List the directories in which it looks last."""
        for path in self.settings:
            text = self._inventory.read_path(path)
            if text is None:
                yield from BUILT_IN
            else:
                yield from filter(None, re.split(r"[:\n]", text.decode(errors="replace")))

    def inherited(self, path: str) -> tuple[str, ...]:
        """Return the directories in which those look that need a library, at any distance."""
        return self._inherited.get(path, ())

    def hand_down(self, path: str, directories: Iterable[str]) -> bool:
        """Note where those look that need a library; return whether that is news."""
        known = self._inherited.get(path, ())
        found = tuple(dict.fromkeys((*known, *directories)))
        self._inherited[path] = found
        return found != known
