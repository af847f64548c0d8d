"""Python code that is packed: zip archives that are run, and programs made by PyInstaller."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator

from mlkit.image.keep.class_files import LARGEST, MOST
from mlkit.image.keep.python_imports import find_imported
from mlkit.image.keep.source_words import MODULE, PYTHON_STARTS, WORD, Words, words_of

COOKIE = b"MEI\014\013\012\013\016"
"""What the archive at the end of a program of PyInstaller ends with."""
COOKIE_SIZE = 88
STREAM = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
"""How compressed data of zlib begins."""
SHORT = re.compile(rb"[zZ\xda\xfa]([\x02-\xff])")
LONG = re.compile(rb"[aAu\xe1\xc1\xf5]([\x01-\xff][\0-\x0f]\0\0)")
"""Texts of marshalled code: a letter for the kind, the length in one byte or in four."""
STARTS = re.compile(rb"subprocess|popen|posix_spawn|\xda\x06system|execv|pexpect")


def of_zip(data: bytes) -> Iterator[tuple[str, bytes, Words]]:
    """Read the Python code of a zip archive; what is damaged holds none.

    Returns:
        The name of each member, what it holds, and its words.
    """
    left = MOST
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                if not member.filename.endswith((".py", ".pyc")) or member.file_size > LARGEST:
                    continue
                left -= member.file_size
                if left < 0:
                    return
                inner = archive.read(member)
                yield member.filename, inner, _member(member.filename, inner)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError,
            ValueError, struct.error):  # fmt: skip
        return


def _member(name: str, data: bytes) -> Words:
    if name.endswith(".pyc"):
        return of_compiled(data)
    found = words_of(name, data)
    found.modules |= find_imported(data)
    found.by_name = True
    return found


def of_bundle(data: bytes) -> Iterator[tuple[bytes, Words]]:
    """Read the compiled code in the archive of a program of PyInstaller.

    Returns:
        What each module and script holds, and its words; its own modules lie in the archive.
    """
    at = data.rfind(COOKIE, max(0, len(data) - (64 << 10)))
    if at < 0 or len(data) < at + 24:
        return
    size = int(struct.unpack_from(">I", data, at + len(COOKIE))[0])
    begin, left = max(0, at + COOKIE_SIZE - size), MOST
    for match in STREAM.finditer(data, begin, at):
        if left <= 0:
            return
        inner = _inflate(data, match.start(), min(left, LARGEST))
        left -= len(inner)
        if len(inner) > COOKIE_SIZE and inner[:1] in {b"\xe3", b"c"}:  # a code object
            found = of_compiled(inner)
            found.modules = set()
            yield inner, found


def _inflate(data: bytes, at: int, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(memoryview(data)[at:], most)
    except zlib.error:
        return b""


def of_compiled(data: bytes) -> Words:
    """Read the texts of marshalled code, of any version of Python."""
    texts = set(_texts(data))
    found = Words(literals=texts, by_name=True, starts=bool(STARTS.search(data)))
    found.starts |= bool(PYTHON_STARTS.search(data))
    found.shell = found.starts
    found.modules = {each for each in texts if MODULE.fullmatch(each)}
    for each in texts:
        found.programs.update(WORD.findall(each))
    return found


def _texts(data: bytes) -> Iterator[str]:
    for match in SHORT.finditer(data):
        yield from _text(data[match.end() : match.end() + match[1][0]], match[1][0])
    for match in LONG.finditer(data):
        size = int.from_bytes(match[1], "little")
        yield from _text(data[match.end() : match.end() + size], size)


def _text(data: bytes, size: int) -> Iterator[str]:
    text = data.decode(errors="replace")
    if len(data) == size and text.replace("\n", "").replace("\t", "").isprintable():
        yield text
