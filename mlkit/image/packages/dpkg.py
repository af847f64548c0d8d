"""The dpkg database of an image: which package each file belongs to."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator

from mlkit.errors import BadData
from mlkit.image.filesystem.inventory import PATH_MAX, Inventory
from mlkit.image.packages.package import Package, Packages

STATUS = "var/lib/dpkg/status"
STATUS_PARTS = "var/lib/dpkg/status.d"
INFO = "var/lib/dpkg/info"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
DEPENDS = re.compile(r"^(?:Pre-)?Depends: (.*)$", re.MULTILINE)
EXTENDS = re.compile(r"^(?:Depends|Pre-Depends|Recommends|Suggests|Enhances): (.*)$", re.MULTILINE)
SOURCE = re.compile(r"^Source: (\S+)", re.MULTILINE)
PROVIDES = re.compile(r"^Provides: (.*)$", re.MULTILINE)
RELATED = re.compile(r"[a-z0-9][a-z0-9+.-]+")
BASIC = re.compile(r"^(?:Priority: (?:required|important)|Essential: yes)$", re.MULTILINE)
CONFFILES = re.compile(r"^Conffiles:\n((?: [^\n]*\n?)+)", re.MULTILINE)


def names_in(fields: Iterable[str]) -> frozenset[str]:
    """Return the packages that some fields of a package name, alternatives too."""
    clauses = ",".join(fields).replace("|", ",").split(",")
    return frozenset(match.group() for each in clauses if (match := RELATED.match(each.strip())))


def read(inventory: Inventory) -> Packages:
    """Read the database of an image: of Debian's dpkg, or of a distroless image."""
    installed = {package.name: package for package in _list_installed(inventory)}
    owners: dict[str, str] = {}
    for name, lines in _lists(inventory):
        for line in lines:
            path = line.strip("/").removeprefix("./")
            if path and len(path) <= PATH_MAX:
                owners.setdefault(inventory.files.real_parent(path), name)
    return Packages(installed, owners)


def _list_installed(inventory: Inventory) -> Iterator[Package]:
    text = (inventory.read_path(STATUS) or b"").decode(errors="replace")
    for stanza in text.split("\n\n"):
        package = _package(stanza)
        if package and "\nStatus: install ok installed" in "\n" + stanza:
            yield package
    for name in sorted(inventory.files.children.get(STATUS_PARTS, ())):
        if not name.endswith(".md5sums"):
            part = inventory.read_path(f"{STATUS_PARTS}/{name}") or b""
            if package := _package(part.decode(errors="replace")):
                yield package


def _package(stanza: str) -> Package | None:
    pairs = (line.partition(": ") for line in stanza.splitlines() if line[:1].isalpha())
    fields = {key: value for key, _, value in pairs}
    if not {"Package", "Version"} <= fields.keys():
        return None
    if not NAME.fullmatch(fields["Package"]) or not fields["Version"].strip():
        hint = "its database of packages is damaged"
        raise BadData(f"a package with the name {fields['Package'][:60]!r}", hint=hint)
    architecture = fields.get("Architecture", "all")
    source = SOURCE.search(stanza)
    return Package(
        name=fields["Package"],
        version=fields["Version"],
        architecture=architecture,
        stanza=stanza.strip() + "\n",
        depends=names_in(DEPENDS.findall(stanza)),
        extends=names_in(EXTENDS.findall(stanza)),
        provides=names_in(PROVIDES.findall(stanza)),
        source=source[1] if source else fields["Package"],
        is_basic=BASIC.search(stanza) is not None,
        settings=dict(_settings(stanza)),
    )


def _settings(stanza: str) -> Iterator[tuple[str, str]]:
    """Return the settings of a package, and their digests."""
    for block in CONFFILES.finditer(stanza):
        for line in block[1].splitlines():
            path, digest = [*line.split(), "", ""][:2]
            if digest:
                yield path.strip("/"), f"md5:{digest}"


def _lists(inventory: Inventory) -> Iterator[tuple[str, list[str]]]:
    """Return each package's name and its paths."""
    for name in sorted(inventory.files.children.get(INFO, ())):
        if name.endswith(".list"):
            text = inventory.read_path(f"{INFO}/{name}") or b""
            yield name.removesuffix(".list").partition(":")[0], _lines(text)
    for name in sorted(inventory.files.children.get(STATUS_PARTS, ())):
        if name.endswith(".md5sums"):
            text = inventory.read_path(f"{STATUS_PARTS}/{name}") or b""
            paths = [line.partition("  ")[2] for line in _lines(text)]
            yield name.removesuffix(".md5sums"), paths


def records(
    inventory: Inventory, packages: Packages, names: Iterable[str], kept: Container[str]
) -> Iterator[tuple[str, bytes]]:
    """Write the database of a distroless image: each package's entry, and its files' digests.

    Args:
        inventory: The image that the packages come from.
        packages: Its packages.
        names: Those of which something is kept.
        kept: The paths that are kept.
    """
    for name in sorted(names):
        package = packages.installed.get(name)
        if package is not None and package.manager == "dpkg":
            lines = [
                f"{digest}  {path}\n"
                for path, digest in _checksums(inventory, package)
                if inventory.files.real_parent(path) in kept
            ]
            yield f"{STATUS_PARTS}/{name}", package.stanza.encode()
            sums = "".join(lines).encode(errors="surrogateescape")
            yield f"{STATUS_PARTS}/{name}.md5sums", sums


def _checksums(inventory: Inventory, package: Package) -> list[tuple[str, str]]:
    """Return the paths and MD5 digests of a package's files."""
    names = (package.name, f"{package.name}:{package.architecture}")
    for place in (*(f"{INFO}/{each}" for each in names), f"{STATUS_PARTS}/{package.name}"):
        if text := inventory.read_path(f"{place}.md5sums"):
            pairs = (line.partition("  ") for line in _lines(text))
            return [(path, digest) for digest, _, path in pairs if path]
    return []


def _lines(text: bytes) -> list[str]:
    return text.decode(errors="surrogateescape").splitlines()
