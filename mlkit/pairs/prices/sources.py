"""The files that hold prices: one, several, folders of them, and what archives contain."""

from __future__ import annotations

import hashlib
import io
import lzma
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mlkit.errors import BadData, InputMissing, UsageError
from mlkit.pairs.prices.vendors import stem
from mlkit.unpacking import UnpackLimits, unzip

SUFFIXES = (".csv", ".tsv", ".txt", ".gz", ".parquet", ".pq", ".xlsx", ".zip")
"""Files of a folder that are read; the others are counted in a note."""


class Document(NamedTuple):
    """The content of a file, or of a member of an archive.

    Attributes:
        source: The name that errors give it.
        stem: Its name without folder and suffixes; empty for standard input.
        content: Its bytes, unpacked.
    """

    source: str
    stem: str
    content: bytes


class Found(NamedTuple):
    """What paths lead to.

    Attributes:
        name: The name of all of it together.
        documents: The documents, in the order of the paths; those of a folder by name.
        content_hash: SHA-256 of the file's bytes; of several, of their stems and hashes.
        notes: What was passed over.
    """

    name: str
    documents: list[Document]
    content_hash: str
    notes: list[str]


Paths = str | Path | Sequence[str | Path]


def find(paths: Paths, limits: UnpackLimits | None = None) -> Found:
    """Read the files that paths lead to; `-` is standard input, a folder all its files.

    Raises:
        InputMissing: A file cannot be read, or a folder has none.
        BadData: An archive is broken or unpacks to too much.
        UsageError: No path.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if not given:
        raise UsageError("no price file is given")
    notes: list[str] = []
    files = [file for path in given for file in _expand(path, notes)]
    documents: list[Document] = []
    hashes = []
    for file in files:
        content = _content(file)
        hashes.append((stem(str(file)), hashlib.sha256(content).hexdigest()))
        documents += _documents(file, content, limits or UnpackLimits())
    return Found(_name(given), documents, _joint(hashes), notes)


def _name(given: Sequence[str | Path]) -> str:
    first = "standard input" if str(given[0]) == "-" else str(given[0])
    return first if len(given) == 1 else f"{first} and {len(given) - 1} more"


def _joint(hashes: Sequence[tuple[str, str]]) -> str:
    if len(hashes) == 1:
        return hashes[0][1]
    text = "".join(f"{name}\0{each}\n" for name, each in hashes)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _expand(path: str | Path, notes: list[str]) -> Iterable[str | Path]:
    if str(path) == "-" or not Path(path).is_dir():
        return [path]
    try:
        files = sorted(each for each in Path(path).iterdir() if not each.name.startswith("."))
    except OSError as error:
        raise InputMissing(f"{path}: cannot be read: {error.strerror}") from error
    known = [each for each in files if each.suffix.lower() in SUFFIXES and each.is_file()]
    if not known:
        raise InputMissing(f"{path}: no price files in this folder", hint=" ".join(SUFFIXES))
    if len(known) < len(files):
        other = next(each for each in files if each not in known)
        notes.append(f"{path}: {len(files) - len(known)} not read: {other.name}, ...")
    return known


def _content(path: str | Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else Path(path).read_bytes()
    except OSError as error:
        raise InputMissing(f"{path}: cannot be read: {error.strerror}") from error


def _documents(path: str | Path, content: bytes, limits: UnpackLimits) -> Iterator[Document]:
    standard = str(path) == "-"
    source = "standard input" if standard else str(path)
    name = "" if standard else stem(str(path))
    if content[:4] != b"PK\x03\x04":
        yield Document(source, name, unzip(content, source, limits))
        return
    archive = _archive(content, source)
    members = [each for each in archive.infolist() if _is_data(each)]
    # Read even of a workbook, which others unpack: what it declares may be wrong.
    unpacked = list(_members(archive, members, source, len(content), limits))
    if "[Content_Types].xml" in archive.namelist():
        yield Document(source, name, content)
    else:
        yield from unpacked


def _is_data(member: zipfile.ZipInfo) -> bool:
    return not member.is_dir() and not member.filename.startswith("__MACOSX")


def _archive(content: bytes, source: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise BadData(f"{source}: damaged zip file: {error}") from error


def _members(
    archive: zipfile.ZipFile,
    members: Sequence[zipfile.ZipInfo],
    source: str,
    packed: int,
    limits: UnpackLimits,
) -> Iterator[Document]:
    total = 0
    for member in members:
        parts = []
        try:
            with archive.open(member) as stream:
                while part := stream.read(1 << 20):
                    total += len(part)
                    limits.check(source, packed, total)
                    parts.append(part)
        except (
            zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, NotImplementedError,
            EOFError, OSError,
        ) as error:  # fmt: skip
            raise BadData(f"{source}: {member.filename}: damaged zip file: {error}") from error
        yield Document(f"{source}: {member.filename}", stem(member.filename), b"".join(parts))
