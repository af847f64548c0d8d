"""Runtimes of languages, wherever they lie: no app of one's own, whatever words they hold."""

from __future__ import annotations

import posixpath
import re

from mlkit.image.filesystem.inventory import Entry, Inventory

NAME = re.compile(
    r"(?:node(?:js)?|deno|bun|java\w*|keytool|jcmd|ruby|php(?:-fpm|-cgi)?|perl|python|lua(?:jit)?"
    r"|Rscript|R|beam\.smp|erl\w*|dotnet|tclsh|guile)[\d.]*t?"
    r"|(?:lib(?:node|ruby|python|perl|php|jvm|jli|R|lua|tcl|guile)[\w.-]*\.so[\d.]*)"
)
MARKS = (
    *(b"NODE_OPTIONS", b"DENO_DIR", b"BUN_INSTALL", b"PYTHONHOME", b"RUBYOPT", b"PERL5LIB"),
    *(b"LUA_PATH", b"zend_", b"JLI_", b"JNI_CreateJavaVM", b"R_HOME", b"DOTNET_", b"ERL_"),
    *(b"TCLLIBPATH", b"GUILE_LOAD_PATH"),
)
"""What a runtime's program or library holds, and hardly anything else of such a name."""
JVM = re.compile(r"(.+?)/(?:jre/)?lib/(?:\w+/)?(?:server|client|minimal)/libjvm\.so")
LIBRARIES = re.compile(
    r"(?:^|/)(?:node_modules|site-packages|dist-packages|vendor|gems|perl5|site_ruby|site-library"
    r"|lib/(?:ruby|perl|php|R|lua|erlang|tcl)|python3(?:\.\d+)?)/"
)
"""Where the package managers of languages put what they install, and languages their library."""


class Runtimes:
    """Recognises the runtimes of an image by what they are.

    Args:
        inventory: The image.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        found = (
            JVM.fullmatch(path) for path in inventory.files.entries if path[-9:] == "libjvm.so"
        )
        self._homes = tuple(sorted({f"{match[1]}/" for match in found if match}))
        self._known: dict[str, bool] = {}

    def holds(self, path: str) -> bool:
        """Return whether a file belongs to a runtime or to a library of one."""
        if path.startswith(self._homes) or LIBRARIES.search(path):
            return True
        entry = self._inventory.files.get(path)
        if entry is None or not NAME.fullmatch(posixpath.basename(path)):
            return False
        if path not in self._known:
            self._known[path] = self._is_marked(entry)
        return self._known[path]

    def _is_marked(self, entry: Entry) -> bool:
        if entry.kind != "file" or self._inventory.read(entry, 4) != b"\x7fELF":
            return False
        before = b""
        for chunk in self._inventory.chunks(entry):
            if any(mark in before + chunk for mark in MARKS):
                return True
            before = chunk[-32:]
        return False
