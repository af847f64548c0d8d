"""Java's class files: the constants that they hold, in jars, and in jars within jars."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

MAGIC = b"\xca\xfe\xba\xbe"
ARCHIVES = (".jar", ".war", ".ear")
TEXTS = (".properties", ".yml", ".yaml", ".xml", ".json", ".conf", ".txt", ".sh", ".py")
"""Members that are settings or scripts."""
DEEPEST = 3
"""Jars within one another."""
MOST = 256 << 20
"""Bytes that are unpacked of one archive, whatever lies in it."""
LARGEST = 16 << 20
"""Bytes of a member; larger ones hold no code."""
STARTS = frozenset({"java/lang/ProcessBuilder", "java/lang/Runtime", "java/lang/Process"})
RELEASE = "--release"
"""The option of the compiler for which it reads `ct.sym`."""
SIZES = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4,
         19: 2, 20: 2}  # fmt: skip
"""Bytes of the constants of a class file but for texts (JVM specification, 4.4)."""


@dataclass
class Constants:
    """What the classes of an archive hold.

    Attributes:
        own: Texts of classes, settings and scripts that belong to no library.
        starting: Texts of those classes of libraries that start programs.
        paths: Texts of all classes of libraries that have a slash in front.
        starts: A class starts programs.
        compiles: A class compiles for a release of Java that it names.
    """

    own: set[str] = field(default_factory=set)
    starting: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    starts: bool = False
    compiles: bool = False


def of_archive(file: IO[bytes]) -> Constants:
    """Read the constants of an archive of classes, or of one class; what is damaged holds none."""
    found = Constants()
    head = file.read(len(MAGIC))
    if head == MAGIC:
        _member(head + file.read(LARGEST), found, False)
    else:
        _archive(file, found, False, DEEPEST, [MOST])
    return found


def _archive(file: IO[bytes], found: Constants, library: bool, depth: int, left: list[int]) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                inner = member.filename.endswith(ARCHIVES)
                wanted = inner or member.filename.endswith((".class", *TEXTS))
                if not wanted or member.file_size > (MOST if inner else LARGEST):
                    continue
                left[0] -= member.file_size
                if left[0] < 0:
                    return
                data = archive.read(member)
                if inner and depth:
                    deeper = library or "/lib/" in f"/{member.filename}"
                    _archive(io.BytesIO(data), found, deeper, depth - 1, left)
                elif not inner:
                    _member(data, found, library)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, RuntimeError,
            NotImplementedError, struct.error):  # fmt: skip
        return


def _member(data: bytes, found: Constants, library: bool) -> None:
    is_class = data.startswith(MAGIC)
    texts = set(constants(data)) if is_class else {data.decode(errors="replace")}
    starts = bool(is_class and texts & STARTS)
    found.starts |= starts
    found.compiles |= RELEASE in texts
    if not library:
        found.own |= texts
    elif starts:
        found.starting |= texts
    if library:
        found.paths |= {each for each in texts if each.startswith("/")}


def constants(data: bytes) -> Iterator[str]:
    """List the texts of a class file's table of constants (JVM specification, 4.4.7)."""
    if not data.startswith(MAGIC) or len(data) < 10:
        return
    (count,) = struct.unpack_from(">H", data, 8)
    at, number = 10, 1
    while number < count and at < len(data):
        tag = data[at]
        if tag == 1 and at + 3 <= len(data):
            (size,) = struct.unpack_from(">H", data, at + 1)
            yield data[at + 3 : at + 3 + size].decode(errors="replace")
            at += 3 + size
        elif tag in SIZES:
            at += 1 + SIZES[tag]
        else:
            return
        number += 2 if tag in {5, 6} else 1
