"""What packages hold for their programs and libraries to read, at whatever time that is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from mlkit.image.filesystem.inventory import FileSystem
from mlkit.image.packages.dpkg import Packages

DEPENDS = re.compile(r"^(?:Pre-)?Depends: (.*)$", re.MULTILINE)
NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
PROGRAM = re.compile(r"(?:^|/)s?bin/|^usr/games/")
LIBRARY = re.compile(r"\.so(?:\.\d+)*$")
NO_DATA = re.compile(
    r"usr/(?:share/(?:doc|man|info|lintian|locale|bug|bash-completion|zsh|fish|gdb|doc-base|menu"
    r"|applications|icons|pixmaps|aclocal|pkgconfig|help|gtk-doc|perl5/Debian|debhelper)|include"
    r"|lib/(?:[^/]*/)?(?:pkgconfig|cmake|debug)|src)/"
    r"|(?:usr/)?lib/(?:systemd|udev|modules-load\.d|sysctl\.d|tmpfiles\.d|sysusers\.d)/"
    r"|etc/(?:init\.d|cron[^/]*|logrotate\.d|apt|default|bash_completion\.d|systemd|rc.\.d)/"
    r"|var/(?:cache|lib/(?:dpkg|apt))/|.*\.(?:a|la|h|hpp|pc|cmake)$"
)
"""For people, for compilers, and for what runs a whole machine."""


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

    def tools_of(self, reasons: Mapping[str, str]) -> list[str]:
        """List the programs of the packages that a container starts, such as clients of servers."""
        owners = self._packages.owners
        started = {owners[path] for path, why in reasons.items()
                   if why == "entrypoint" and path in owners}  # fmt: skip
        wanted = (path for name in started for path in self._paths.get(name, ()))
        return sorted(path for path in wanted if PROGRAM.search(path) and path in self._files)

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

    def _depends(self, name: str) -> set[str]:
        stanza = self._packages.installed[name].stanza
        clauses = ",".join(DEPENDS.findall(stanza)).replace("|", ",").split(",")
        names = {match.group() for each in clauses if (match := NAME.match(each.strip()))}
        return names & self._packages.installed.keys()

    def _is_data(self, name: str) -> bool:
        paths = self._paths.get(name, ())
        return not any(PROGRAM.search(path) or LIBRARY.search(path) for path in paths)
