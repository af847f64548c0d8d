"""What the user's own code and settings name: programs that they start, files that they read."""

from __future__ import annotations

from typing import IO

from mlkit.image.command.entrypoint import environment
from mlkit.image.filesystem import elf
from mlkit.image.filesystem.inventory import Entry
from mlkit.image.keep import class_files, names, packed
from mlkit.image.keep.keep_set import KeepSet
from mlkit.image.keep.naming import Naming
from mlkit.image.keep.ownership import Ownership
from mlkit.image.keep.source_words import WORD, Words, commands_of_script, words_of
from mlkit.image.keep.system import BUILDERS

LARGEST_TEXT = 32 << 20
HEAD = 8192
"""Bytes of a file that show whether it is a text: a zero is in none."""
LARGEST_BUNDLE = 512 << 20
"""Bytes of a program that is looked into for packed code."""
GO_STARTS = (b"os/exec.", b"os.StartProcess", b"syscall.forkExec", b"syscall.ForkExec")
"""Functions of Go that start programs: in the table of functions even of a stripped program."""
GO = b"runtime.gopanic"
RUST = b"RUST_BACKTRACE"
TOOLCHAIN = frozenset(("go", "gofmt", "cgo", "cargo", "rustc"))
"""Words that every Go or Rust program contains about its build."""
GO_ROOT = ("src/runtime", "pkg/tool", "pkg/include")
"""What only the root of a toolchain of Go has: each program of Go names the one that built it."""
SEARCH_PATHS = frozenset(
    ("PATH", "LD_LIBRARY_PATH", "LIBRARY_PATH", "MANPATH", "INFOPATH", "PKG_CONFIG_PATH", "CPATH")
)
"""Variables whose directories other rules know, or no app reads."""


class OwnCode:
    """Reads the user's own code, settings and variables.

    Args:
        kept: The keep-set.
        naming: Keeps what is named.
        ownership: Whose a file is.

    Attributes:
        modules: Names that may be modules of Python, each with whether those of the standard
            library count.
        starting: Own files that can start programs by names that they put together.
    """

    def __init__(self, kept: KeepSet, naming: Naming, ownership: Ownership) -> None:
        self._kept = kept
        self._naming = naming
        self._ownership = ownership
        self._waiting: dict[str, str] = {}
        self.modules: dict[str, bool] = {}
        self.starting: list[str] = []

    def keep_named_by_config(self, words: tuple[str, ...], shell: str) -> None:
        """Keep what variables, arguments and labels of a container name.

        Args:
            words: Of the command.
            shell: Its line, if it needs a shell.
        """
        variables = environment(self._kept.inventory.image.config)
        values = [value for name, value in variables.items() if name not in SEARCH_PATHS]
        for value in (*words, *values):
            self._kept.hear(value.encode(errors="replace"))
            found = names.Names(names.paths_in(value.encode(), self._kept.files))
            if value[:1] == "/" and self._kept.files.walk(value)[0]:
                found.paths.add(value)
            self._naming.keep(found, "the config", whole=True)
        firsts = {value.split()[0] for value in values if value.split()}
        self._naming.programs(firsts, "the config")
        lines = {each for value in values if " " in value for each in WORD.findall(value)}
        self._wait(lines, "the config")
        said = {each for value in (*words, *values) for each in WORD.findall(value)}
        self._modules(Words(modules=said))
        if shell:
            self._naming.programs(set(WORD.findall(" ".join(words))), "the command")

    def text(self, entry: Entry) -> None:
        """Keep what a text of the user's own names, if it is one."""
        if not self._ownership.is_own(entry.path):
            return
        archive = self._kept.inventory.read(entry, 4) in {b"PK\3\4", class_files.MAGIC}
        if archive:
            self._archive(entry)
        if entry.size > (LARGEST_BUNDLE if archive else LARGEST_TEXT):
            return
        data = self._kept.inventory.read(entry)
        if b"PK\5\6" in data[-(64 << 10) :]:
            for name, inner, words in packed.of_zip(data):
                self._keep_named(entry.path, name, inner, words)
        if not archive:
            self._keep_named(entry.path, entry.path, data, words_of(entry.path, data))

    def _keep_named(self, source: str, path: str, data: bytes, words: Words) -> None:
        """Keep what a text names that lies in a file of the user's own, or is one."""
        if b"\0" not in data[:HEAD]:  # a table of a database holds every word of its catalogue
            self._kept.hear(data)
        found = names.of_text(path, data, self._kept.files, words)
        found.shell |= words.shell and words.starts
        if words.starts:
            found.programs |= words.programs - BUILDERS if source != path else words.programs
        else:
            self._wait(words.programs, source)
        self._modules(words)
        self._naming.keep(found, source, whole=True)
        if words.starts and source not in self.starting:
            self.starting.append(source)

    def _archive(self, entry: Entry) -> None:
        """Keep what the classes of an archive name."""
        with self._kept.inventory.open(entry) as file:
            found = class_files.of_archive(file)
        self._kept.compiles |= found.compiles
        said = names.Names()
        for text in found.own | found.paths:
            if "/" in text:
                said.paths |= names.paths_in(text.encode(errors="replace"), self._kept.files)
        for text in found.starting:
            said.programs.update(WORD.findall(text))
        said.shell = found.starts
        self._naming.keep(said, entry.path, whole=True)
        self._wait({word for text in found.own for word in WORD.findall(text)}, entry.path)
        if found.starts:
            self.starting.append(entry.path)

    def program(self, entry: Entry, found: elf.Elf, file: IO[bytes]) -> frozenset[str]:
        """Keep what a program or library of the user's own names; return what it imports."""
        imports = elf.functions(file, names.LOADING | names.C_START | {"iconv_open"})
        said, starts, go = names.Names(), bool(imports & names.C_START), False
        rust = False
        for data in elf.pieces(file):
            said.add(names.of_elf(data, imports, self._kept.files, True, self._naming.commands))
            starts |= any(each in data for each in GO_STARTS)
            go |= GO in data
            rust |= RUST in data
        starts |= not go and not found.needed and (rust or found.interpreter is None)
        if starts:
            self._literals(said, file, found)
            self.starting.append(entry.path)
        if go or rust:
            said.programs -= TOOLCHAIN
        if go:
            said.paths = {each for each in said.paths if not self._is_go_root(each)}
        self._naming.keep(said, entry.path, found, whole=True)
        if entry.size <= LARGEST_BUNDLE and starts:
            file.seek(0)
            for inner, words in packed.of_bundle(file.read()):
                self._keep_named(entry.path, "", inner, words)
        return imports

    def _is_go_root(self, path: str) -> bool:
        walk = self._kept.files.walk
        return any(walk(f"{path}/{each}")[0] is not None for each in GO_ROOT)

    def _literals(self, said: names.Names, file: IO[bytes], found: elf.Elf) -> None:
        from mlkit.image.keep.machine_code import literals  # NumPy, which most images do without

        for literal in literals(file):
            text = literal.decode(errors="replace")
            said.programs |= {text} if " " not in text else commands_of_script(literal)
        said.shell |= "sh" in said.programs

    def settle(self) -> None:
        """Keep the programs that words of settings and code name, if own code starts any."""
        if not self.starting:
            return
        waiting, self._waiting = self._waiting, {}
        by_source: dict[str, set[str]] = {}
        for word, source in waiting.items():
            by_source.setdefault(source, set()).add(word)
        for source, words in sorted(by_source.items()):
            self._naming.programs(words, source)

    def _wait(self, words: set[str], source: str) -> None:
        for word in words & self._naming.commands:
            self._waiting.setdefault(word, source)

    def _modules(self, words: Words) -> None:
        for module in words.modules:
            self.modules[module] = self.modules.get(module, False) or words.by_name
