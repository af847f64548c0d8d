"""What lies below the app's own files: a base of ours, or any image of the engine."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from mlkit.errors import BadData, ServiceUnavailable
from mlkit.image.base import debian, symbols
from mlkit.image.filesystem import build
from mlkit.image.filesystem.build import Item, Written
from mlkit.image.filesystem.image_source import take_inventory
from mlkit.image.filesystem.inventory import Entry, FileSystem, Inventory
from mlkit.image.keep.request import Plan
from mlkit.image.packages.installed import read_packages
from mlkit.image.packages.package import Packages
from mlkit.progress import Progress, silent

AUTO, NONE = "auto", "none"
OF_IMAGE = "(of the image)"
"""A base of the image's own files: its distribution's packages are not made here."""
SYSTEM = re.compile(
    r"(?:alpine|wolfi|chainguard)-(?:baselayout(?:-\w+)?|release)|ca-certificates-bundle|tzdata"
)
"""The packages of apk that such a base holds whole, as `static` holds Debian's."""
LOADER = "musl"
"""The one that it holds if what is kept needs it."""
TOLERANCE = 0.02
"""`auto` takes a larger base if no more than this share of the kept bytes comes with it."""


@dataclass(frozen=True)
class BaseImage:
    """What lies below the app's own files.

    Attributes:
        name: `none`, a kind of base, or the name of an image.
        items: Its files.
        image: The image, if it is one: its layers are taken as they are.
        packages: Those of the original that it holds whole.
    """

    name: str
    items: Sequence[Item] = ()
    image: Inventory | None = None
    packages: frozenset[str] = frozenset()

    def layers(self, folder: Path, time: float | None = None) -> list[Written]:
        """Write its layers, the lowest first.

        Args:
            folder: Where.
            time: Of all files that are assembled here; None: each keeps its own.
        """
        if self.image is not None:
            return list(copy_layers(self.image, folder))
        return [build.write_layer(self.items, folder / "base.tar", time)] if self.items else []


def copy_layers(inventory: Inventory, folder: Path, name: str = "base") -> Iterator[Written]:
    """Write the layers of an image unchanged, the lowest first."""
    for number, layer in enumerate(inventory.image.layers):
        path = folder / f"{name}-{number}.tar"
        with layer.open() as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)
        yield Written(path, layer.diff_id.partition(":")[2])


@contextlib.contextmanager
def image(name: str, architecture: str, progress: Progress = silent) -> Iterator[BaseImage]:
    """Take an image of the engine as the base.

    Raises:
        InputMissing: The engine has no such image.
        BadData: It is for another architecture.
    """
    with take_inventory(name, progress) as inventory:
        theirs = inventory.image.document.get("architecture", architecture)
        if theirs != architecture:
            raise BadData(f"--base {name}: for {theirs}, and the image is for {architecture}")
        entries = inventory.files.entries
        items = [Item(entries[path], inventory) for path in sorted(entries)]
        yield BaseImage(name, items, inventory)


def of_image(inventory: Inventory, packages: Packages, kept: Plan) -> BaseImage:
    """Take what any app of an image's distribution needs as the base, so that they share it."""
    names = {name for name in packages.installed if SYSTEM.fullmatch(name)}
    names |= kept.packages & {LOADER}
    entries = inventory.files.entries
    owned = (path for path, owner in packages.owners.items() if owner in names)
    found: set[str] = set()
    for path in (each for each in owned if each in entries and not debian.NO_RUNTIME.match(each)):
        while path and path not in found:
            found.add(path)
            path = path.rpartition("/")[0]
    items = [Item(entries[path], inventory) for path in sorted(found)]
    return BaseImage(OF_IMAGE, items, packages=frozenset(names))


def refuse(name: str, packages: Packages, architecture: str) -> None:
    """Refuse a base of Debian's packages below files of another distribution or architecture.

    Args:
        name: The base that is asked for.
        packages: The image's packages.
        architecture: What the image is for.

    Raises:
        BadData: It is such a base.
    """
    if packages.are_of_apk and name in debian.KINDS:
        text = f"--base {name}: of Debian's packages, and the image's packages are apk's"
        raise BadData(text, hint="--base auto makes one of the image's own files")
    if architecture != build.here() and name in debian.KINDS:
        text = f"--base {name}: of packages for {build.here()}, and the image is for {architecture}"
        raise BadData(text, hint="--base none, or an image for that architecture")


def refuse_other(below: BaseImage, packages: Packages) -> None:
    """Refuse an image as the base whose packages are another package manager's.

    Args:
        below: The base.
        packages: The packages of what lies over it.

    Raises:
        BadData: It is such an image.
    """
    theirs = read_packages(below.image) if below.image is not None else packages
    managers = {each.manager for every in (theirs, packages) for each in every.installed.values()}
    if len(managers) > 1:
        text = f"--base {below.name}: its packages are of another package manager than the image's"
        raise BadData(text, hint="take an image of the same distribution")


@functools.cache
def assemble(kind: str) -> BaseImage:
    """Assemble a kind of base from Debian packages; `none` is nothing."""
    return BaseImage(kind, () if kind == NONE else debian.assemble(kind))


def read_ahead(name: str) -> None:
    """Ask apt now what `assemble` and `choose` will want to know of it.

    Args:
        name: The base that is asked for.

    Raises:
        ServiceUnavailable: A base that is wanted cannot be assembled.
    """
    if name in debian.KINDS:
        assemble(name)
    elif name == AUTO:
        assemble(debian.KINDS[0])
        with contextlib.suppress(ServiceUnavailable):
            debian.packages_of(debian.KINDS[1])


def choose(inventory: Inventory, packages: Packages, kept: Plan) -> str:
    """Choose the smallest base that suits an image; of equally small ones the one that holds more.

    A base of another distribution release would bring libraries of other versions: then, and
    where a larger base only adds weight, it is `static`, which holds no program. An image of apk
    has a base of its own files, and one for another architecture has none.
    """
    if packages.are_of_apk:
        return OF_IMAGE
    if inventory.image.document.get("architecture", build.here()) != build.here():
        return NONE
    if release(inventory) != debian.release():
        return "static"
    total = _weight(inventory, kept.reasons)
    chosen = "static"
    for kind in debian.KINDS[1:]:
        extra = _extra(kind, inventory, packages, kept)
        if extra is None or extra > TOLERANCE * total:
            break
        chosen = kind
    return chosen


def release(inventory: Inventory) -> tuple[str, str] | None:
    """Name an image's distribution and release; None if it does not say."""
    for path in ("etc/os-release", "usr/lib/os-release"):
        text = inventory.read_path(path)
        if text is not None:
            return debian.read_release(text.decode(errors="replace"))
    return None


def _extra(kind: str, inventory: Inventory, packages: Packages, kept: Plan) -> int | None:
    """Return the bytes that a base would add; None if the app does not use what it is for."""
    if not all(kept.packages & set(names) for names in debian.SEEDS[kind]):
        return None
    try:
        names = set(debian.packages_of(kind)) - set(debian.packages_of("static"))
    except ServiceUnavailable:
        return None
    if names - packages.installed.keys():
        return None
    brought = {path for path, owner in packages.owners.items() if owner in names}
    new = {path for path in brought - kept.reasons.keys() if not debian.NO_RUNTIME.match(path)}
    return _weight(inventory, new)


def _weight(inventory: Inventory, paths: set[str] | dict[str, str]) -> int:
    entries = inventory.files.entries
    return sum(entries[path].size for path in paths if path in entries)


@dataclass
class Merged(Inventory):
    """An app's files over those of its base; the app's win.

    Attributes:
        items: Path to where its bytes come from.
        own: The paths that are the app's.
    """

    items: dict[str, Item] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)

    def open(self, entry: Entry) -> IO[bytes]:
        """Open a file; it can be sought."""
        data = self.items[entry.path].data
        return data.open(entry) if isinstance(data, Inventory) else io.BytesIO(data)

    def content(self, entry: Entry) -> object:
        """Return what hard links have in common; bytes of our own are not links."""
        data = self.items[entry.path].data
        return (id(data), entry.content) if isinstance(data, Inventory) else entry.path


def merge(inventory: Inventory, below: Sequence[Item], own: Sequence[Item]) -> Merged:
    """Lay an app's files over a base's."""
    files, items = FileSystem(), {}
    for item in (*below, *own):
        files.add(item.entry)
        items[item.entry.path] = item
    mine = {item.entry.path for item in own}
    return Merged(inventory.image, files, items, mine & files.entries.keys())


def check(merged: Merged, name: str) -> None:
    """Refuse a base whose libraries would stand in for newer ones that the app needs.

    Raises:
        BadData: One lacks a symbol version.
    """
    entries = merged.files.entries
    theirs = (path for path in entries.keys() - merged.own if ".so" in path)
    libraries = {path for path in theirs if entries[path].kind == "file"}
    lacks = symbols.lacking(merged, merged.own, libraries) if libraries else []
    if lacks:
        one = lacks[0]
        versions = ", ".join(one.versions)
        hint = "take --base static, or a base of the image's own release"
        raise BadData(f"--base {name}: /{one.library} lacks {versions}, which /{one.user} needs",
                      hint=hint)  # fmt: skip


def without_same(own: Sequence[Item], below: Sequence[Item], times: bool = True) -> list[Item]:
    """Leave out the files that the base holds as well, so that its layer can be shared.

    Args:
        own: The app's files.
        below: The base's.
        times: Files of another time are others.
    """
    base_items = {item.entry.path: item for item in below if item.entry.kind != "directory"}
    return [
        item
        for item in own
        if item.entry.path not in base_items or not _same(item, base_items[item.entry.path], times)
    ]


def _same(ours: Item, theirs: Item, times: bool) -> bool:
    def plain(entry: Entry) -> tuple[object, ...]:
        owner = entry.mode, entry.uid, entry.gid
        time = entry.mtime if times and entry.kind == "file" else 0
        return entry.kind, owner, entry.size, entry.target, entry.xattrs, time

    if plain(ours.entry) != plain(theirs.entry):
        return False
    return ours.entry.kind != "file" or build.digest(ours) == build.digest(theirs)
