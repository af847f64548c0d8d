"""What the Python code of an image needs: modules, whole packages, metadata."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping

from mlkit.image.filesystem.inventory import Inventory
from mlkit.image.keep.python_imports import INTERPRETER, Finder, find_named_distributions
from mlkit.image.keep.system import SYSTEM
from mlkit.image.packages.python import METADATA, TOOLS, Distributions

TESTS = "/tests/"
TEST = re.compile(r"test_\w+\.py|conftest\.py")
"""A module of tests, as pytest finds them."""
Keep = Callable[[str, str], None]


class PythonClosure:
    """The closure under imports, for one version of the interpreter.

    Args:
        inventory: The image.
        version: The minor version.
        roots: Where interpreters of it live, such as `usr/local`.
        search_path: Further directories of the search path.
        keep: Keeps a path for a reason.
    """

    def __init__(
        self, inventory: Inventory, version: int, roots: Iterable[str], search_path: list[str],
        keep: Keep,
    ) -> None:  # fmt: skip
        self._inventory = inventory
        self._keep = keep
        self._edges: dict[str, set[str]] = {}
        self._whole_ones: set[str] = set()
        self._tests_wanted: set[str] = set()
        self._of_tests: dict[str, bool] = {}
        self._named_ones: set[str] = set()
        environments = [
            posixpath.dirname(path)
            for path in inventory.files.entries
            if path.endswith("pyvenv.cfg")
        ]
        prefixes = list(dict.fromkeys([*roots, "usr", "usr/local", *sorted(environments)]))
        self.finder = Finder(inventory, version, prefixes, search_path)
        self._installed = Distributions(inventory, self.finder.third)
        names = (inventory.files.children.get(place, ()) for place in self.finder.third)
        self._tops = {name.removesuffix(".py") for each in names for name in each} - TOOLS

    def begin(self) -> None:
        """Keep what every interpreter needs, and what is found by its metadata alone."""
        for found in self.finder.hidden():
            self._keep(found.path, found.reason)
        places = {*self.finder.third, *self.finder.standard, *SYSTEM}
        for folder in set(self.finder.linked) - places:
            for path in self._inventory.files.below(folder):
                self._keep(path, "directory of a .pth file")
        for each in self._installed.all:
            if self._installed.offers_plugins(each):
                self._keep_distribution(each.place, each.tops)

    def standard_library(self) -> None:
        """Keep the whole standard library: of code that nobody has seen anything may be needed."""
        for place in self.finder.standard:
            for path in self._inventory.files.below(place):
                if "/__pycache__" not in path and "-packages/" not in path:
                    self._keep(path, "library of a Python that no run has started")

    def imports_of(self, path: str, started: bool) -> None:
        """Keep what a source file imports."""
        edges = self._edges.setdefault(path, set())
        for found in self.finder.imports_of(path, started):
            edges.add(found.path)
            self._keep(found.path, found.reason)
            self.package_of(found.path)
        if not self.finder.is_standard(path) or self.finder.is_third(path):
            named = find_named_distributions(self._inventory.read_path(path) or b"")
            for each in self._installed.find_named(named):
                self._keep_distribution(each.place, each.tops)

    def find_reached(self, roots: Iterable[str]) -> set[str]:
        """Return the sources that some import, at any depth; plug-ins are as good as imported."""
        plugins = filter(self._installed.offers_plugins, self._installed.all)
        places = tuple(f"{each.place}/{top}/" for each in plugins for top in each.tops)
        todo = [*roots, *(path for path in self._edges if path.startswith(places))]
        seen = set(todo)
        while todo:
            fresh = self._edges.get(todo.pop(), set()) - seen
            seen |= fresh
            todo += fresh
        return seen

    def keep_named(self, modules: Mapping[str, bool]) -> None:
        """Keep modules that own code and settings name.

        Args:
            modules: Their names, each with whether modules of the standard library count.
        """
        for each in self._installed.all:
            if not each.groups.isdisjoint(modules):  # own code may look for such entry points
                self._keep_distribution(each.place, each.tops)
        for name, standard in sorted(modules.items()):
            if name in self._named_ones or (name.partition(".")[0] == "test"):
                continue
            third = name.partition(".")[0] in self._tops
            if standard or third:
                self._named_ones.add(name)
                for found in self.finder.module(name):
                    self._keep(found.path, f"python module named by own code: {name}")
                    self.package_of(found.path)

    def consoles(self, scripts: Mapping[str, str]) -> None:
        """Keep the scripts that pip has written for packages that are kept."""
        for path, module in scripts.items():
            place = posixpath.dirname(posixpath.dirname(path))
            for third in self.finder.third:
                top = f"{third}/{module.partition('.')[0]}"
                if third.startswith(f"{place}/") and top in self._whole_ones:
                    self._keep(path, "script of a kept package")

    def package_of(self, path: str) -> None:
        """Keep the whole of a third-party package once a part of it is kept.

        Its tests stay out, unless that part is of them. A run that looks for plug-ins reads the
        metadata of all packages: that is no part of one.
        """
        if TESTS in path and self.finder.is_third(path):
            self._keep_tests(path)
        for place in self.finder.third:
            top = path.removeprefix(f"{place}/").split("/")[0]
            if path.startswith(f"{place}/") and not METADATA.match(top):
                self._whole(place, top)

    def _whole(self, place: str, top: str) -> None:
        entry = self._inventory.files.resolve(f"{place}/{top}")
        if entry and entry.kind == "directory":
            self._keep_distribution(place, {top})
        else:  # a module of one file
            self._with_owners(place, top)

    def _keep_distribution(self, place: str, tops: Iterable[str]) -> None:
        for top in sorted(tops):
            root = f"{place}/{top}"
            if root in self._whole_ones or top == "__pycache__":
                continue
            self._whole_ones.add(root)
            self._keep(root, f"package data of {top}")
            for each in self._inventory.files.below(root):
                if "/__pycache__/" not in each and not self._is_test(each):
                    self._keep(each, f"package data of {top}")
            self._with_owners(place, top)

    def _keep_tests(self, path: str) -> None:
        folder = path[: path.index(TESTS) + len(TESTS) - 1]
        if folder in self._tests_wanted:
            return
        self._tests_wanted.add(folder)
        for each in self._inventory.files.below(folder):
            if "/__pycache__/" not in each:
                self._keep(each, "tests that are imported")

    def _is_test(self, path: str) -> bool:
        """Return whether a path is of a package's tests: a folder `tests` with modules `test_*`."""
        if TESTS not in path:
            return False
        folder = path[: path.index(TESTS) + len(TESTS) - 1]
        if folder in self._tests_wanted:
            return False
        if folder not in self._of_tests:
            names = map(posixpath.basename, self._inventory.files.below(folder))
            self._of_tests[folder] = any(map(TEST.fullmatch, names))
        return self._of_tests[folder]

    def _with_owners(self, place: str, top: str) -> None:
        for each in self._installed.owning(place, top):
            self._keep_distribution(each.place, each.tops)
            for other in self._installed.list_required(each):
                self._keep_distribution(other.place, other.tops)


def interpreters(paths: Iterable[str]) -> dict[int, list[str]]:
    """Return the minor versions of the interpreters among paths, each with their prefixes."""
    found: dict[int, list[str]] = {}
    for path in sorted(paths):
        if "bin/python3." in path and (match := INTERPRETER.search(path)):
            found.setdefault(int(match.group(2)), []).append(match.group(1) or "")
    return found
