"""What is loaded late, which no trace of a start shows: what kept code and settings name."""

from __future__ import annotations

import posixpath
import re
from typing import IO

from mlkit.image.command.entrypoint import Command, commands, environment, find_program
from mlkit.image.filesystem import elf
from mlkit.image.filesystem.inventory import Entry
from mlkit.image.keep import names
from mlkit.image.keep.keep_set import KeepSet
from mlkit.image.keep.message_catalogs import catalogues, other_charsets
from mlkit.image.keep.node_imports import Modules
from mlkit.image.keep.package_data import LIBRARY, NO_DATA, PROGRAM, PackageData
from mlkit.image.keep.system import (
    BUILDERS,
    DATABASES,
    LANGUAGES,
    LOADED_LATE,
    NOT_WHOLE,
    PYTHON_PLACES,
    REFUSE,
    RUNTIME,
    SYSTEM,
)

UNKNOWN = re.compile(rf"(?:^|/)({'|'.join(LANGUAGES)})[\d.]*$")
"""Programs that load files late, and whose language is not understood here."""
OWN_RULES = re.compile(r"libc6$|(?:lib)?python3")
"""Packages of which other rules know what they load late."""
LOADING = frozenset({"dlopen", "dlmopen"})
FUNCTIONS = LOADING | names.C_START | {"iconv_open"}
RUN = ("opened", "entrypoint", "interpreter")
"""Reasons of what a run has used."""
LARGEST_TEXT = 4 << 20


class Late:
    """The rules for what is loaded late.

    Args:
        kept: The keep-set.
        loader: The image's dynamic loader.
        command: What is started.
    """

    def __init__(self, kept: KeepSet, loader: elf.Loader, command: Command) -> None:
        self._kept = kept
        self._files = kept.files
        self._loader = loader
        self._command = command
        self._config = kept.inventory.image.config
        self._variables = environment(self._config)
        node_path = self._variables.get("NODE_PATH", "").split(":")
        self._modules = Modules(kept.inventory, node_path)
        self._whole_ones: set[str] = set()
        self._data = PackageData(kept.packages, kept.files)
        self._started: set[str] = set()
        self._places: set[tuple[str, bool]] = set()
        self._commands = commands(self._files, self._config)

    def named_by_config(self) -> None:
        """Keep what variables and arguments name."""
        variables = [value for name, value in self._variables.items() if not name.endswith("PATH")]
        words = [*self._command.words, *variables]
        for word in words:
            found = names.Names(names.paths_in(word.encode(), self._files))
            self._named(found, "the config", whole=True)
        if self._command.shell:
            line = set(names.WORD.findall(" ".join(self._command.words)))
            self._named(names.Names(programs=line), "the command")

    def directories(self) -> None:
        """Keep directories that an app may write to: its own, empty ones, those for everybody."""
        for path, entry in self._files.entries.items():
            if entry.kind != "directory" or path.startswith(REFUSE):
                continue
            if path in self._kept.packages.owners:
                if entry.mode & 0o002:
                    self._kept.keep(path, "directory that all may write to")
            elif entry.uid or entry.mode & 0o022 or not self._files.children.get(path):
                self._kept.keep(path, "directory of no package")

    def settings(self) -> None:
        """Keep settings that no package has brought: a path to them may be put together."""
        for path, entry in self._files.entries.items():
            plain = entry.kind == "file" and not entry.mode & 0o111
            own = path.startswith("etc/") and path not in self._kept.packages.owners
            if plain and own and not NO_DATA.match(path):
                self._kept.keep(path, "settings of no package")

    def of_text(self, entry: Entry) -> None:
        """Keep what a source or settings file of the app names."""
        if self._own(entry.path) and entry.size < LARGEST_TEXT:
            data = self._kept.inventory.read(entry)
            self._named(names.of_text(entry.path, data, self._files), entry.path, whole=True)

    def of_installed(self, entry: Entry) -> None:
        """Keep what a module of an installed Python package loads and starts by name."""
        found = names.of_module(self._kept.inventory.read(entry))
        found.programs -= BUILDERS
        self._named(found, entry.path)

    def of_elf(self, entry: Entry, found: elf.Elf, file: IO[bytes]) -> None:
        """Keep what a program or library loads by name."""
        own = self._own(entry.path)
        imports = elf.functions(file, FUNCTIONS if own else LOADING)
        if own and "iconv_open" in imports:
            self._charsets(f"loaded by glibc for {entry.path}: gconv")
        if OWN_RULES.match(self._kept.packages.owners.get(entry.path, "")):
            imports = frozenset()
        named = names.Names()
        for data in elf.pieces(file) if own or imports else ():
            named.add(names.of_elf(data, imports, self._files, own, self._commands))
        self._named(named, entry.path, found)

    def name_services(self, libc: Entry) -> None:
        """Keep what glibc loads by name: users, groups and host names are looked up with it."""
        folder = libc.path.rpartition("/")[0]
        services = elf.name_services(self._kept.inventory)
        for name in sorted(self._files.children.get(folder, ())):
            if name.partition(".so")[0] in services:
                self._kept.keep(f"{folder}/{name}", "loaded by glibc: NSS")
        for name in self._loader.find("libgcc_s.so.1", elf.NOTHING, libc.path):
            self._kept.keep(name, "loaded by glibc: ends threads")

    def required_by(self, entry: Entry) -> None:
        """Keep the modules that a source file of JavaScript requires."""
        text = self._kept.inventory.read(entry).decode(errors="replace")
        for path, whole in self._modules.required_by(entry.path, text):
            self._kept.keep(path, f"required by {entry.path}")
            if whole:
                self._node_package(path)

    def plugins(self) -> None:
        """Keep the plug-ins of kept libraries: what their packages have in folders beneath."""
        owners = self._kept.packages.owners
        libraries = {
            (owner, posixpath.dirname(path))
            for path in list(self._kept.reasons)
            if ".so" in path and (owner := owners.get(path)) and not OWN_RULES.match(owner)
        }
        wanted = {owner for owner, _ in libraries}
        for path, owner in sorted(owners.items()) if wanted else ():
            if owner in wanted and path.endswith(".so"):
                folders = {folder for each, folder in libraries if each == owner}
                if any(path.startswith(f"{each}/") for each in folders - {posixpath.dirname(path)}):
                    self._kept.keep(path, f"plug-in of {owner}")

    def data(self) -> None:
        """Keep what packages of kept programs and libraries have for these to read."""
        owners = self._kept.packages.owners
        users = {
            owner
            for path in list(self._kept.reasons)
            if (PROGRAM.search(path) or LIBRARY.search(path)) and (owner := owners.get(path))
        }
        own = {each for each in users if not OWN_RULES.match(each)}
        for path, reason in self._data.of(own, frozenset(self._started)):
            self._kept.keep(path, reason)
        for path, reason in self._data.beneath(users - own):
            self._kept.keep(path, reason)

    def catalogues(self) -> None:
        """Keep translated messages."""
        owners = self._kept.packages.owners
        kept = {owners[path] for path in self._kept.reasons if path in owners}
        if other_charsets(self._kept.inventory):
            self._charsets("loaded by glibc for locales: gconv")
        for path in catalogues(self._kept.inventory, self._kept.packages, kept):
            self._kept.keep(path, "catalogue of messages")

    def whole_where_unknown(self) -> None:
        """Keep whole packages where the language of a kept program is not understood."""
        reasons = self._kept.reasons
        if any("/gconv/" in path and path.endswith(".so") for path in reasons):
            self._charsets("loaded by glibc: gconv")
        found = {match.group(1) for path in reasons if (match := UNKNOWN.search(path))}
        if found:
            run = [path for path, why in reasons.items() if why.startswith(RUN)]
            self._kept.whole_packages(run)
        for language in sorted(found):
            for place in LANGUAGES[language]:
                for folder in elf.PLACES if "*/" in place else ("",):
                    path = place.replace("*", folder) if folder else place
                    self._kept.below(path, f"library of {language}")

    def _own(self, path: str) -> bool:
        """Say whether a file is the app's own: of no package of any package manager."""
        foreign = path in self._kept.packages.owners or "/node_modules/" in path
        system = path in RUNTIME or posixpath.dirname(path) == "etc"
        library = PYTHON_PLACES.search(path) or path.startswith((*LOADED_LATE, *DATABASES))
        return not (foreign or system or library)

    def _charsets(self, reason: str) -> None:
        for folder in elf.PLACES:
            self._kept.below(f"{folder}/gconv", reason)

    def _named(
        self, found: names.Names, source: str, who: elf.Elf = elf.NOTHING, *, whole: bool = False
    ) -> None:
        reason = f"named in {source}"
        for path in sorted(found.paths):
            self._path(path, reason, whole)
        for name in sorted(found.libraries):
            for path in self._loader.find(name, who, source):
                self._kept.keep(path, reason)
        programs = found.programs | ({"sh"} if found.shell else set())
        for word in sorted(programs & self._commands):
            program = find_program(self._files, self._config, word)
            if program:
                self._kept.keep(program, reason)
                self._starts(program)

    def _starts(self, program: str) -> None:
        """Note the package of a program that may be started; a run that did so shows its needs."""
        real, _ = self._files.walk(program)
        owner = self._kept.packages.owners.get(real or "")
        if owner and real and not self._kept.reasons.get(real, "").startswith(RUN):
            self._started.add(owner)

    def _path(self, path: str, reason: str, whole: bool) -> None:
        """Keep a file; of a directory all that is in it, or only what is of no package."""
        real, _ = self._files.walk(path)
        if real is None or real in SYSTEM:
            return
        self._kept.keep(path, reason)
        if (real, whole) in self._places:
            return
        self._places.add((real, whole))
        if PYTHON_PLACES.search(real) or f"{real}/".startswith(DATABASES):
            return
        if whole and not f"{real}/".startswith(NOT_WHOLE):
            self._kept.below(real, reason)
        else:
            self._kept.unowned(self._files.below(real), reason)

    def _node_package(self, path: str) -> None:
        real, _ = self._files.walk(path)
        if real is None or real in self._whole_ones:
            return
        self._whole_ones.add(real)
        self._kept.below(real, f"package data of {posixpath.basename(real)}")
        for other, whole in self._modules.dependencies(path):
            self._kept.keep(other, f"required by {path}")
            if whole:
                self._node_package(other)
