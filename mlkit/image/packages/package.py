"""Packages of a distribution, whichever package manager has installed them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Manager = Literal["dpkg", "apk"]


@dataclass(frozen=True)
class Package:
    """An installed package.

    Attributes:
        name: Its name.
        version: Its version.
        architecture: Its architecture.
        stanza: Its paragraph of the database, unchanged.
        manager: What has installed it.
        depends: What it depends on, alternatives too: packages, or what they provide.
        extends: What it may be there for, such as a program for which it has a dictionary.
        provides: The other names by which packages depend on it.
        source: The source that it is built from.
        is_basic: Every system of its distribution has it.
        settings: The digests of its settings as installed: path to `md5:HEX`.
    """

    name: str
    version: str
    architecture: str
    stanza: str
    manager: Manager = "dpkg"
    depends: frozenset[str] = frozenset()
    extends: frozenset[str] = frozenset()
    provides: frozenset[str] = frozenset()
    source: str = ""
    is_basic: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Packages:
    """The installed packages and the owner of each path.

    Attributes:
        installed: Name to package.
        owners: Path (without links in its directory) to the package's name.
        wanted: Packages that somebody has asked for by name, as far as that was noted.
    """

    installed: dict[str, Package]
    owners: dict[str, str]
    wanted: frozenset[str] = frozenset()

    def files_of(self, name: str) -> list[str]:
        """List the paths of a package."""
        return sorted(path for path, owner in self.owners.items() if owner == name)

    @property
    def are_of_apk(self) -> bool:
        """Return whether apk has installed them."""
        return any(each.manager == "apk" for each in self.installed.values())
