"""The paths that are kept of an image, and the worklist of those still to be looked into."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence

from mlkit.image.filesystem.inventory import Entry, Inventory
from mlkit.image.keep.system import REFUSE
from mlkit.image.packages.package import Packages

SET_ID = 0o6000
"""The bits of programs that run as another user or group."""
EVIDENCE = ("opened", "stat'ed", "entrypoint", "missed in a trial", "user include", "probe")
"""Reasons for which a set-id program of a package is kept: a run used it, or the user asked."""

OPTIONAL = re.compile(r"usr/lib/postgresql/[^/]+/lib/(?:llvmjit[^/]*|bitcode/.*)$")
"""What a program of a package goes on without, by its documentation, at no error.

PostgreSQL interprets costly queries, to the same results, where its provider of JIT compilation
is not there (jit_provider in its manual); with LLVM that is 140 MB.
"""
ASKS_FOR_OPTIONAL = re.compile(rb"^[^#\n]*?\bjit(?:_\w+)?\b", re.IGNORECASE | re.MULTILINE)
"""Outside comments: the settings that an installation writes show each default in one."""


COMPILES = re.compile(rb"--(?:release|source)\b")
"""Options of the compiler of Java, and of `java FILE.java`."""
PERL = re.compile(r"(?:^|/)(?:perl[\d.]*|libperl\.so[\d.]*)$")
"""Interpreters of Perl; a folder may be called so as well."""
QUALIFIED = re.compile(rb"\b[A-Za-z_]\w*+(?:::\w++)++")
"""What may name a module of Perl."""


class KeepSet:
    """A growing set of kept paths, each with the first reason for it.

    Args:
        inventory: The image.
        packages: Its packages.
        exclude: Globs of paths that are never kept.
        whole: Keep what is optional as well.

    Attributes:
        reasons: Path to the first reason for which it is kept.
        todo: What is still to be looked into.
        allowed: Programs that the app's own code names by their paths.
        privileged: Set-id programs of packages that were left out, since only a word named them.
        optional: What was left out since its program goes on without it, with the reasons.
        perl: All reasons for which an interpreter of Perl is kept.
        qualified: What texts of the user's own may name of Perl's modules.
        compiles: The user's own code or a library compiles Java for a release that it names.
    """

    def __init__(
        self, inventory: Inventory, packages: Packages, exclude: Sequence[str], whole: bool = False
    ) -> None:
        self.inventory = inventory
        self.files = inventory.files
        self.packages = packages
        self.reasons: dict[str, str] = {}
        self.todo: list[Entry] = []
        self.allowed: set[str] = set()
        self.privileged: set[str] = set()
        self.optional: dict[str, str] = {}
        self.perl: set[str] = set()
        self.qualified: set[str] = set()
        self.compiles = False
        self._whole = whole or not any(map(OPTIONAL.match, self.files.entries))
        self._exclude = [glob.lstrip("/") for glob in exclude]

    def keep(self, path: str, reason: str) -> None:
        """Keep what a path leads to, and every link and directory on the way."""
        before, up, _ = path.rpartition("/..")
        if up and before:  # a directory that is only gone through has to be there
            self.keep(before, reason)
        real, links = self.files.walk(path)
        for link in links:
            self.note(link, f"symlink to {self.files.entries[link].target}")
        if real and real in self.files and not self.is_excluded(real) and self._may(real, reason):
            self.note(real, reason)
            if PERL.search(real) and self.files.entries[real].kind == "file":
                self.perl.add(reason)

    def hear(self, text: bytes) -> None:
        """Keep what is optional if a text of the user's own speaks of it; note what it names."""
        self.compiles |= bool(COMPILES.search(text))
        self.qualified.update(each.decode() for each in QUALIFIED.findall(text))
        if not self._whole and ASKS_FOR_OPTIONAL.search(text):
            self._keep_optional()

    def _keep_optional(self) -> None:
        """Keep all that is optional: a part of it alone would be found, and fail."""
        self._whole = True
        for path in filter(OPTIONAL.match, self.files.entries):
            self.note(path, self.optional.get(path, "goes with what is optional"))
        self.optional.clear()

    def _may(self, path: str, reason: str) -> bool:
        """Return whether a path may be kept: what is optional or set-id needs evidence."""
        entry = self.files.entries[path]
        if not self._whole and OPTIONAL.match(path):
            if not reason.startswith(EVIDENCE):
                self.optional[path] = reason
                return False
            self._keep_optional()
        if entry.kind != "file" or not entry.mode & SET_ID or path not in self.packages.owners:
            return True
        if path in self.allowed or reason.startswith(EVIDENCE):
            self.privileged.discard(path)
            return True
        self.privileged.add(path)
        return False

    def note(self, path: str, reason: str) -> None:
        """Keep a path itself, and the directories above it."""
        if path in self.reasons:
            return
        self.reasons[path] = reason
        parent = path.rpartition("/")[0]
        if parent:
            self.note(parent, "directory of a kept file")
        self.todo.append(self.files.entries[path])

    def below(self, path: str, reason: str, but: tuple[str, ...] = ()) -> None:
        """Keep all under a directory, except what begins with one of `but`."""
        real, _ = self.files.walk(path)
        for each in self.files.below(real) if real else ():
            if not each.startswith(but):
                self.keep(each, reason)

    def keep_unowned(self, paths: Iterable[str], reason: str) -> None:
        """Keep those of some paths that belong to no package."""
        for each in paths:
            if each not in self.packages.owners:
                self.keep(each, reason)

    def whole_packages(self, paths: Iterable[str], but: re.Pattern[str] | None = None) -> None:
        """Keep all files of the packages that own some of these paths, but those of a pattern."""
        owners = self.packages.owners
        touched = {owners[path] for path in paths if path in owners and self.kind(path) == "file"}
        for path, owner in sorted(owners.items()):
            wanted = owner in touched and not path.startswith(REFUSE) and path in self.files
            if wanted and not (but and but.search(path)):
                self.keep(path, f"package {owner}")

    def is_excluded(self, path: str) -> bool:
        """Return whether the user wants a path dropped."""
        return any(fnmatch.fnmatchcase(path, glob) for glob in self._exclude)

    def kind(self, path: str) -> str:
        """Return what a path leads to; empty if it leads nowhere."""
        entry = self.files.resolve(path)
        return entry.kind if entry else ""

    def kept_files(self) -> list[str]:
        """List the files among the kept paths."""
        return [path for path in self.reasons if self.files.entries[path].kind == "file"]
