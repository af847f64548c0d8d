"""What Python code imports, found without running it."""

from __future__ import annotations

import ast
import functools
import posixpath
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlkit.image.filesystem.inventory import Inventory
from mlkit.image.keep.source_cache import sources

INTERPRETER = re.compile(r"(?:(.*)/)?s?bin/python3\.(\d+)$")
HIDDEN = (
    *(
        "encodings",
        "site",
        "runpy",
        "sitecustomize",
        "usercustomize",
        "codecs",
        "io",
        "abc",
        "os",
        "stat",
    ),
    *("_collections_abc", "zipimport", "importlib", "importlib.machinery", "importlib.util"),
    *("warnings", "traceback", "linecache", "tokenize", "token", "re", "enum", "functools"),
    *("copyreg", "types", "keyword", "stringprep", "unicodedata", "threading", "_sitebuiltins"),
    *("_weakrefset", "heapq", "locale", "getpass", "concurrent.futures.thread"),
    *("concurrent.futures.process", "multiprocessing.popen_fork", "multiprocessing.spawn"),
    *("multiprocessing.resource_tracker", "multiprocessing.popen_spawn_posix", "_strptime"),
    *("_pydecimal", "_pydatetime", "_sysconfigdata__linux_x86_64-linux-gnu", "_osx_support"),
)
"""What the interpreter and C code import by name, without an import statement."""

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
BODIES = ("body", "orelse", "finalbody", "handlers", "cases")
"""Where statements have statements within."""
METADATA = frozenset({"version", "distribution", "metadata", "requires", "files"})
METADATA |= {"get_distribution", "require"}
"""Functions that read the metadata of a distribution, whether it is imported or not."""
ASKED = re.compile(rb"\b(?:%b)\s*[\\(]" % "|".join(METADATA).encode())
DEVELOPMENT = frozenset({"doctest", "pydoc", "pdb", "test", "unittest"})
"""What functions of the standard library import for `help()`, breakpoints and their own tests."""


@dataclass(frozen=True)
class Found:
    """A file that an import needs.

    Attributes:
        path: Of the image.
        reason: Which module it serves.
    """

    path: str
    reason: str


class Finder:
    """Finds modules in an image.

    Args:
        inventory: The image.
        version: The interpreter's minor version.
        prefixes: Where Pythons and virtual environments live, such as `usr`, `usr/local`.
        more: Further directories of the search path.
    """

    def __init__(
        self, inventory: Inventory, version: int, prefixes: list[str], more: list[str]
    ) -> None:
        self._inventory = inventory
        self._seen: set[tuple[str, str]] = set()
        self._folders: dict[str, dict[str, list[str]]] = {}
        self.standard = [f"{prefix}/lib/python3.{version}" for prefix in prefixes]
        third = [
            *(f"{prefix}/lib/python3.{version}/site-packages" for prefix in prefixes),
            *(f"{prefix}/lib/python3.{version}/dist-packages" for prefix in prefixes),
            *(f"{prefix}/lib/python3/dist-packages" for prefix in prefixes),
        ]
        dynamic = [f"{each}/lib-dynload" for each in self.standard]
        self.third = third
        self.linked = list(self._list_linked())
        self.path = [*more, *self.standard, *dynamic, *third, *self.linked]

    def _list_linked(self) -> Iterator[str]:
        """List the directories that `.pth` files add to the search path."""
        for place in self.third:
            names = sorted(self._inventory.files.children.get(place, ()))
            for name in names:
                data = self._inventory.read_path(f"{place}/{name}") if name[-4:] == ".pth" else b""
                for line in (data or b"").decode(errors="replace").splitlines():
                    real, _ = self._inventory.files.walk(posixpath.join("/", place, line.strip()))
                    if line.strip() and real:
                        yield real

    def hidden(self) -> Iterator[Found]:
        """Find what every interpreter needs."""
        for module in HIDDEN:
            yield from self.module(module)
        for place in self.standard:
            for path in self._inventory.files.below(f"{place}/encodings"):
                yield Found(path, "python import of encodings")
            for name in sorted(self._inventory.files.children.get(place, ())):
                if name.startswith("_sysconfigdata") and name.endswith(".py"):
                    yield Found(f"{place}/{name}", "python import of sysconfig")

    def imports_of(self, path: str, started: bool = False) -> Iterator[Found]:
        """Find what a source file imports, at any depth of its functions.

        Args:
            path: The file.
            started: Whether it may be run as `__main__`.
        """
        data = self._inventory.read_path(path) or b""
        started = started or path.endswith("/__main__.py")
        third = self.is_third(path)
        standard = self.is_standard(path)
        unwanted = DEVELOPMENT if standard and not third else frozenset[str]()
        if third and "/tests/" in path:
            return
        beside = "" if standard or third else posixpath.dirname(path)
        for module in sorted(find_imported(data, self._package(path), started, unwanted)):
            yield from self.module(module, beside)

    def is_standard(self, path: str) -> bool:
        """Return whether a path belongs to the standard library, or to what lies within it."""
        return path.startswith(tuple(f"{each}/" for each in self.standard))

    def is_third(self, path: str) -> bool:
        """Return whether a path belongs to an installed third-party package."""
        return path.startswith(tuple(f"{each}/" for each in self.third))

    def module(self, name: str, beside: str = "") -> Iterator[Found]:
        """Find a module's files, and those of the packages that it is in.

        Args:
            name: Its name.
            beside: A directory that comes first: a script's own.
        """
        if (name, beside) in self._seen or not name:
            return
        self._seen.add((name, beside))
        parent, _, last = name.rpartition(".")
        if parent:
            yield from self.module(parent, beside)
        for place in [beside, *self.path] if beside else self.path:
            stem = posixpath.join(place, parent.replace(".", "/"), last)
            yield from self._files(stem, f"python import of {name}")

    def _files(self, stem: str, reason: str) -> Iterator[Found]:
        parent, _, last = stem.rpartition("/")
        for name in self._modules_in(parent).get(last, ()):
            if name == last:
                if self._inventory.files.resolve(f"{stem}/__init__.py"):
                    yield Found(f"{stem}/__init__.py", reason)
                elif self.is_third(stem):  # a part of a namespace package
                    yield Found(stem, reason)
            else:
                yield Found(f"{parent}/{name}", reason)

    def _modules_in(self, folder: str) -> dict[str, list[str]]:
        """Return the names in a directory that modules may have, by module."""
        if folder not in self._folders:
            real, _ = self._inventory.files.walk(folder)
            found: dict[str, list[str]] = {}
            for name in sorted(self._inventory.files.children.get(real, ()) if real else ()):
                stem, _, suffix = name.partition(".")
                if suffix in {"", "py"} or suffix.endswith("so"):
                    found.setdefault(stem, []).append(name)
            self._folders[folder] = found
        return self._folders[folder]

    def _package(self, path: str) -> str:
        """Name the package that a file is in, for relative imports."""
        for place in sorted(self.path, key=len, reverse=True):
            if path.startswith(place + "/"):
                return path[len(place) + 1 :].rpartition("/")[0].replace("/", ".")
        return ""


def find_imported(
    data: bytes, package: str = "", started: bool = True, unwanted: frozenset[str] = frozenset()
) -> frozenset[str]:
    """List the modules that a source text may import: `from a import b` gives a and a.b.

    Args:
        data: The text.
        package: The package that it is in.
        started: Whether what is under `if __name__ == "__main__":` counts.
        unwanted: Packages whose import by a function does not count.
    """
    if b"import" not in data:
        return frozenset()
    question = f"imports {package} {started} {sorted(unwanted)}"
    find = functools.partial(_find_imported, data, package, started, unwanted)
    return frozenset(sources().remember(question, data, find))


def _find_imported(
    data: bytes, package: str, started: bool, unwanted: frozenset[str]
) -> frozenset[str]:
    found: set[str] = set()
    calls = b"import_module" in data or b"__import__" in data
    for node, late in _nodes(tree_of(data), started, calls):
        names = _imports(node, package)
        found |= {each for each in names if not late or each.partition(".")[0] not in unwanted}
    return frozenset(found - {""})


def tree_of(data: bytes) -> ast.Module:
    """Parse a source text; what is none has no statements."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(data)
        except (SyntaxError, ValueError, RecursionError):
            return ast.Module([], [])


def _imports(node: ast.AST, package: str) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        base = _absolute(node, package)
        return {base} | {f"{base}.{alias.name}".lstrip(".") for alias in node.names}
    return {_by_name(node)} if isinstance(node, ast.Call) else set()


def _nodes(tree: ast.AST, started: bool, calls: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Return all statements, and the expressions if wanted, each with whether a function has it."""
    todo = [(tree, False)]
    while todo:
        node, late = todo.pop()
        yield node, late
        late = late or isinstance(node, FUNCTIONS)
        if not started and isinstance(node, ast.If) and _asks_for_main(node.test):
            inner: Iterable[ast.AST] = node.orelse
        else:
            inner = ast.iter_child_nodes(node) if calls else _statements(node)
        todo += [(each, late) for each in inner]


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    for name in BODIES:
        yield from getattr(node, name, ())


def _asks_for_main(test: ast.expr) -> bool:
    if not isinstance(test, ast.Compare) or not isinstance(test.ops[0], ast.Eq):
        return False
    sides = (test.left, *test.comparators)
    names = {each.id for each in sides if isinstance(each, ast.Name)}
    return names == {"__name__"} and any(
        isinstance(each, ast.Constant) and each.value == "__main__" for each in sides
    )


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".") if package else []
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def find_named_distributions(data: bytes) -> set[str]:
    """List the distributions whose metadata a source text asks for by name: `version("name")`."""
    if b"metadata" not in data and b"pkg_resources" not in data:
        return set()
    if not ASKED.search(data):
        return set()
    return set(sources().remember("metadata", data, lambda: _find_asked(data)))


def _find_asked(data: bytes) -> set[str]:
    calls = (node for node in ast.walk(tree_of(data)) if isinstance(node, ast.Call))
    first = (call.args[0] for call in calls if name_called(call) in METADATA and call.args)
    return {
        each.value for each in first if isinstance(each, ast.Constant) and type(each.value) is str
    }


def name_called(call: ast.Call) -> str:
    """Name the function that is called, without what it belongs to."""
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _by_name(call: ast.Call) -> str:
    """Return the module of `import_module("name")` and `__import__("name")`."""
    if name_called(call) in {"import_module", "__import__"} and call.args:
        first = call.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            return first.value.lstrip(".")
    return ""
