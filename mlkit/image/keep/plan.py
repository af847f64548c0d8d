"""The keep-set: which files of an image stay, each with the reason why."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import gc
import posixpath
import re
import shlex
from collections.abc import Callable, Iterator
from itertools import pairwise

from mlkit.image.command.entrypoint import environment, find_program, shell_line
from mlkit.image.command.health import health_words
from mlkit.image.filesystem import elf
from mlkit.image.filesystem.inventory import Entry, Inventory
from mlkit.image.keep.dynamically_loaded import DynamicallyLoaded
from mlkit.image.keep.keep_set import KeepSet
from mlkit.image.keep.names import WORD, paths_in
from mlkit.image.keep.node_imports import SUFFIXES
from mlkit.image.keep.ownership import Ownership
from mlkit.image.keep.package_data import PROGRAM
from mlkit.image.keep.python_closure import PythonClosure, interpreters
from mlkit.image.keep.request import Plan, Request
from mlkit.image.keep.source_cache import sources
from mlkit.image.keep.source_words import first_line
from mlkit.image.keep.system import (
    CACHES,
    LINKS,
    LOADED_LATE,
    NOT_LATE,
    PYTHON_PLACES,
    RUNTIME,
    SYSTEM,
)
from mlkit.image.packages.package import Packages

OWN = "the app's own directory"
RAN = (
    "opened",
    "source of .pyc",
    "entrypoint",
    "python module named",
    "missed",
    "script of a kept",
)
"""Reasons of modules of Python that a run or own code has asked for."""
SAMPLE = re.compile(r"/hooks/[a-z-]+\.sample$")
"""Hooks of git that do nothing before somebody renames them."""
RUNS_SCRIPTS = re.compile(r"python[\d.]*|node(?:js)?")
"""Programs whose own directory has nothing to do with the app."""


def plan(inventory: Inventory, packages: Packages, request: Request) -> Plan:
    """Compute the keep-set."""
    with _pause_collection():
        found = Planner(inventory, packages, request).run()
    sources().write()
    return found


@contextlib.contextmanager
def _pause_collection() -> Iterator[None]:
    """Let no garbage be collected: syntax trees are many objects, and hold no cycles."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


class Planner:
    """One computation of a keep-set: a worklist of files to look into."""

    def __init__(self, inventory: Inventory, packages: Packages, request: Request) -> None:
        self._inventory = inventory
        self._files = inventory.files
        self._packages = packages
        self._request = request
        self._config = inventory.image.config
        self._variables = environment(self._config)
        self._kept = KeepSet(inventory, packages, request.exclude, request.profile == "safe")
        self._keep = self._kept.keep
        library_path = self._variables.get("LD_LIBRARY_PATH", "").split(":")
        self._loader = elf.Loader(inventory, tuple(filter(None, library_path)))
        self._ownership = Ownership(inventory, packages)
        self._late = DynamicallyLoaded(self._kept, self._loader, request.command, self._ownership)
        self._unresolved: list[tuple[str, str]] = []
        self._pythons: dict[int, PythonClosure] = {}
        self._closed = request.profile != "tight"

    def run(self) -> Plan:
        """Keep the roots, then whatever they need."""
        self._roots()
        self._runtime()
        if self._closed:
            self._late.keep_named_by_config()
            self._app_directories()
        self._close()
        if self._closed:
            self._late.of_no_package(set(self._list_replaced()))
            self._late.directories()
            self._until_nothing_changes()
        if self._request.profile == "safe":
            self._kept.whole_packages(list(self._kept.reasons))
            everything = (path for path in self._files.entries if not path.startswith(CACHES))
            self._kept.keep_unowned(everything, OWN)
            self._close()
            self._until_nothing_changes()
        self._close()
        return self._records()

    def _roots(self) -> None:
        for program in self._program():
            self._keep(program, "entrypoint")
        for word in self._scripts():
            self._keep(self._absolute(word), "entrypoint")
        for path in sorted(self._request.trace.opened):
            self._keep(path, "opened")
            self._keep_listed(path)
        for path in sorted(self._request.trace.statted):
            self._keep(path, "stat'ed")
        for path in self._request.required:
            self._keep(path, "missed in a trial")
        for line in self._request.asked:
            self._probe(line)
        self._keep_included()

    def _probe(self, line: str) -> None:
        """Keep the program of a probe, what a shell of its starts, and the paths that it names."""
        words = shlex.split(line)
        program, paths = words[0], paths_in(line.encode(), self._files)
        named = WORD.findall(shell_line(words) or "")
        found = (find_program(self._files, self._config, each) for each in (program, *named))
        for path in (*filter(None, found), *sorted(paths)):
            if self._kept.kind(path) == "file":
                self._keep(path, "probe")

    def _keep_listed(self, path: str) -> None:
        """Keep the files of a directory that was opened: its list may be what was wanted.

        Where a file was made, keep the directory that it was made in.
        """
        real, _ = self._files.walk(path)
        if real is None:
            self._holding(path)
        elif real not in SYSTEM and not PYTHON_PLACES.search(real) and not real.startswith(CACHES):
            for name in sorted(self._files.children.get(real, ())):
                self._keep(f"{real}/{name}", "listed")

    def _holding(self, path: str) -> None:
        parent = posixpath.dirname(path.rstrip("/"))
        if parent in {"", "/"}:
            return
        if self._files.walk(parent)[0] is None:
            self._holding(parent)
        else:
            self._keep(parent, "directory that is written to")

    def _keep_included(self) -> None:
        globs = [glob.lstrip("/") for glob in self._request.include]
        if not globs:
            return
        for path in list(self._files.entries):
            if any(fnmatch.fnmatchcase(path, each) for each in globs):
                self._keep(path, "user include")

    def _runtime(self) -> None:
        for path in LINKS:
            if path in self._files and self._files.entries[path].kind == "symlink":
                self._keep(path, "symlink of the merged /usr")
                self._kept.note(path, "symlink of the merged /usr")
        for path in (*RUNTIME, *self._loader.musl.settings):
            self._keep(path, "expected of any system")
        self._kept.below("etc/ld.so.conf.d", "expected of any system")
        for path in LOADED_LATE:
            self._keep(path, "locale / tzdata / CA")
            self._kept.below(path, "locale / tzdata / CA", NOT_LATE)
        folder = self._config.get("WorkingDir") or "/"
        self._keep(folder, "working directory")
        for volume in self._config.get("Volumes") or ():
            self._keep(volume, "volume")
        for word in health_words(self._config):
            program = find_program(self._files, self._config, word)
            if program and word not in {".", "/"}:
                self._keep(program, "health check")

    def _close(self) -> None:
        while self._kept.todo:
            entry = self._kept.todo.pop()
            if entry.kind == "symlink":
                self._keep(entry.path, f"target of {entry.path}")
            elif entry.kind == "file":
                self._look_into(entry)

    def _look_into(self, entry: Entry) -> None:
        head = self._inventory.read(entry, 256)
        if head.startswith(elf.MAGIC):
            self._needs(entry)
            return
        script = head.startswith(b"#!")
        if script:
            self._script(entry, head)
        if entry.path.endswith(".pyc"):
            self._source(entry)
        elif entry.path.endswith(".py") or (script and b"python" in head.split(b"\n")[0]):
            self._python_source(entry)
        elif entry.path.endswith(SUFFIXES) and self._closed:
            self._late.keep_required_by(entry)
            if "/node_modules/" in entry.path:
                self._late.installed.module(entry)
        if self._closed:
            self._late.of_file(entry, head)

    def _python_source(self, entry: Entry) -> None:
        closures = self._pythons.values()
        for each in closures:
            each.imports_of(entry.path, self._is_started(entry))
        if self._closed and any(each.finder.is_third(entry.path) for each in closures):
            self._late.installed.module(entry)

    def _needs(self, entry: Entry) -> None:
        with self._inventory.open(entry) as file:
            found = elf.parse(file)
            if found is not None:
                self._keep_needed(entry, found)
                if self._closed:
                    self._late.of_elf(entry, found, file)

    def _keep_needed(self, entry: Entry, found: elf.Elf) -> None:
        if found.interpreter:
            self._keep(found.interpreter, "interpreter")
        for name in found.needed:
            paths = self._loader.find(name, found, entry.path)
            for number, path in enumerate(paths):
                self._hand_down(path, found, entry)
                sibling = "sibling of a CPU-dispatched library: " if number else ""
                self._keep(path, f"{sibling}needed by ELF {entry.path}")
            if not paths:
                self._unresolved.append((name, entry.path))
        if posixpath.basename(entry.path) == "libc.so.6":
            self._late.name_services(entry)

    def _hand_down(self, path: str, found: elf.Elf, user: Entry) -> None:
        """Look again into a library that finds more since something else needs it as well."""
        if self._loader.hand_down(path, found, user.path):
            library = self._files.resolve(path)
            if library is not None and library.path in self._kept.reasons:
                self._kept.todo.append(library)

    def _find_reached(self) -> Callable[[str], bool]:
        """Return a predicate: whether own code imports a module, at any depth, or a run has."""
        kept = self._kept.reasons
        sources = [path for path in kept if path.endswith(".py")]
        roots = {path for path in sources if kept[path].startswith(RAN)}
        roots |= {path for path in sources if self._ownership.is_own(path)}
        reached = {path for each in self._pythons.values() for path in each.find_reached(roots)}
        return (roots | reached).__contains__

    def _script(self, entry: Entry, head: bytes) -> None:
        if SAMPLE.search(entry.path):
            return
        words = head.split(b"\n")[0][2:].decode(errors="replace").split()
        program = first_line(head)
        if words:
            self._keep(words[0], f"interpreter of {entry.path}")
        if program:
            found = find_program(self._files, self._config, program[0])
            self._keep(found or program[0], f"interpreter of {entry.path}")

    def _source(self, entry: Entry) -> None:
        folder, name = posixpath.split(entry.path)
        if posixpath.basename(folder) == "__pycache__":
            source = f"{posixpath.dirname(folder)}/{name.split('.')[0]}.py"
            self._keep(source, "source of .pyc")

    def _is_started(self, entry: Entry) -> bool:
        """Return whether a Python file may be run itself: own code, or a module by -m."""
        if self._ownership.is_own(entry.path) or not entry.path.endswith(".py"):
            return True
        words = self._request.command.words
        modules = [word for flag, word in pairwise(words) if flag == "-m"]
        return any(entry.path.endswith(f"/{each.replace('.', '/')}.py") for each in modules)

    def _until_nothing_changes(self) -> None:
        """Apply the rules again after every addition: what is kept may need more in turn."""
        # No order of the rules is enough: a program that own code names brings a library, whose
        # package brings a setting, which names another program. Reasons are only ever added, and
        # files are finite, so that this ends.
        before = -1
        while len(self._kept.reasons) != before:
            before = len(self._kept.reasons)
            self._python()
            self._late.own.settle()
            self._late.installed.settle(self._find_reached())
            self._late.plugins()
            self._late.data()
            self._late.whole_where_unknown()
            self._late.catalogs()
            self._close()

    def _python(self) -> None:
        """Follow the imports of all Python code that is kept."""
        found = interpreters(self._kept.kept_files())
        fresh = found.keys() - self._pythons.keys()
        for version in sorted(fresh):
            closure = PythonClosure(
                self._inventory, version, found[version], self._search_path(), self._keep
            )
            self._pythons[version] = closure
            closure.begin()
            if self._is_only_named(version):
                closure.standard_library()
        for path in self._kept.kept_files() if fresh else ():
            for each in self._pythons.values():
                each.package_of(path)
            self._kept.todo.append(self._files.entries[path])
        self._close()
        for each in self._pythons.values():
            each.keep_named(self._late.own.modules)
            each.consoles(self._consoles)
        self._close()

    @functools.cached_property
    def _consoles(self) -> dict[str, str]:
        """The scripts that pip has written, with the modules that they start."""
        found = ((path, self._ownership.console_module(path)) for path in self._files.entries)
        return {path: module for path, module in found if module}

    def _is_only_named(self, version: int) -> bool:
        """Return whether a Python may be started, but what it runs then is not known."""
        name = f"python3.{version}"
        found = [path for path in self._kept.kept_files() if posixpath.basename(path) == name]
        return all(self._kept.reasons[path].startswith("named in") for path in found)

    def _search_path(self) -> list[str]:
        folders = self._variables.get("PYTHONPATH", "").split(":")
        folders.append(self._config.get("WorkingDir") or "")
        folders += [posixpath.dirname(self._absolute(word)) for word in self._scripts()]
        return [each.strip("/") for each in dict.fromkeys(folders) if each.strip("/")]

    def _absolute(self, word: str) -> str:
        return posixpath.join(self._config.get("WorkingDir") or "/", word)

    def _scripts(self) -> list[str]:
        """List the words of the command that are files; a shell's line has some within."""
        command = self._request.command
        words = [*command.words[1:], *WORD.findall(command.shell)]
        return [word for word in words if self._kept.kind(self._absolute(word)) == "file"]

    def _app_directories(self) -> None:
        """Keep the app's own files: those of no package beside what is started."""
        folders = {self._config.get("WorkingDir") or "/"}
        folders |= {posixpath.dirname(self._absolute(word)) for word in self._scripts()}
        folders |= set(self._variables.get("PYTHONPATH", "").split(":"))
        programs = {path for path in self._request.trace.opened if PROGRAM.search(path)}
        folders |= {self._home(path) for path in programs | self._program()}
        for folder in sorted(folders - {""}):
            real, _ = self._files.walk(folder)
            if real is not None and (real not in SYSTEM or real == "srv"):
                self._kept.keep_unowned(self._files.below(real), OWN)

    def _list_replaced(self) -> Iterator[str]:
        """List the scripts that our launcher stands in for: nothing starts them any more."""
        for path in self._request.replaced:
            entry = self._files.resolve(path)
            if entry is not None:
                yield entry.path

    def _program(self) -> set[str]:
        """Return the path of what is started."""
        argv = self._request.command.words
        program = find_program(self._files, self._config, argv[0]) if argv else None
        return {program} if program else set()

    def _home(self, path: str) -> str:
        """Return the directory of a program of the app's own, which may hold what it reads.

        Of `/opt/app/bin/app` that is `/opt/app`; empty if it is no such program, or if what lies
        there is known: the packages of a Python or Node, the modules that Go was built from.
        """
        entry = self._files.resolve(path)
        plain = entry is None or entry.kind != "file" or not entry.mode & 0o111
        if entry is None or plain or entry.path in self._packages.owners or ".so" in entry.path:
            return ""
        folder, name = posixpath.split(entry.path)
        if posixpath.basename(folder) in {"bin", "sbin", "libexec"}:
            folder = posixpath.dirname(folder)
        inner = self._files.children.get(f"{folder}/lib", set())
        known = any(each.startswith("python3") or each == "node_modules" for each in inner)
        built = f"{folder}/pkg/mod" in self._files or f"{folder}/pyvenv.cfg" in self._files
        return "" if known or built or RUNS_SCRIPTS.fullmatch(name) else folder

    def _records(self) -> Plan:
        """Note the packages of what is kept, and keep their copyright files."""
        owners = self._packages.owners
        packages = {owners[path] for path in self._kept.kept_files() if path in owners}
        for name in sorted(packages):
            self._keep(f"usr/share/doc/{name}/copyright", f"package data of {name}")
        reasons = self._kept.reasons
        kept = {path: why for path, why in reasons.items() if not self._kept.is_excluded(path)}
        own = self._late.own.starting
        left_out = sorted(self._kept.privileged - kept.keys())
        code = [path for path in sorted(kept) if self._ownership.is_code(path)]
        optional = sorted(self._kept.optional.keys() - kept.keys())
        return Plan(kept, self._unresolved, packages, left_out, optional, sorted(set(own)), code)
