"""What installed code names: modules and libraries that no package of Debian need have brought.

Their words are many, and few of them are programs that an app will ever start. So a text counts as
the name of a program only where it is a whole literal, and where code beside it starts programs; in
Python only in modules that the app's own code imports, at any depth.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mlkit.image.filesystem.inventory import Entry
from mlkit.image.keep import names
from mlkit.image.keep.keep_set import KeepSet
from mlkit.image.keep.naming import Naming
from mlkit.image.keep.node_imports import SUFFIXES
from mlkit.image.keep.source_words import OTHER_STARTS, QUOTING_STARTS, language_of
from mlkit.image.keep.system import BUILDERS

GROUP = re.compile(
    r".*/(?:gems|vendor|perl5|site_ruby|site-library|vendor_perl|vendor_ruby)/[^/]+(?:/[^/]+)?"
)
"""The folder of an installed package of Ruby, PHP, Perl or R."""
WHOLE = re.compile(r"['\"`]([\w.+-]{2,60})['\"`]")
"""A literal of one word."""
NOT_READ = re.compile(r"/(?:pip|setuptools|wheel|pkg_resources|_vendor|tests?|testing)/")
RELEASES = "/.yarn/"
"""Where a package carries the package manager that it is developed with."""
LARGEST = 2 << 20


class InstalledCode:
    """Reads modules and libraries that package managers have installed.

    Args:
        kept: The keep-set.
        naming: Keeps what is named.
    """

    def __init__(self, kept: KeepSet, naming: Naming) -> None:
        self._kept = kept
        self._naming = naming
        self._modules: dict[str, set[str]] = {}
        self._words: dict[str, set[str]] = {}
        self._starting: set[str] = set()

    def module(self, entry: Entry) -> None:
        """Keep what a module of Python or JavaScript loads and starts by name."""
        if RELEASES in entry.path:
            return
        data = self._kept.inventory.read(entry)
        if entry.path.endswith(SUFFIXES):
            text = data.decode(errors="replace")
            found = names.of_javascript(text)
            if QUOTING_STARTS.search(data):
                found.programs |= self._literals(text)
        else:
            found = names.of_module(data)
            if not NOT_READ.search(entry.path) and names.STARTS.search(data):
                words = self._literals(data.decode(errors="replace"))
                self._modules[entry.path] = words - BUILDERS
        found.programs -= BUILDERS
        self._naming.keep(found, entry.path)

    def other(self, entry: Entry) -> None:
        """Note what a library of another language names; a whole package counts as one text."""
        group = GROUP.match(entry.path)
        if group is None or entry.size > LARGEST or language_of(entry.path, b"") != "other":
            return
        data = self._kept.inventory.read(entry)
        words = self._words.setdefault(group.group(), set())
        words |= self._literals(data.decode(errors="replace")) - BUILDERS
        if OTHER_STARTS.search(data):
            self._starting.add(group.group())

    def settle(self, reached: Callable[[str], bool]) -> None:
        """Keep the programs that noted literals name.

        Args:
            reached: Whether own code imports a module, at any depth.
        """
        for path in [each for each in self._modules if reached(each)]:
            self._naming.programs(self._modules.pop(path), path)
        for group in sorted(self._starting):
            self._naming.programs(self._words.pop(group, set()), group)

    def _literals(self, text: str) -> set[str]:
        """List the programs that are whole literals of a text."""
        return set(WHOLE.findall(text)) & self._naming.commands
