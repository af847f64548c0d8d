"""Installed Python packages: which files belong together, according to their metadata."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlkit.image.filesystem.inventory import Inventory

METADATA = re.compile(r"(.+?)(?:-[^-]+)*\.(?:dist|egg)-info$")
REQUIRES = re.compile(r"^Requires-Dist: *([A-Za-z0-9._-]+)(.*)$", re.MULTILINE)
TOOLS = {"pip", "setuptools", "wheel", "pkg-resources"}
"""What installs packages looks for plug-ins of its own."""

READERS = {
    "pytest11": "pytest",
    "pyinstaller": "pyinstaller",
    "pkg_config": "pkgconf",
    "array_api": "array-api-tests",
    "babel.": "babel",
    "sphinx.": "sphinx",
    "flake8.": "flake8",
    "hypothesis": "hypothesis",
    "distutils.": "distutils",
    "setuptools.": "distutils",
    "egg_info.": "distutils",
}
"""Groups of entry points, as their names begin, and the tool that reads them.

What builds packages does so elsewhere: no distribution is called `distutils`.
"""


@dataclass(frozen=True)
class Distribution:
    """An installed distribution.

    Attributes:
        name: Its normalised name.
        place: The directory that it is installed in.
        tops: The names in that directory that belong to it, its metadata among them.
        requires: The normalised names of what it needs.
        groups: The groups of its entry points but scripts, which others find by metadata alone.
    """

    name: str
    place: str
    tops: frozenset[str]
    requires: frozenset[str]
    groups: frozenset[str]


class Distributions:
    """The distributions of some directories.

    Args:
        inventory: The image.
        places: Such as `usr/lib/python3/dist-packages`.
    """

    def __init__(self, inventory: Inventory, places: list[str]) -> None:
        self._inventory = inventory
        self.all = [each for place in places for each in self._read(place)]
        self._by_name = {each.name: each for each in self.all}

    def owning(self, place: str, top: str) -> list[Distribution]:
        """List the distributions that a name in a directory belongs to."""
        return [each for each in self.all if each.place == place and top in each.tops]

    def find_named(self, names: Iterable[str]) -> list[Distribution]:
        """List the distributions with some names."""
        wanted = {normal(each) for each in names}
        return [self._by_name[name] for name in sorted(wanted & self._by_name.keys())]

    def offers_plugins(self, distribution: Distribution) -> bool:
        """Return whether a distribution is a plug-in of another that may be there.

        Entry points for a tool are read by none but that tool, which an image of an app rarely has.
        """
        if distribution.name in TOOLS:
            return False
        return any(self._is_read(group) for group in distribution.groups)

    def _is_read(self, group: str) -> bool:
        tools = [tool for start, tool in READERS.items() if group.startswith(start)]
        return not tools or any(tool in self._by_name for tool in tools)

    def list_required(self, distribution: Distribution) -> list[Distribution]:
        """List what a distribution needs and the image has."""
        return [self._by_name[name] for name in sorted(distribution.requires & set(self._by_name))]

    def _read(self, place: str) -> Iterator[Distribution]:
        names = self._inventory.files.children.get(place, set())
        for info in sorted(names):
            if match := METADATA.match(info):
                root = f"{place}/{info}"
                metadata = self._text(f"{root}/METADATA") or self._text(f"{root}/PKG-INFO")
                yield Distribution(
                    normal(match.group(1)),
                    place,
                    frozenset({info} | (self._tops(root, match.group(1)) & names)),
                    frozenset(_requires(metadata or self._text(root))),
                    frozenset(_groups(self._text(f"{root}/entry_points.txt"))),
                )

    def _tops(self, root: str, name: str) -> set[str]:
        """Return what the record lists; without one, what is named like the distribution."""
        record = self._text(f"{root}/RECORD")
        rows = [row[0] for row in csv.reader(record.splitlines()) if row]
        tops = {path.split("/")[0] for path in rows if not path.startswith(("/", ".."))}
        tops |= set(self._text(f"{root}/top_level.txt").split())
        plain = name.replace("-", "_")
        tops |= {each for stem in {*tops, name, plain} for each in (stem, f"{stem}.py")}
        return tops | {f"{name}.libs", f"{plain}.libs"}

    def _text(self, path: str) -> str:
        return (self._inventory.read_path(path) or b"").decode(errors="replace")


def normal(name: str) -> str:
    """Normalise a distribution's name by PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _requires(metadata: str) -> Iterator[str]:
    for name, rest in REQUIRES.findall(metadata):
        if "extra ==" not in rest:
            yield normal(name)


def _groups(text: str) -> set[str]:
    found = {line.strip(" \t\r[]") for line in text.splitlines() if line.startswith("[")}
    return found - {"console_scripts", "gui_scripts"}
