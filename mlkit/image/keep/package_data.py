"""What packages hold for their programs and libraries to read, at whatever time that is."""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping

from mlkit.image.filesystem.elf import PLACES
from mlkit.image.filesystem.inventory import FileSystem
from mlkit.image.keep.perl_library import CORE
from mlkit.image.keep.runtimes import LIBRARIES
from mlkit.image.keep.runtimes import NAME as RUNTIME
from mlkit.image.packages.package import Packages

MODULES = re.compile(
    rf"{LIBRARIES.pattern}|^usr/share/(?:nodejs|php|java|javascript|lua|tcltk|R|maven-repo|gir-1\.0)/"
)
"""Libraries of languages: they depend on their runtime, which does not need them."""
PROGRAM = re.compile(r"(?:^|/)s?bin/|^usr/games/")
ON_PATH = re.compile(r"(?:usr/)?s?bin/|usr/games/")
MAINTAINERS = {"ucf", "debconf", "dbconfig-common", "lsb-base", "lsb-release", "fontconfig"}
MAINTAINERS |= {"init-system-helpers", "update-inetd", "ssl-cert", "sgml-base", "ca-certificates"}
"""What scripts of maintainers start when a package is installed."""
PERL = "perl"
"""The package of Perl's own tools: what is in Perl depends on it for the library beneath."""
LIBRARY = re.compile(r"\.so(?:\.\d+)*$")
STARTED = "of the package that is started"
VERSION = re.compile(r"-?\d[\d.]*$")
"""The end of the name of a source of which there are several: `postgresql-15`."""
NO_DATA = re.compile(
    r"usr/(?:share/(?:doc|man|info|lintian|locale|bug|bash-completion|zsh|fish|gdb|doc-base|menu"
    r"|applications|icons|pixmaps|aclocal|pkgconfig|help|gtk-doc|perl5/Debian|debhelper)|include"
    r"|lib/(?:[^/]*/)?(?:pkgconfig|cmake|debug)|src)/"
    r"|(?:usr/)?lib/(?:systemd|udev|modules-load\.d|sysctl\.d|tmpfiles\.d|sysusers\.d)/"
    r"|etc/(?:init\.d|cron[^/]*|logrotate\.d|apt|default|bash_completion\.d|systemd|rc.\.d)/"
    r"|usr/lib/ssl/misc/|var/(?:cache|lib/(?:dpkg|apt))/|.*\.(?:a|la|h|hpp|pc|cmake)$"
)
"""For people, for compilers, and for what runs a whole machine."""


def _is_plugin(path: str) -> bool:
    """Return whether a library lies where no loader looks: a program loads it by its path."""
    return bool(LIBRARY.search(path)) and posixpath.dirname(path) not in PLACES


class PackageData:
    """The data of packages: theirs, and that of the packages of data that they depend on.

    A package of data holds neither programs nor libraries.

    Args:
        packages: The packages of an image.
        files: Its files.
    """

    def __init__(self, packages: Packages, files: FileSystem) -> None:
        self._packages = packages
        self._files = files
        self._paths: dict[str, list[str]] = {}
        for path, owner in packages.owners.items():
            self._paths.setdefault(owner, []).append(path)

    def of(self, names: Iterable[str], started: frozenset[str]) -> Iterator[tuple[str, str]]:
        """Return paths and reasons.

        Args:
            names: Packages of which a program or a library is kept.
            started: Those of which a program may be started, though no run has done so: what they
                start themselves is theirs as well.
        """
        for name in sorted(names):
            package = self._packages.installed.get(name)
            if package:
                yield from self._own(name, name in started)
            yield from self.beneath([name])
            for other in (
                sorted(self._extending.get(name, ())) if name in self._with_programs else ()
            ):
                yield from self._own(other, False)

    def wanted(self) -> Iterator[tuple[str, str]]:
        """Return the data of packages that somebody asked for by name: no program depends on it.

        So are dictionaries, fonts and time zones of images that apk has made.
        """
        for name in sorted(self._packages.wanted):
            if self._is_data(name) and not self._packages.installed[name].is_basic:
                yield from self._own(name, False)

    def tools_of(self, reasons: Mapping[str, str], named: Iterable[str]) -> list[tuple[str, str]]:
        """Return the programs and plug-ins of the packages that a container starts, with reasons.

        Clients of a server are asked for by people, its plug-ins by settings and statements.

        Args:
            reasons: What is kept, and why.
            named: Programs that its command names, which a script of its may start.
        """
        owners = self._packages.owners
        first = {path for path, why in reasons.items() if why == "entrypoint"}
        started = {owners[path] for path in (*first, *named) if path in owners}
        servers = {name for name in started if not self._is_runtime(name)}
        sources = set(map(self._source, servers))
        started |= {name for name in self._with_programs if self._source(name) in sources}
        started |= self._kin(servers)
        tools = [path for path in self._there(started) if PROGRAM.search(path)]
        extending = {name for name in self._packages.installed if self._depends(name) & servers}
        plugins = [path for path in self._there(started | extending) if _is_plugin(path)]
        found = [(path, f"tool {STARTED}") for path in tools]
        return found + [(path, f"plug-in {STARTED}") for path in plugins]

    def _kin(self, servers: set[str]) -> set[str]:
        """Return what servers depend on that is of their family, at any depth.

        Debian starts the clients of PostgreSQL by programs of `postgresql-client-common`.
        """
        families = {VERSION.sub("", self._source(name)) for name in servers}
        todo, seen = sorted(servers), set(servers)
        while todo:
            for other in sorted(self._depends(todo.pop()) - seen):
                source = self._source(other)
                if any(source == each or source.startswith(f"{each}-") for each in families):
                    seen.add(other)
                    todo.append(other)
        return seen & self._with_programs

    def _there(self, names: Iterable[str]) -> list[str]:
        """List the files of some packages that the image has."""
        wanted = (path for name in names for path in self._paths.get(name, ()))
        return sorted(path for path in wanted if path in self._files)

    def is_basic(self, path: str) -> bool:
        """Return whether a file belongs to a package that every system has."""
        package = self._packages.installed.get(self._packages.owners.get(path, ""))
        return package is not None and package.is_basic

    def programs_of_libraries(self, kept: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Return the programs that libraries of languages depend on, with reasons.

        A library has no other reason to depend on a program than that it starts it.

        Args:
            kept: The paths that are kept.
        """
        owners = self._packages.owners
        libraries = {owners[path] for path in kept if path in owners and LIBRARIES.search(path)}
        for name in sorted(libraries - self._with_programs):
            for path in self._programs_beneath(name):
                yield path, f"{name} depends on its package"

    def _programs_beneath(self, name: str) -> Iterator[str]:
        """Return the programs of what a package depends on, through packages that hold nothing."""
        todo, seen = [name], {name}
        while todo:
            for other in sorted(self._depends(todo.pop()) - seen):
                seen.add(other)
                if other in self._with_programs and not self._is_tool(other):
                    yield from (path for path in self._paths[other] if self._is_program(path))
                elif self._is_empty(other):
                    todo.append(other)

    def _is_tool(self, name: str) -> bool:
        """Return whether a package is basic, a runtime, or one for scripts of maintainers."""
        basic = self._packages.installed[name].is_basic
        runtime = self._is_runtime(name) or name == PERL
        return runtime or basic or name in MAINTAINERS

    def _is_runtime(self, name: str) -> bool:
        paths = self._paths.get(name, ())
        programs = {posixpath.basename(path) for path in paths if PROGRAM.search(path)}
        return any(RUNTIME.fullmatch(each) for each in programs)

    def _source(self, name: str) -> str:
        """Return the source of a package: server and clients are often built from the same."""
        package = self._packages.installed.get(name)
        return package.source if package else name

    def _is_empty(self, name: str) -> bool:
        paths = self._paths.get(name, ())
        return not any(self._is_file(path) and not NO_DATA.match(path) for path in paths)

    def _is_file(self, path: str) -> bool:
        entry = self._files.get(path)
        return entry is not None and entry.kind != "directory"

    def _is_program(self, path: str) -> bool:
        return bool(ON_PATH.match(path)) and self._is_file(path)

    @functools.cached_property
    def _with_programs(self) -> set[str]:
        return {name for name, paths in self._paths.items() if any(map(self._is_program, paths))}

    def beneath(self, names: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Return the paths of the packages of data that some depend on, with reasons."""
        todo = sorted(set(names) & self._packages.installed.keys())
        seen = set(todo)
        while todo:
            for name in sorted(self._depends(todo.pop()) - seen):
                seen.add(name)
                if self._is_data(name):
                    todo.append(name)
                    yield from self._own(name, False)

    def _own(self, name: str, started: bool) -> Iterator[tuple[str, str]]:
        for path in self._paths.get(name, ()):
            entry = self._files.get(path)
            if entry is None or entry.kind == "directory" or NO_DATA.match(path):
                continue
            helper = entry.kind == "file" and entry.mode & 0o111
            if not PROGRAM.search(path) and (started or not (helper or LIBRARY.search(path))):
                yield path, f"package data of {name}"

    def _depends(self, name: str) -> frozenset[str]:
        named = self._packages.installed[name].depends
        there = named & self._packages.installed.keys()
        return there.union(*(self._providing.get(each, ()) for each in named - there)) - {name}

    @functools.cached_property
    def _providing(self) -> dict[str, set[str]]:
        """Return the packages that provide a virtual one: dictionaries, fonts, and the like."""
        found: dict[str, set[str]] = {}
        for name, package in self._packages.installed.items():
            for each in package.provides:
                found.setdefault(each, set()).add(name)
        return found

    @functools.cached_property
    def _extending(self) -> dict[str, set[str]]:
        """Return the packages of data that are there for another: the languages of a program."""
        found: dict[str, set[str]] = {}
        for name, package in self._packages.installed.items():
            paths = self._paths.get(name, ())
            if not self._is_data(name) or any(MODULES.search(path) for path in paths):
                continue
            for each in package.extends:
                found.setdefault(each, set()).add(name)
        return found

    @functools.cached_property
    def of_perl(self) -> set[str]:
        """The packages of Perl's core library: a rule of its own knows what of it is needed."""
        owners = self._packages.owners.items()
        return {name for path, name in owners if path.startswith(CORE) and self._is_file(path)}

    def _is_data(self, name: str) -> bool:
        if name in self.of_perl:
            return False
        paths = self._paths.get(name, ())
        return not any(PROGRAM.search(path) or LIBRARY.search(path) for path in paths)
