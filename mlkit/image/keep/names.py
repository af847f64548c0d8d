"""What code names without opening it yet: paths, libraries for `dlopen`, programs to start."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mlkit.image.filesystem.inventory import FileSystem
from mlkit.image.keep.python_imports import name_called, tree_of
from mlkit.image.keep.source_cache import sources
from mlkit.image.keep.source_words import Words
from mlkit.image.keep.system import SYSTEM

PATH = re.compile(rb"(?:/[A-Za-z0-9_.@+-]++)++")
NAME_MAX = 255
DEEPEST = 64
"""Parts of a path that are looked at."""
LOADING = frozenset({"dlopen", "dlmopen"})
PROGRAM = re.compile(rb"(?<=\0)(?:/usr)?/s?bin/[A-Za-z0-9_.+-]{1,60}(?=\0)")
"""The path of a program between two zero bytes; a mere word may be the name of a function."""
SHELL_LINE = re.compile(rb"(?<=\0)(?:/usr)?/s?bin/[A-Za-z0-9_.+-]{1,60} [\t -~]{1,400}(?=\0)")
"""A line for a shell between two zero bytes: it begins with the path of a program."""
SHARED = frozenset(("usr/share", "usr/local/share", "etc", "var/lib", "usr/lib", "usr/local/lib"))
"""Directories of the system whose parts code joins to paths."""
# Programs are searched for these as a whole: a pattern that begins with plain text is found fast.
PLUGINS = re.compile(rb"/lib/(?:[A-Za-z0-9_.+-]+/)*[A-Za-z0-9_.+-]+")
SONAME_END = re.compile(rb"\.so[A-Za-z0-9_+.-]*+")
SONAME_LETTERS = bytes(each for each in range(128) if chr(each).isalnum()) + b"_+.-"
LIBRARY = re.compile(rb"\.so(?:\.\d+)*+$")
TEXT = re.compile(rb"[\t\n -~]{2,}")
WORD = re.compile(r"[^\s;|&()<>'\"`{}\[\]$=,]+")
SOURCE = re.compile(r"\.(?:c|cc|cpp|cxx|h|hpp|go|rs|s|S|f90|pyx)$")
"""What a compiler leaves in a program about where its source lay."""
STARTERS = frozenset(
    (
        *("run", "Popen", "call", "check_call", "check_output", "system", "popen", "getoutput"),
        *("getstatusoutput", "create_subprocess_exec", "create_subprocess_shell", "which"),
        *("execv", "execve", "execvp", "execvpe", "execl", "execle", "execlp", "posix_spawn"),
        *("spawnv", "spawnl", "spawnlp", "spawnvp", "posix_spawnp"),
    )
)
"""Functions of Python that start programs."""
CALLS = re.compile(rb"\b(?:%b)\s*[\\(]" % "|".join([*STARTERS, "find_library"]).encode())
"""Without this in its text a source need not be parsed for them."""
SHELLED = frozenset(("system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell"))
STARTS = re.compile(rb"subprocess|ctypes|dlopen|\bos\.(?:popen|system|exec|spawn)|\bwhich\(")
"""What a Python text has in it that loads libraries or starts programs."""
JS_START = re.compile(
    r"\b(exec|execSync|execFile|execFileSync|spawn|spawnSync|fork)\s*\(([^;)]{0,400})"
)
JS_TEXT = re.compile(r"'((?:[^'\\\n]|\\.)*+)'?|\"((?:[^\"\\\n]|\\.)*+)\"?|`([^`]*+)`?")
C_SHELL = frozenset(("system", "popen"))
C_START = C_SHELL | {
    *("execl", "execle", "execlp", "execv", "execve", "execvp", "execvpe"),
    *("posix_spawn", "posix_spawnp", "fexecve"),
}


@dataclass
class Names:
    """What a file names.

    Attributes:
        paths: Absolute paths that the image has.
        libraries: Names for the loader.
        programs: Words that may name programs; only those on PATH matter.
        shell: It hands lines to `/bin/sh`.
    """

    paths: set[str] = field(default_factory=set)
    libraries: set[str] = field(default_factory=set)
    programs: set[str] = field(default_factory=set)
    shell: bool = False

    def add(self, other: Names) -> None:
        """Add what another part of the file names."""
        self.paths |= other.paths
        self.libraries |= other.libraries
        self.programs |= other.programs
        self.shell |= other.shell


def paths_in(data: bytes, files: FileSystem, compiled: bool = False) -> set[str]:
    """List the absolute paths of the image that stand in bytes.

    In a compiled program a name may be followed by another text at once, and another path by the
    next: any slash may begin one, and the longest part that is there counts.

    Args:
        data: Code, configuration, or a variable's value.
        files: The image.
        compiled: Leave out paths that only record where the source was.
    """
    found = set()
    for match in set(PATH.findall(data)):
        text = match.decode("ascii")
        if not compiled:
            found.add(text.rstrip("."))
        elif not SOURCE.search(text):
            found.update(_longest(each, files) for each in _beginnings(text, files))
    return {each for each in found if each.strip("/") and files.walk(each)[0]}


def _beginnings(text: str, files: FileSystem) -> Iterator[str]:
    """List the ends of a text that may be a path: their first part is in the root directory."""
    parts = text.split("/")[1:]
    tops = files.children.get("", set())
    for number, part in enumerate(parts):
        if part in tops or any(part.startswith(top) for top in tops if len(top) > 2):
            yield "/" + "/".join(parts[number : number + DEEPEST])


def _plugins(data: bytes, files: FileSystem) -> set[str]:
    """List the libraries in directories that one which loads libraries names: its plug-ins."""
    found = set()
    for path in {_with_usr(data, match) for match in PLUGINS.finditer(data)}:
        real, _ = files.walk(path.decode("ascii"))
        for name in sorted(files.children.get(real, ()) if real and real not in SYSTEM else ()):
            if name.endswith(".so"):
                found.add(f"/{real}/{name}")
    return found


def _with_usr(data: bytes, match: re.Match[bytes]) -> bytes:
    """Return the path of a match, and `/usr` with it if that stands before."""
    begin = match.start()
    usr = b"/usr" if data.endswith(b"/usr", 0, begin) else b""
    return usr + match[0]


def _longest(text: str, files: FileSystem) -> str:
    """Return the longest beginning of a text that is a path of the image."""
    place = ""
    for part in text[1:].split("/"):
        real, _ = files.walk(f"{place}/{part}")
        if real is not None:
            place = f"{place}/{part}"
            continue
        names = files.children.get(files.walk(place or "/")[0] or "", ())
        fitting = [name for name in names if part.startswith(name) and len(name) > 2]
        return f"{place}/{max(fitting, key=len)}" if fitting else place
    return place


def of_elf(
    data: bytes, imports: frozenset[str], files: FileSystem, own: bool, commands: frozenset[str]
) -> Names:
    """Name what a program or library may load late.

    Args:
        data: Bytes of it; no name is cut at their ends.
        imports: The functions that it imports.
        files: The image.
        own: It is the app's own, not of a package: its paths and commands count as well.
        commands: The names on PATH.
    """
    names = Names()
    if imports & LOADING:
        names.libraries = _libraries(data)
        names.paths = _plugins(data, files)
    if own:
        names.paths |= paths_in(data, files, compiled=True)
        names.shell = bool(imports & C_SHELL)
        if imports & C_START:
            names.programs = _words(TEXT.findall(data)) & commands
    elif imports & C_START:
        names.paths |= {each.decode() for each in PROGRAM.findall(data)}
        names.add(_of_shell_lines(data, files, commands) if imports & C_SHELL else Names())
    return names


def _of_shell_lines(data: bytes, files: FileSystem, commands: frozenset[str]) -> Names:
    """Name what lines for a shell start: programs, and the scripts of a directory below /etc."""
    names = Names()
    for line in SHELL_LINE.findall(data):
        names.shell = True
        names.programs |= _words([line]) & commands
        for path in sorted(paths_in(line, files)):
            real, _ = files.walk(path)
            listed = files.children.get(real, ()) if real and real.startswith("etc/") else ()
            names.paths |= {path, *(f"{path}/{name}" for name in listed)}
    return names


def _libraries(data: bytes) -> set[str]:
    """List what looks like names of libraries."""
    words = {each.strip(b"+.-") for each in _sonames(data)}
    return {each.decode("ascii") for each in words if LIBRARY.search(each[-NAME_MAX:])}


def _sonames(data: bytes) -> Iterator[bytes]:
    """List the words of letters, digits, and `_+.-` with `.so` in them."""
    last = 0
    for match in SONAME_END.finditer(data):
        before = data[last : match.start()]
        yield before[len(before.rstrip(SONAME_LETTERS)) :] + match[0]
        last = match.end()


def _words(texts: list[bytes]) -> set[str]:
    return {word for text in texts for word in WORD.findall(text.decode("ascii"))}


def of_text(path: str, data: bytes, files: FileSystem, words: Words) -> Names:
    """Name what a text of the app's own may load late: paths, with spaces and in parts too.

    Args:
        path: Where it is.
        data: What it holds.
        files: The image.
        words: Its other words.
    """
    names = Names(paths_in(data, files), _libraries(data))
    names.paths |= {each for each in words.literals if each[:1] == "/" and files.walk(each)[0]}
    names.paths |= set(_list_joined(names.paths, words, files))
    if b"find_library" in data:
        names.programs.add("ldconfig")
        names.libraries |= {f"lib{each}.so" for each in words.programs if len(each) < 40}
    return names


def _list_joined(paths: set[str], words: Words, files: FileSystem) -> Iterator[str]:
    """List what lies in a directory of the system that a text names, if it names that as well.

    `os.path.join("/usr/share", "dict", name)` is never written as one path.
    """
    said = {part for each in words.literals for part in each.strip("/").split("/")}
    for path in paths:
        real, _ = files.walk(path)
        if real in SHARED:
            yield from (f"{path}/{name}" for name in files.children.get(real, set()) & said)


def of_module(data: bytes) -> Names:
    """Name what a module of Python may load and start late, wherever it came from."""
    found = Names()
    if STARTS.search(data):
        found.libraries = _libraries(data)
        if CALLS.search(data):
            said = [each.partition(" ") for each in sources().remember(
                "starts", data, lambda: _find_started(data))]  # fmt: skip
            found.shell = any(kind == "shell" for kind, _, _ in said)
            found.programs = {word for kind, _, word in said if kind == "program"}
            found.libraries |= {word for kind, _, word in said if kind == "library"}
    return found


def of_javascript(text: str) -> Names:
    """Name the programs that an installed module of JavaScript starts."""
    names = Names()
    for call, rest in JS_START.findall(text):
        for parts in JS_TEXT.findall(rest):
            names.programs |= set(WORD.findall("".join(parts)))
        names.shell |= call in {"exec", "execSync"} or "shell" in rest
    return names


def _find_started(data: bytes) -> set[str]:
    """List what the calls of a source hand to loaders and starters: `program NAME` and the like."""
    found = Names()
    _of_python(data, found)
    said = {f"program {each}" for each in found.programs}
    said |= {f"library {each}" for each in found.libraries}
    return said | ({"shell"} if found.shell else set())


def _of_python(data: bytes, names: Names) -> None:
    for node in ast.walk(tree_of(data)):
        if not isinstance(node, ast.Call):
            continue
        function = name_called(node)
        if function in STARTERS:
            for text in _constants(node):
                names.programs |= set(WORD.findall(text))
            shell = any(each.arg == "shell" for each in node.keywords)
            names.shell |= shell or function in SHELLED
        elif function == "find_library":
            names.programs |= {"ldconfig"}
            names.libraries |= {f"lib{text}.so" for text in _constants(node)}


def _constants(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def versions_of(library: str, names: set[str]) -> list[str]:
    """List the files of a directory that a name for the loader means, `libz.so` any version."""
    wanted = posixpath.basename(library)
    return sorted(name for name in names if name == wanted or name.startswith(f"{wanted}."))
