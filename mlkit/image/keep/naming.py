"""Keeping what something names: paths, libraries for the loader, programs on PATH."""

from __future__ import annotations

import functools

from mlkit.image.command.entrypoint import commands, find_program
from mlkit.image.filesystem import elf
from mlkit.image.keep.keep_set import KeepSet
from mlkit.image.keep.names import Names
from mlkit.image.keep.system import DATABASES, NOT_WHOLE, PYTHON_PLACES, SYSTEM

RUN = ("opened", "entrypoint", "interpreter")
"""Reasons of what a run has used."""
STARTS_OTHERS = {
    "tar": ("gzip", "bzip2", "xz", "zstd"),
    "git": ("ssh",),
    "zip": ("unzip",),
    "rsync": ("ssh",),
    "man": ("groff", "nroff", "less"),
}
"""Compiled programs of distributions that start others by mere names."""


class Naming:
    """Keeps what code, settings and variables name.

    Args:
        kept: The keep-set.
        loader: The image's dynamic loader.

    Attributes:
        commands: The names on PATH.
        started: Packages of which a program may be started, though no run has done so.
    """

    def __init__(self, kept: KeepSet, loader: elf.Loader) -> None:
        self._kept = kept
        self._files = kept.files
        self._loader = loader
        self._config = kept.inventory.image.config
        self._places: set[tuple[str, bool]] = set()
        self.commands = commands(self._files, self._config)
        self.started: set[str] = set()

    def keep(
        self, found: Names, source: str, who: elf.Elf = elf.NOTHING, *, whole: bool = False
    ) -> None:
        """Keep what something names.

        Args:
            found: The names.
            source: What names them.
            who: The library or program that does, for its own search path.
            whole: Keep all of a directory that is named, or only what is of no package.
        """
        reason = f"named in {source}"
        for path in sorted(found.paths):
            self._path(path, reason, whole)
        for name in sorted(found.libraries):
            for path in self._loader.find(name, who, source):
                self._kept.keep(path, reason)
        self.programs(found.programs | ({"sh"} if found.shell else set()), source)

    def programs(self, words: set[str], source: str) -> None:
        """Keep the programs on PATH that some words name."""
        for word in sorted(words & self.commands):
            program = find_program(self._files, self._config, word)
            if program:
                self._kept.keep(program, f"named in {source}")
                self._starts(program)
                for other in STARTS_OTHERS.get(word, ()):
                    found = find_program(self._files, self._config, other)
                    if found:
                        self._kept.keep(found, f"started by {word}")

    def start(self, path: str, reason: str) -> None:
        """Keep a program that may be started, by its path."""
        self._kept.keep(path, reason)
        self._starts(path)

    def other_names(self) -> None:
        """Keep the links on PATH that lead to kept programs, such as those of alternatives."""
        for path, real in self._links:
            if real in self._kept.reasons:
                self._kept.keep(path, "name of a kept program")

    @functools.cached_property
    def _links(self) -> list[tuple[str, str]]:
        found = []
        for word in sorted(self.commands):
            path = find_program(self._files, self._config, word)
            real = self._files.walk(path)[0] if path else None
            if path and real and real != self._files.real_parent(path.strip("/")):
                found.append((path, real))
        return found

    def _starts(self, program: str) -> None:
        """Note the package of a program that may be started; a run that did so shows its needs."""
        real, _ = self._files.walk(program)
        owner = self._kept.packages.owners.get(real or "")
        if owner and real and not self._kept.reasons.get(real, "").startswith(RUN):
            self.started.add(owner)

    def _path(self, path: str, reason: str, whole: bool) -> None:
        """Keep a file; of a directory all that is in it, or only what is of no package."""
        real, _ = self._files.walk(path)
        if real is None or real in SYSTEM:
            return
        if whole:
            self._kept.allowed.add(real)
        self._kept.keep(path, reason)
        if (real, whole) in self._places:
            return
        self._places.add((real, whole))
        if PYTHON_PLACES.search(real) or f"{real}/".startswith(DATABASES):
            return
        if whole and not f"{real}/".startswith(NOT_WHOLE):
            self._kept.below(real, reason)
        else:
            self._kept.keep_unowned(self._files.below(real), reason)
