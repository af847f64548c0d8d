"""The database of apk: which package of Alpine or Wolfi each file of an image belongs to.

A text of paragraphs, a line per field, each named by one letter: `P:` the package, `V:` its
version, `A:` its architecture, `D:` what it depends on, `p:` what it provides, `i:` the packages
beside which it is installed by itself, `o:` its source; then its directories (`F:`, with `M:` for
the owner and mode) and their files (`R:`, with `a:` likewise, and `Z:` for the digest).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Container, Iterator

from mlkit.errors import BadData
from mlkit.image.filesystem.inventory import PATH_MAX, FileSystem, Inventory
from mlkit.image.packages.package import Package, Packages

DATABASES = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
WORLD = "etc/apk/world"
"""The packages that were asked for by name."""
NAME = re.compile(r"\.?[A-Za-z0-9_][A-Za-z0-9+._-]*")
"""Also `.NAME`, as virtual packages are called."""
VERSION = re.compile(r"[!-~]+")
RELATED = re.compile(r"(?:cmd:)?[A-Za-z0-9_.][A-Za-z0-9+._-]*")
"""What a dependency names: a package or a program.

Not a library (`so:`), which the ELF files name themselves, nor a path, which only scripts of the
installation need, nor a conflict (`!`).
"""
VERSIONED = re.compile(r"[<>=~@]")
PLACES = {"F", "R"}
"""The lines that name a directory or a file."""
BASIC = re.compile(
    r"(?:alpine|wolfi|chainguard)-(?:base|baselayout|keys|release)(?:-\w+)?|busybox(?:-\w+)?"
    r"|apk-tools|musl(?:-utils)?|libc-utils|scanelf|ssl_client|zlib|lib(?:crypto|ssl)3"
    r"|ca-certificates-bundle|glibc(?:-locale-posix)?|ld-linux|libxcrypt"
)
"""What every Alpine and every Wolfi has."""
SETTINGS = "etc/"
"""Where apk itself takes a file that has changed for a setting that the user has written."""
DIGEST = "Q1"
"""What precedes an SHA-1 in base64."""


def read(inventory: Inventory) -> Packages:
    """Read the database of an image; of one that apk does not install it is empty.

    Raises:
        BadData: The database is damaged, or holds no package.
    """
    databases = find_databases(inventory)
    found = {each.name: each for path in databases for each in _read(inventory, path)}
    if databases and not found:
        text = f"{inventory.image.source}: {databases[0]} holds no package"
        raise BadData(text, hint="the database of apk is damaged")
    owners: dict[str, str] = {}
    for package in found.values():
        for key, _, path in _lines(package.stanza):
            if key in PLACES and path and len(path) <= PATH_MAX:
                owners.setdefault(inventory.files.real_parent(path), package.name)
    return Packages(found, owners, _wanted(inventory, found) if found else frozenset())


def _wanted(inventory: Inventory, installed: dict[str, Package]) -> frozenset[str]:
    """Return what was asked for by name, and what virtual packages stand for."""
    world = (inventory.read_path(WORLD) or b"").decode(errors="replace")
    asked = installed.keys() & set(map(_name, world.split()))
    virtual = (installed[name].depends for name in asked if name.startswith("."))
    return frozenset(installed.keys() & asked.union(*virtual))


def find_databases(inventory: Inventory) -> list[str]:
    """Return where the database is; `/lib` may be a link to `/usr/lib`."""
    real = (inventory.files.walk(path)[0] for path in DATABASES)
    return sorted({path for path in real if path is not None and path in inventory.files})


def records(
    inventory: Inventory,
    names: Container[str],
    kept: Container[str],
    below: Inventory | None = None,
) -> Iterator[tuple[str, bytes]]:
    """Write the database again: the entries of some packages, with those files that are kept.

    Args:
        inventory: The image that the packages come from.
        names: The packages of which something is kept.
        kept: The paths that are kept.
        below: What lies below, whose packages are there as well, and whole.
    """
    for path in find_databases(inventory):
        text = {
            each.name: (each.version, _of_kept(each.stanza, kept, inventory.files))
            for each in _read(inventory, path)
            if each.name in names
        }
        for each in _read(below, path) if below is not None else ():
            if text.get(each.name, (each.version,))[0] == each.version:
                text[each.name] = (each.version, f"{each.stanza}\n")
        joined = "".join(each for _, each in text.values())
        yield path, joined.encode(errors="surrogateescape")


def _of_kept(stanza: str, kept: Container[str], files: FileSystem) -> str:
    """Write a package's paragraph, of its directories and files only those that are kept."""
    lines, stays = [], True
    for key, value, path in _lines(stanza):
        if key in PLACES:
            stays = not path or files.real_parent(path) in kept
        if stays:
            lines.append(f"{key}:{value}\n")
    return "".join([*lines, "\n"])


def _read(inventory: Inventory, path: str) -> Iterator[Package]:
    text = (inventory.read_path(path) or b"").decode(errors="surrogateescape")
    for stanza in text.split("\n\n"):
        fields: dict[str, str] = {}
        for key, value, _ in _lines(stanza):
            fields.setdefault(key, value)
        if not fields:
            continue
        name, version = fields.get("P", ""), fields.get("V", "").strip()
        if not NAME.fullmatch(name) or not VERSION.fullmatch(version):
            told = f"{inventory.image.source}: a package with the name {name[:60]!a}"
            raise BadData(told, hint=f"{path} is damaged")
        depends = _related(fields.get("D", ""))
        yield Package(
            name=name,
            version=version,
            architecture=fields.get("A", "noarch").encode(errors="replace").decode(),
            stanza=stanza.strip("\n") + "\n",
            manager="apk",
            depends=depends,
            extends=depends | _related(fields.get("i", "")),
            provides=_related(fields.get("p", "")),
            source=fields.get("o", name),
            is_basic=BASIC.fullmatch(name) is not None,
            settings=dict(_settings(stanza)),
        )


def _lines(stanza: str) -> Iterator[tuple[str, str, str]]:
    """Return the letter and the value of each line, and the path that it is about."""
    folder = path = ""
    for line in stanza.splitlines():
        key, colon, value = line[:1], line[1:2], line[2:]
        if colon != ":":
            continue
        if key == "F":
            folder = path = value.strip("/")
        elif key == "R":
            path = f"{folder}/{value}".strip("/")
        yield key, value, path


def _settings(stanza: str) -> Iterator[tuple[str, str]]:
    """Return the settings of a package, and their digests."""
    for key, value, path in _lines(stanza):
        if key == "Z" and path.startswith(SETTINGS) and value.startswith(DIGEST):
            with contextlib.suppress(binascii.Error, ValueError):
                digest = base64.b64decode(value.removeprefix(DIGEST), validate=True)
                yield path, f"sha1:{digest.hex()}"


def _related(text: str) -> frozenset[str]:
    names = map(_name, text.split())
    return frozenset(each for each in names if RELATED.fullmatch(each))


def _name(relation: str) -> str:
    """Return what a relation such as `musl>=1.2.5` is about."""
    return VERSIONED.split(relation, maxsplit=1)[0]
