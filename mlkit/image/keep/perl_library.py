"""Which part of Perl's core library is needed where only scripts of packages are in Perl.

The whole of it is 45 MB, and what a script of Debian's imports of it 2 to 15. Modules are found by
their names in the text, which is generous; what C code and the interpreter load is listed. Code of
the user's own, code that is not there to be read, and scripts that load what a variable names, may
load anything: then the library stays whole.
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Iterable, Iterator

from mlkit.image.filesystem.elf import MAGIC, PLACES
from mlkit.image.keep.keep_set import PERL, QUALIFIED, KeepSet
from mlkit.image.keep.ownership import Ownership
from mlkit.image.keep.system import LANGUAGES, spread

CORE = ("usr/share/perl/", *(f"{each}/perl/" for each in PLACES))
"""Where Debian has the core library but for what `perl-base` holds, which is always kept."""
BASE = tuple(f"{each}/perl-base" for each in PLACES)
SUFFIXES = (".pm", ".pl", ".al", ".ph")
OWN_SUFFIXES = (*SUFFIXES, ".psgi", ".plx", ".cgi", ".t", ".xs")
LOADED_BY_C = (
    *("AnyDBM_File", "Carp", "Config", "DynaLoader", "Errno", "Exporter", "File::Glob"),
    *("IO::File", "IO::Handle", "IO::Seekable", "PerlIO::scalar", "Tie::Hash::NamedCapture"),
    *("UNIVERSAL", "XSLoader", "_charnames", "attributes", "bytes", "charnames", "constant"),
    *("feature", "mro", "overload", "overloading", "re", "strict", "utf8", "vars", "version"),
    *("warnings", "warnings::register", "lib", "Symbol", "SelectSaver", "AutoLoader"),
)
"""What the interpreter itself loads, and pragmas that are as good as part of it."""
ALWAYS = re.compile(r"/(?:unicore/|Config[^/]*$)")
"""Tables of Unicode, read by patterns, and how the interpreter was built."""
ENCODES = re.compile(rb"\bencoding\b|:locale\b|\bEncode\b")
LAYERS = ("PerlIO::encoding", "Encode", "Encode::Config", "encoding")
POD = re.compile(rb"^=[a-zA-Z].*?(?:^=cut\b[^\n]*|\Z)", re.MULTILINE | re.DOTALL)
END = re.compile(rb"^__(?:END|DATA)__\s*$.*", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(rb"^[ \t]*#[^\n]*", re.MULTILINE)
TRAILING = re.compile(rb"(?<=\s)#\s[^\n]*")
"""A comment after code; names are looked for in it, since a text may hold the same letters."""
IMPORTED = re.compile(rb"\b(?:use|no|require)\s+([A-Za-z_]\w*+(?:::\w++)*+)([^;]{0,2000})")
WORD = re.compile(rb"[A-Za-z_]\w*+")
QUOTED = re.compile(rb"['\"]([A-Za-z_]\w*)['\"]")
FILE = re.compile(rb"(?<![\w/-])[\w/-]++\.(?:pm|pl|ph|al)\b")
COMPUTED = re.compile(
    rb"\b(?:require|do)\s*\(?\s*(?:\"[^\"$\n]{0,200}+)?\$"
    rb"|\beval\b[^;\n]{0,40}[\"{q(][^;\n]{0,40}\b(?:require|use)\b[ \t]+[$\"{]"
)
"""Loads what a variable names."""
DATA = "package data"
INNOCENT = ("opened", "stat'ed", "missed in a trial", "name of a kept program", "package perl")
"""Reasons for Perl that say nothing about whose code it runs, beside one that does."""


class PerlLibrary:
    """The part of Perl's core library that scripts of packages need.

    Args:
        kept: The keep-set.
        ownership: Whose a file is.
    """

    def __init__(self, kept: KeepSet, ownership: Ownership) -> None:
        self._kept = kept
        self._files = kept.files
        self._ownership = ownership
        self._read: set[str] = set()
        self._modules: set[str] = set()
        self._bounded = not any(
            each.startswith(("PERL5", "PERLLIB"))
            for each in kept.inventory.image.config.get("Env") or ()
        )

    def is_bounded(self) -> bool:
        """Return whether all Perl code that may run can be read, and names what it loads."""
        if self._bounded:
            self._bounded = self._find_whether_bounded()
        return self._bounded

    def _find_whether_bounded(self) -> bool:
        sources = list(self._sources())
        if None in sources or self._is_own_code_there():
            return False
        scripts = [path for path in sources if path is not None]
        if "opened" in self._kept.perl and not self._has_run_any(scripts):
            return False
        # A helper that nobody names, such as git's page for browsers, reads no settings here.
        reasons = self._kept.reasons
        started = [path for path in scripts if not reasons.get(path, "").startswith(DATA)]
        return not any(map(self._computes, started))

    def _computes(self, path: str) -> bool:
        """Return whether a source loads what a variable names."""
        return bool(COMPUTED.search(TRAILING.sub(b"", self._text(path))))

    def _sources(self) -> Iterator[str | None]:
        """List the scripts of packages for which Perl is kept; None: it is for something else."""
        for reason in sorted(self._kept.perl):
            for start in ("interpreter of ", "named in "):
                if reason.startswith(start):
                    path = reason.removeprefix(start)
                    yield path if self._is_script_of_package(path) else None
                    break
            else:
                if reason.startswith("needed by ELF "):
                    user = reason.removeprefix("needed by ELF ")
                    if not PERL.search(user) and not user.startswith(CORE):
                        yield None
                elif not reason.startswith(INNOCENT):
                    yield None

    def _is_script_of_package(self, path: str) -> bool:
        entry = self._files.get(path)
        if entry is None or entry.kind != "file" or not self._ownership.is_owned(path):
            return False
        return not self._kept.inventory.read(entry, 4).startswith(MAGIC)

    def _is_own_code_there(self) -> bool:
        """Return whether something in Perl is kept that no package has brought."""
        owned = self._ownership.is_owned
        return any(
            path.endswith(OWN_SUFFIXES) and not owned(path) and self._kept.kind(path) == "file"
            for path in self._kept.reasons
        )

    def _has_run_any(self, scripts: Iterable[str]) -> bool:
        """Return whether a run has opened one of the scripts, which then has started Perl."""
        return any(self._kept.reasons.get(path, "").startswith("opened") for path in scripts)

    def keep(self) -> None:
        """Keep what is always needed, and what all kept code names, to any depth."""
        for place in spread(LANGUAGES["perl"]):
            if f"{place}/" in CORE:
                self._keep_always(place)
            else:
                self._kept.below(place, "library of perl")
        self._add(LOADED_BY_C, "perl itself")
        self._add(sorted(self._kept.qualified), "own settings")
        scripts = [path for path in self._sources() if path is not None]
        while fresh := {*scripts, *self._list_modules()} - self._read:
            self._read |= fresh
            for path in sorted(fresh):
                self._follow(path)

    def _list_modules(self) -> list[str]:
        return [path for path in self._kept.reasons if path.endswith(SUFFIXES)]

    def _keep_always(self, place: str) -> None:
        for path in self._files.below(place):
            if ALWAYS.search(path) and not path.endswith((".pod", ".h")):
                self._kept.keep(path, "library of perl")

    def _follow(self, path: str) -> None:
        text = self._text(path)
        core = path.startswith(CORE)
        names = {each.decode() for each in QUALIFIED.findall(text)}
        for module, arguments in IMPORTED.findall(text):
            names.add(module.decode())
            names |= {each.decode() for each in WORD.findall(arguments)}
        if not core:
            names |= {each.decode() for each in QUOTED.findall(text)}
        names |= {each.decode() for each in FILE.findall(text)}
        if not core and ENCODES.search(text):
            names |= set(LAYERS)
        self._add(sorted(names), path)
        if core and self._computes(path):
            self._keep_beneath(path)

    def _text(self, path: str) -> bytes:
        """Return the code of a source, without documentation, comments and data."""
        data = POD.sub(b"", self._kept.inventory.read_path(path) or b"")
        if b"SelfLoader" not in data:
            data = END.sub(b"", data)
        return COMMENT.sub(b"", data)

    def _keep_beneath(self, path: str) -> None:
        """Keep the modules beneath one that computes names: it loads its own parts so."""
        part = _relative(path)
        for place in self._places:
            for each in self._files.below(f"{place}/{part}"):
                if each.endswith(SUFFIXES):
                    self._kept.keep(each, f"perl: beneath {path}")
                    self._with_parts(each)

    def _add(self, names: Iterable[str], source: str) -> None:
        """Keep the modules of some names: `File::Spec`, or the file of one."""
        for name in names:
            if name in self._modules:
                continue
            self._modules.add(name)
            path = name if name.endswith(SUFFIXES) else f"{name.replace('::', '/')}.pm"
            if any(self._kept.kind(f"{each}/{path}") == "file" for each in BASE):
                continue  # Perl looks there before, and all of it is kept
            for place in self._places:
                if self._kept.kind(f"{place}/{path}") == "file":
                    self._kept.keep(f"{place}/{path}", f"perl import of {source}")
                    self._with_parts(f"{place}/{path}")

    def _with_parts(self, path: str) -> None:
        """Keep what a module loads of itself: its library, split functions, its tables."""
        part = _relative(path)
        for place in self._places:
            for folder in (f"{place}/auto/{part}", f"{place}/{part}"):
                real, _ = self._files.walk(folder)
                for name in sorted(self._files.children.get(real, ()) if real else ()):
                    data = not name.endswith((".pm", ".pod", ".h"))
                    if data and self._kept.kind(f"{folder}/{name}") == "file":
                        self._kept.keep(f"{folder}/{name}", f"perl: part of {path}")

    @functools.cached_property
    def _places(self) -> list[str]:
        """The directories of the core library: by version, and the links to these."""
        return [
            f"{folder}{name}"
            for folder in CORE
            for name in sorted(self._files.children.get(folder.rstrip("/"), ()))
            if name[:1].isdigit()
        ]


def _relative(path: str) -> str:
    """Return what a module's path has after the folder of the version, without its suffix."""
    stem = posixpath.splitext(path)[0]
    for place in CORE:
        if stem.startswith(place):
            return stem[len(place) :].partition("/")[2]
    return stem
