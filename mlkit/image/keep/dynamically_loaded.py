"""Files that are loaded dynamically, which no trace of a start shows: what kept code names.

What a route loads when it is called can only be read off the code that would load it. The rules
err on the side of keeping: a word that is taken for a path by mistake costs some kilobytes, a file
that is missing breaks a request that nobody probed. Each rule only adds to the keep-set, and what
it adds may trigger others, so `plan` applies all of them until nothing changes.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import IO

from mlkit.image.command.entrypoint import Command, environment, find_program
from mlkit.image.filesystem import elf
from mlkit.image.filesystem.inventory import Entry
from mlkit.image.keep import names
from mlkit.image.keep.installed_code import InstalledCode
from mlkit.image.keep.keep_set import KeepSet
from mlkit.image.keep.message_catalogs import catalogs, other_charsets
from mlkit.image.keep.naming import RUN, Naming
from mlkit.image.keep.node_imports import Modules
from mlkit.image.keep.own_code import OwnCode
from mlkit.image.keep.ownership import Ownership
from mlkit.image.keep.package_data import LIBRARY, PROGRAM, PackageData
from mlkit.image.keep.perl_library import CORE, PerlLibrary
from mlkit.image.keep.source_words import SHELLS, commands_of_script, interpreter
from mlkit.image.keep.system import DATABASES, FONTS, LANGUAGES, REFUSE, TERMINFO, spread

UNKNOWN = re.compile(rf"(?:^|/)({'|'.join(LANGUAGES)})[\d.]*$")
"""Interpreters whose programs load files dynamically, and whose languages are not analysed."""
LOCALE_NAMES = ("etc/locale.alias", "usr/share/locale/")
"""What every program reads that sets its language: no sign that the package `locales` is used."""
OWN_RULES = re.compile(r"libc6$|glibc$|(?:lib)?python-?3")
"""Packages with rules of their own for what they load dynamically.

Their binaries name locales, charsets and modules of which most are never used; the rules for
these follow from the image's settings and from imports. So it is with `ldconfig`, which is of glibc
too, and which each Python that calls `find_library` starts.
"""
TERMINAL = re.compile(r"/lib(?:tinfow?|ncursesw?)\.so")
LOGS_IN = re.compile(r"(?:^|/)s?bin/(?:sshd|dropbear|tinysshd|login|crond?|atd|\w*ftpd)$")
"""Programs that start the shells of users."""
WRITABLE = ("var/", "run/", "srv/", "home/", "opt/", "mnt/", "media/", "root/")
"""Where apps have folders that they write to; an empty folder costs nothing."""
MOUNTED = ("dev/", "proc/", "sys/")
UNREAD = re.compile(
    r"\.(?:a|h|hpp)$|(?:^|/)perl/[\d.]+/(?!pod/perldiag\.).*\.pod$"
    r"|/lib/(?:src\.zip|ct\.sym)$|/jmods/|^usr/share/locale/"
)
"""What compilers and people read; one page explains Perl's warnings, catalogs have a rule."""
ECJ = re.compile(r"(?:^|/)(?:ecj|jdtcore|org\.eclipse\.jdt)[^/]*\.jar$")
"""Eclipse's compiler: Tomcat has it for JSP."""
LARGEST_SCRIPT = 1 << 20
OF_NO_PACKAGE = "of no package"


class DynamicallyLoaded:
    """The rules for what is loaded dynamically.

    Args:
        kept: The keep-set.
        loader: The image's dynamic loader.
        command: What is started.
        ownership: Whose a file is.
    """

    def __init__(
        self, kept: KeepSet, loader: elf.Loader, command: Command, ownership: Ownership
    ) -> None:
        self._kept = kept
        self._files = kept.files
        self._loader = loader
        self._command = command
        self._ownership = ownership
        variables = environment(kept.inventory.image.config)
        self._modules = Modules(kept.inventory, variables.get("NODE_PATH", "").split(":"))
        self._whole_ones: set[str] = set()
        self._data = PackageData(kept.packages, kept.files)
        self._naming = Naming(kept, loader)
        self.own = OwnCode(kept, self._naming, ownership)
        self.installed = InstalledCode(kept, self._naming)
        self._perl = PerlLibrary(kept, ownership)

    def keep_named_by_config(self) -> None:
        """Keep what variables and arguments name."""
        self.own.keep_named_by_config(self._command.words, self._command.shell)

    def of_no_package(self, replaced: set[str]) -> None:
        """Keep the user's own: files of no package that are not leftovers.

        Args:
            replaced: Files for which something else stands in.
        """
        for path, entry in self._files.entries.items():
            if path not in replaced and entry.kind != "directory" and self._ownership.stays(path):
                self._kept.keep(path, OF_NO_PACKAGE)

    def directories(self) -> None:
        """Keep directories that an app may write to, with their owners and modes.

        They are empty in the result, so they cost nothing; without one the first write to it
        fails, perhaps weeks after the start.
        """
        for path, entry in self._files.entries.items():
            if entry.kind != "directory" or path.startswith((*REFUSE, *DATABASES, *MOUNTED)):
                continue
            owned = path in self._kept.packages.owners
            if not owned and not self._ownership.is_runtime(f"{path}/"):
                self._kept.keep(path, "directory of no package")
            elif entry.mode & 0o002 or path.startswith(WRITABLE):
                self._kept.keep(path, "directory that may be written to")

    def of_file(self, entry: Entry, head: bytes) -> None:
        """Keep what a text of the user's own names, and what a script of a package starts."""
        if not self._ownership.is_owned(entry.path):
            self.own.text(entry)
            if self._ownership.is_runtime(entry.path):
                self.installed.other(entry)
        elif self._is_script(entry, head):
            words = commands_of_script(self._kept.inventory.read(entry))
            self._naming.programs(words, entry.path)

    def _is_script(self, entry: Entry, head: bytes) -> bool:
        # Below /etc are the scripts that programs of packages run: for a login, a job, a network.
        run = PROGRAM.search(entry.path) or (entry.path.startswith("etc/") and entry.mode & 0o111)
        return bool(run) and entry.size < LARGEST_SCRIPT and interpreter(head) in SHELLS

    def of_elf(self, entry: Entry, found: elf.Elf, file: IO[bytes]) -> None:
        """Keep what a program or library loads by name."""
        if self._ownership.is_own(entry.path):
            if "iconv_open" in self.own.program(entry, found, file):
                self._charsets(f"loaded by glibc for {entry.path}: gconv")
            return
        # Strings of a binary are taken for names only if it imports a function that could use
        # them: `dlopen` for libraries, `exec` and its kin for programs. Otherwise every message
        # that happens to spell a program's name would keep that program.
        wanted = names.LOADING
        if self._starts_others(entry.path):
            wanted |= names.C_START
        elif LIBRARY.search(entry.path) and not self._ownership.is_runtime(entry.path):
            wanted |= names.C_SHELL  # such as a module of PAM, which shows the message of the day
        imports = elf.functions(file, wanted)
        owner = self._kept.packages.owners.get(entry.path, "")
        if OWN_RULES.match(owner) or entry.path.endswith("sbin/ldconfig"):
            imports = frozenset()
        named = names.Names()
        for data in elf.pieces(file) if imports else ():
            named.add(names.of_elf(data, imports, self._files, False, self._naming.commands))
        self._naming.keep(named, entry.path, found)

    def _starts_others(self, path: str) -> bool:
        """Return whether a program of a package may start others that it names; shells name all."""
        plain = PROGRAM.search(path) and posixpath.basename(path) not in SHELLS
        return bool(plain) and not UNKNOWN.search(path) and not self._ownership.is_runtime(path)

    def name_services(self, libc: Entry) -> None:
        """Keep what glibc loads by name: users, groups and host names are looked up with it."""
        folder = libc.path.rpartition("/")[0]
        services = elf.name_services(self._kept.inventory)
        for name in sorted(self._files.children.get(folder, ())):
            if name.partition(".so")[0] in services:
                self._kept.keep(f"{folder}/{name}", "loaded by glibc: NSS")
        # `pthread_exit` and `pthread_cancel` load the unwinder when they are first called, and
        # abort the process without it.
        for name in self._loader.find("libgcc_s.so.1", elf.NOTHING, libc.path):
            self._kept.keep(name, "loaded by glibc: ends threads")

    def keep_required_by(self, entry: Entry) -> None:
        """Keep the modules that a source file of JavaScript requires."""
        text = self._kept.inventory.read(entry).decode(errors="replace")
        for path, whole in self._modules.find_required(entry.path, text):
            self._kept.keep(path, f"required by {entry.path}")
            if whole:
                self._node_package(path)

    def plugins(self) -> None:
        """Keep the plug-ins of kept libraries: what their packages have in folders beneath.

        Libraries beside a kept one, in the same folder, are for linking: the closure over
        DT_NEEDED finds them where they are used.
        """
        owners = self._kept.packages.owners
        libraries = {
            (owner, folder)
            for path in list(self._kept.reasons)
            if ".so" in path and (owner := owners.get(path)) and not self._has_own_rules(owner)
            for folder in _with_usr(posixpath.dirname(path))
        }
        wanted = {owner for owner, _ in libraries}
        for path, owner in sorted(owners.items()) if wanted else ():
            if owner in wanted and path.endswith((".so", ".la")):  # libtool reads both
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
        own = {each for each in users if not self._has_own_rules(each)}
        for path, reason in self._data.of(own, frozenset(self._naming.started)):
            self._kept.keep(path, reason)
        for path, reason in self._data.beneath(users - own - self._data.of_perl):
            self._kept.keep(path, reason)
        for path, reason in self._data.wanted():
            self._kept.keep(path, reason)
        for path, reason in self._data.programs_of_libraries(self._kept.reasons):
            self._kept.keep(path, reason)
        for path, reason in self._data.tools_of(self._kept.reasons, self._command_programs()):
            self._kept.keep(path, reason)
        self._naming.other_names()
        if any(LOGS_IN.search(path) for path in self._kept.reasons):
            self._login_shells()
        if any(TERMINAL.search(path) for path in self._kept.reasons):
            for place in TERMINFO:
                self._kept.below(place, "read by terminal programs")

    def _has_own_rules(self, package: str) -> bool:
        return bool(OWN_RULES.match(package)) or package in self._data.of_perl

    def _login_shells(self) -> None:
        """Keep the shells of users: servers that log them in refuse a user without one."""
        users = self._kept.inventory.read_path("etc/passwd") or b""
        for line in users.decode(errors="replace").splitlines():
            name, _, rest = line.partition(":")
            shell = rest.rpartition(":")[2].strip()
            if shell.startswith("/"):
                self._naming.start(shell, f"login shell of {name}")

    def _command_programs(self) -> Iterator[str]:
        """List the files of the programs on PATH that the command's words name, shells aside."""
        config = self._kept.inventory.image.config
        for word in self._command.words:
            program = find_program(self._files, config, word)
            entry = self._files.resolve(program) if program else None
            if entry and posixpath.basename(entry.path) not in SHELLS:
                yield entry.path

    def catalogs(self) -> None:
        """Keep translated messages."""
        owners = self._kept.packages.owners
        kept = {owners[path] for path in self._kept.reasons if path in owners}
        if other_charsets(self._kept.inventory):
            self._charsets("loaded by glibc for locales: gconv")
        for path in catalogs(self._kept.inventory, self._kept.packages, kept):
            self._kept.keep(path, "catalog of messages")

    def whole_where_unknown(self) -> None:
        """Keep whole packages where the language of a kept program is not understood."""
        reasons = self._kept.reasons
        if any("/gconv/" in path and path.endswith(".so") for path in reasons):
            self._charsets("loaded by glibc: gconv")
        spoken = ((path, match[1]) for path in reasons if (match := UNKNOWN.search(path)))
        found = {name for path, name in spoken if self._files.entries[path].kind == "file"}
        bounded = "perl" in found and self._perl.is_bounded()
        if bounded:
            found.remove("perl")
            self._perl.keep()
        if found:
            # Only packages of which a run used a file: what such a language could load out of
            # packages that are merely kept for another reason has no bound.
            run = [path for path, why in reasons.items() if why.startswith(RUN)]
            run = [path for path in run if not path.startswith(LOCALE_NAMES)]
            run = [path for path in run if not (bounded and path.startswith(CORE))]
            wanted = (each for each in run if not self._data.is_basic(each))
            self._kept.whole_packages(wanted, UNREAD)
        for language in sorted(found):
            for place in spread(LANGUAGES[language]):
                self._library(place, f"library of {language}")
        if "java" in found:
            self._fonts()

    def _library(self, place: str, reason: str) -> None:
        real, _ = self._files.walk(place)
        for path in self._files.below(real) if real else ():
            if not UNREAD.search(path) or (path.endswith("/ct.sym") and self._compiles()):
                self._kept.keep(path, reason)

    def _compiles(self) -> bool:
        """Return whether something may compile Java for a release of it."""
        return self._kept.compiles or any(map(ECJ.search, self._kept.reasons))

    def _fonts(self) -> None:
        """Keep fonts and their configuration: Java draws with them once somebody asks."""
        for place in FONTS:
            self._kept.below(place, "fonts of Java")
        for name in ("libfontconfig.so.1", "libfreetype.so.6"):
            for path in self._loader.find(name, elf.NOTHING, ""):
                self._kept.keep(path, "fonts of Java")

    def _charsets(self, reason: str) -> None:
        for folder in elf.PLACES:
            self._kept.below(f"{folder}/gconv", reason)

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


def _with_usr(folder: str) -> set[str]:
    """Return a folder, and the one that goes with it where `/lib` is no link to `/usr/lib`."""
    return {folder, f"usr/{folder}"} if folder.startswith("lib") else {folder}
