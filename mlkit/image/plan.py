"""The keep-set: which files of an image stay, each with the reason why."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from mlkit.image import elf
from mlkit.image.entrypoint import Command, environment, find_program
from mlkit.image.health import health_words
from mlkit.image.inventory import Entry, Inventory
from mlkit.image.packages import Packages
from mlkit.image.python_imports import INTERPRETER, Finder
from mlkit.image.trace import Trace

Profile = Literal["safe", "balanced", "tight"]
RUNTIME = (
    *("etc/passwd", "etc/group", "etc/nsswitch.conf", "etc/host.conf", "etc/services"),
    *("etc/protocols", "etc/os-release", "usr/lib/os-release", "etc/ld.so.cache"),
    *("etc/ssl/certs/ca-certificates.crt", "etc/localtime", "etc/timezone", "etc/mime.types"),
    *("etc/ld.so.conf", "etc/ld.so.conf.d", "etc/ssl/openssl.cnf", "usr/lib/ssl/openssl.cnf"),
    *("usr/lib/locale/C.utf8", "tmp", "var/tmp", "root", "run", "home", "etc/debian_version"),
)
"""Paths that programs expect of any system."""
LOADED_LATE = (
    *("etc/ssl/certs", "usr/lib/ssl", "usr/local/share/ca-certificates", "etc/pki/tls"),
    *("usr/share/zoneinfo", "usr/lib/locale"),
)
"""Data that libraries read when somebody asks, at whatever time that is."""
NOT_LATE = ("usr/lib/ssl/misc/", "usr/share/zoneinfo/right/", "usr/share/zoneinfo/posix/")
"""Among those: scripts for certificate authorities, and zones by other clocks."""
LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "var/run", "var/lock")
"""Links of the merged /usr, kept so that absolute paths go on working."""
SYSTEM = {"", "usr", "etc", "bin", "lib", "sbin", "var", "tmp", "root", "home", "opt", "usr/local"}
SYSTEM |= {"usr/bin", "usr/sbin", "usr/lib", "usr/local/bin", "usr/local/lib", "proc", "sys", "dev"}
"""Directories that are no app's own."""
REFUSE = ("usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/lintian/")
CACHES = ("var/cache/", "var/lib/apt/", "var/lib/dpkg/", "var/log/", "tmp/", "proc/", "sys/")
"""Directories whose contents are no part of an app."""


@dataclass
class Plan:
    """The keep-set.

    Attributes:
        reasons: Path to the first reason for which it is kept.
        unresolved: (library, who needs it) that the image itself does not hold.
        packages: Packages of which something is kept.
    """

    reasons: dict[str, str] = field(default_factory=dict)
    unresolved: list[tuple[str, str]] = field(default_factory=list)
    packages: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Request:
    """What to keep a keep-set for.

    Attributes:
        command: What the container starts.
        trace: What it looked up.
        profile: How much more than that.
        include: Globs of paths to keep.
        exclude: Globs of paths to drop; they win.
        required: Paths that a trial has shown to be missing.
    """

    command: Command
    trace: Trace = field(default_factory=Trace)
    profile: Profile = "balanced"
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    required: Sequence[str] = ()


def plan(inventory: Inventory, packages: Packages, request: Request) -> Plan:
    """Compute the keep-set."""
    return Planner(inventory, packages, request).run()


class Planner:
    """One computation of a keep-set: a worklist of files to look into."""

    def __init__(self, inventory: Inventory, packages: Packages, request: Request) -> None:
        self._inventory = inventory
        self._files = inventory.files
        self._packages = packages
        self._request = request
        self._config = inventory.image.config
        self._variables = environment(self._config)
        library_path = self._variables.get("LD_LIBRARY_PATH", "").split(":")
        self._loader = elf.Loader(inventory, tuple(filter(None, library_path)))
        self._plan = Plan()
        self._todo: list[Entry] = []
        self._finder: Finder | None = None
        self._whole_ones: set[str] = set()
        self._exclude = [glob.lstrip("/") for glob in request.exclude]

    def run(self) -> Plan:
        """Keep the roots, then whatever they need."""
        self._roots()
        self._runtime()
        self._close()
        self._python()
        if self._request.profile != "tight":
            self._app_directories()
        if self._request.profile == "safe":
            self._whole_packages()
        self._close()
        self._records()
        return self._plan

    def keep(self, path: str, reason: str) -> None:
        """Keep what a path leads to, and every link and directory on the way."""
        real, links = self._files.walk(path)
        for link in links:
            self._note(link, f"symlink to {self._files.entries[link].target}")
        entry = self._files.get(real) if real else None
        if entry and real and not self._excluded(real):
            self._note(real, reason)

    def _note(self, path: str, reason: str) -> None:
        if path in self._plan.reasons:
            return
        self._plan.reasons[path] = reason
        parent = path.rpartition("/")[0]
        if parent:
            self._note(parent, "directory of a kept file")
        self._todo.append(self._files.entries[path])

    def _excluded(self, path: str) -> bool:
        return any(fnmatch.fnmatchcase(path, glob) for glob in self._exclude)

    def _below(self, path: str, reason: str, but: tuple[str, ...] = ()) -> None:
        real, _ = self._files.walk(path)
        for each in self._files.below(real) if real else ():
            if not each.startswith(but):
                self.keep(each, reason)

    def _roots(self) -> None:
        argv = self._request.command.words
        program = find_program(self._files, self._config, argv[0]) if argv else None
        if program:
            self.keep(program, "entrypoint")
        for word in argv[1:]:
            place = posixpath.join(self._config.get("WorkingDir") or "/", word)
            if self._kind(place) == "file":
                self.keep(place, "entrypoint")
        for path in sorted(self._request.trace.opened):
            self.keep(path, "opened")
        for path in sorted(self._request.trace.statted):
            self.keep(path, "stat'ed")
        for path in self._request.required:
            self.keep(path, "missed in a trial")
        self._included()

    def _included(self) -> None:
        globs = [glob.lstrip("/") for glob in self._request.include]
        if not globs:
            return
        for path in list(self._files.entries):
            if any(fnmatch.fnmatchcase(path, each) for each in globs):
                self.keep(path, "user include")

    def _runtime(self) -> None:
        for path in LINKS:
            if path in self._files and self._files.entries[path].kind == "symlink":
                self.keep(path, "symlink of the merged /usr")
                self._note(path, "symlink of the merged /usr")
        for path in RUNTIME:
            self.keep(path, "expected of any system")
        self._below("etc/ld.so.conf.d", "expected of any system")
        for path in LOADED_LATE:
            self.keep(path, "locale / tzdata / CA")
            self._below(path, "locale / tzdata / CA", NOT_LATE)
        folder = self._config.get("WorkingDir") or "/"
        self.keep(folder, "working directory")
        for volume in self._config.get("Volumes") or ():
            self.keep(volume, "volume")
        for word in health_words(self._config):
            program = find_program(self._files, self._config, word)
            if program and word not in {".", "/"}:
                self.keep(program, "health check")

    def _kind(self, path: str) -> str:
        entry = self._files.resolve(path)
        return entry.kind if entry else ""

    def _close(self) -> None:
        while self._todo:
            entry = self._todo.pop()
            if entry.kind == "symlink":
                self.keep(entry.path, f"target of {entry.path}")
            elif entry.kind == "file":
                self._look_into(entry)

    def _look_into(self, entry: Entry) -> None:
        head = self._inventory.read(entry, 256)
        if head.startswith(elf.MAGIC):
            self._needs(entry)
        elif head.startswith(b"#!"):
            self._script(entry, head)
        elif entry.path.endswith(".pyc"):
            self._source(entry)
        elif entry.path.endswith(".py"):
            self._imports(entry)

    def _needs(self, entry: Entry) -> None:
        found = elf.parse(self._inventory.read(entry))
        if found is None:
            return
        if found.interpreter:
            self.keep(found.interpreter, "interpreter")
        for name in found.needed:
            paths = self._loader.find(name, found, entry.path)
            for path in paths:
                self.keep(path, f"needed by ELF {entry.path}")
            if not paths:
                self._plan.unresolved.append((name, entry.path))
        if posixpath.basename(entry.path) == "libc.so.6":
            self._name_services(entry)

    def _name_services(self, libc: Entry) -> None:
        """Keep what glibc loads by name: users, groups and host names are looked up with it."""
        folder = libc.path.rpartition("/")[0]
        for name in sorted(self._files.children.get(folder, ())):
            if name.startswith(("libnss_files.so", "libnss_dns.so", "libresolv.so")):
                self.keep(f"{folder}/{name}", "loaded by glibc: NSS")

    def _script(self, entry: Entry, head: bytes) -> None:
        words = head.split(b"\n")[0][2:].decode(errors="replace").split()
        if words:
            self.keep(words[0], f"interpreter of {entry.path}")
        if len(words) > 1 and words[0].endswith("/env"):
            program = find_program(self._files, self._config, words[-1])
            if program:
                self.keep(program, f"interpreter of {entry.path}")
        if words and "python" in words[-1]:
            self._imports(entry)

    def _source(self, entry: Entry) -> None:
        folder, name = posixpath.split(entry.path)
        if posixpath.basename(folder) == "__pycache__":
            source = f"{posixpath.dirname(folder)}/{name.split('.')[0]}.py"
            self.keep(source, "source of .pyc")

    def _imports(self, entry: Entry) -> None:
        if self._finder is None:
            return
        for found in self._finder.imports_of(entry.path, self._started(entry)):
            self.keep(found.path, found.reason)
            self._distribution(found.path)

    def _started(self, entry: Entry) -> bool:
        """Say whether a Python file may be what a command runs: a script, or a module by -m."""
        if self._plan.reasons[entry.path] == "entrypoint" or not entry.path.endswith(".py"):
            return True
        words = self._request.command.words
        modules = [word for flag, word in pairwise(words) if flag == "-m"]
        return any(entry.path.endswith(f"/{each.replace('.', '/')}.py") for each in modules)

    def _python(self) -> None:
        """Follow the imports of all Python code that is kept (not for `tight`)."""
        versions = {
            match.group(1)
            for path in self._plan.reasons
            if (match := INTERPRETER.search(path)) and self._kind(path) == "file"
        }
        if not versions or self._request.profile == "tight":
            return
        version = int(max(versions, key=int))
        self._finder = Finder(self._inventory, version, self._prefixes(), self._search_path())
        for found in self._finder.hidden():
            self.keep(found.path, found.reason)
        for path in list(self._plan.reasons):
            entry = self._files.entries[path]
            if entry.kind == "file":
                self._distribution(path)
                self._todo.append(entry)
        self._close()

    def _prefixes(self) -> list[str]:
        environments = [
            path.rpartition("/")[0] for path in self._files.entries if path.endswith("pyvenv.cfg")
        ]
        return ["usr", "usr/local", *sorted(environments)]

    def _search_path(self) -> list[str]:
        folders = self._variables.get("PYTHONPATH", "").split(":")
        folders.append(self._config.get("WorkingDir") or "")
        folders += [posixpath.dirname(self._absolute(word)) for word in self._scripts()]
        return [each.strip("/") for each in dict.fromkeys(folders) if each.strip("/")]

    def _absolute(self, word: str) -> str:
        return posixpath.join(self._config.get("WorkingDir") or "/", word)

    def _scripts(self) -> list[str]:
        words = self._request.command.words
        return [word for word in words if self._kind(self._absolute(word)) == "file"]

    def _distribution(self, path: str) -> None:
        """Keep the whole of a third-party package once a part of it is kept."""
        for place in self._finder.third if self._finder else ():
            if not path.startswith(place + "/"):
                continue
            top = path[len(place) + 1 :].split("/")[0]
            root = f"{place}/{top}"
            if self._kind(root) == "directory" and root not in self._whole_ones:
                self._whole_ones.add(root)
                self._whole(root, place, top)

    def _whole(self, root: str, place: str, top: str) -> None:
        for each in self._files.below(root):
            if "/__pycache__/" not in each:
                self._note(each, f"package data of {top}")
        stem = top.lower().replace("_", "-")
        for name in sorted(self._files.children.get(place, ())):
            plain = name.lower().replace("_", "-")
            if plain.startswith((f"{stem}-", f"{stem}.")):
                self.keep(f"{place}/{name}", f"package data of {top}")
                self._below(f"{place}/{name}", f"package data of {top}")

    def _app_directories(self) -> None:
        """Keep the app's own files: those of no package beside what is started."""
        folders = {self._config.get("WorkingDir") or "/"}
        folders |= {posixpath.dirname(self._absolute(word)) for word in self._scripts()}
        for folder in sorted(folders):
            real, _ = self._files.walk(folder)
            if real is None or real in SYSTEM:
                continue
            self._unowned(self._files.below(real))

    def _unowned(self, paths: Iterable[str]) -> None:
        for each in paths:
            if each not in self._packages.owners:
                self.keep(each, "the app's own directory")

    def _whole_packages(self) -> None:
        touched = {
            self._packages.owners[path]
            for path in self._plan.reasons
            if path in self._packages.owners and self._files.entries[path].kind == "file"
        }
        for path, owner in sorted(self._packages.owners.items()):
            if owner in touched and not path.startswith(REFUSE) and path in self._files:
                self.keep(path, f"package {owner}")
        self._unowned(path for path in self._files.entries if not path.startswith(CACHES))

    def _records(self) -> None:
        """Note the packages of what is kept, and keep their copyright files."""
        owners = self._packages.owners
        kept = [path for path in self._plan.reasons if self._files.entries[path].kind == "file"]
        self._plan.packages = {owners[path] for path in kept if path in owners}
        for name in sorted(self._plan.packages):
            self.keep(f"usr/share/doc/{name}/copyright", f"package data of {name}")
        for path in list(self._plan.reasons):
            if self._excluded(path):
                del self._plan.reasons[path]
