"""Where the bytes of an image and of its slimmed result lie: by package, by layer, by file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mlkit.image.base.base_image import Merged
from mlkit.image.filesystem.inventory import Entry, Inventory
from mlkit.image.keep.leftovers import leftover
from mlkit.image.keep.request import Plan
from mlkit.image.packages.installed import read_packages
from mlkit.image.packages.package import Packages

UNOWNED = "(no package)"
UNNEEDED = "library or runtime that nothing needs"
OURS = "(mlkit)"
"""What slimming itself has added: records, an init, the launcher."""
NOT_SHELL = ("/bin/sh -c #(nop) ", "/bin/sh -c ")


@dataclass(frozen=True)
class Share:
    """Bytes of files, hard links counted once.

    Attributes:
        name: A package, a layer, or a folder.
        before: In the original.
        after: In the result.
    """

    name: str
    before: int
    after: int


@dataclass(frozen=True)
class Dropped:
    """A file of the original that is not in the result.

    Attributes:
        path: Its path.
        size: Its bytes.
        package: The package that it belongs to.
    """

    path: str
    size: int
    package: str | None


@dataclass(frozen=True)
class Leftovers:
    """Files of no package that were dropped.

    Attributes:
        kind: What they are taken for.
        files: How many.
        bytes: Their size.
    """

    kind: str
    files: int
    bytes: int


@dataclass(frozen=True)
class Sizes:
    """Where the bytes are.

    Attributes:
        packages: By package, the largest before first; then what has none.
        layers: By layer of the original, the lowest first; then what was added.
        dropped: Files that are gone, the largest first.
        areas: By package, and by folder where there is none.
        own_files: Files of no package that were kept.
        own_bytes: Their bytes.
        leftovers: What was dropped of no package, by what it was taken for.
    """

    packages: list[Share]
    layers: list[Share]
    dropped: list[Dropped]
    areas: list[Share]
    own_files: int
    own_bytes: int
    leftovers: list[Leftovers]


def sizes(inventory: Inventory, packages: Packages, kept: Plan, result: Merged) -> Sizes:
    """Measure an image and its result.

    Args:
        inventory: The original.
        packages: Its packages.
        kept: The keep-set.
        result: The result's files.
    """
    of_base = read_packages(result).owners
    names = _layer_names(inventory)

    def package(path: str) -> str:
        return packages.owners.get(path, UNOWNED)

    def is_original(path: str) -> bool:
        return result.items[path].entry is inventory.files.entries.get(path)

    def package_after(path: str) -> str:
        if is_original(path):
            return package(path)
        return OURS if path in result.own else of_base.get(path, UNOWNED)

    def layer_after(path: str) -> str:
        if is_original(path):
            return names[result.files.entries[path].layer]
        return OURS if path in result.own else "(base)"

    def area(path: str) -> str:
        return packages.owners.get(path) or _folder(path)

    before, after = list(_files(inventory)), list(_files(result))
    ours = [entry for entry in after if is_original(entry.path)]
    own = [entry for entry in ours if entry.path not in packages.owners]
    by_package = _shares(before, package, after, package_after)
    return Sizes(
        packages=sorted(by_package, key=lambda each: (-each.before, -each.after, each.name)),
        layers=_in_order(
            _shares(before, lambda path: names[inventory.files.entries[path].layer],
                    after, layer_after), [*names, "(base)", OURS]),
        dropped=_list_dropped(inventory, packages, kept),
        own_files=len(own),
        own_bytes=sum(entry.size for entry in own),
        leftovers=list(_leftovers(inventory, packages, kept)),
        areas=sorted(_shares(before, area, ours, area), key=lambda each: (-each.before, each.name)),
    )  # fmt: skip


def _files(inventory: Inventory) -> Iterator[Entry]:
    """Return the files, one of those that are hard links of each other."""
    seen: set[object] = set()
    for path in sorted(inventory.files.entries):
        entry = inventory.files.entries[path]
        if entry.kind == "file":
            key = inventory.content(entry)
            if key not in seen:
                seen.add(key)
                yield entry


def _shares(
    before: list[Entry],
    of: Callable[[str], str],
    after: list[Entry],
    of_after: Callable[[str], str],
) -> list[Share]:
    sums: dict[str, list[int]] = {}
    for column, entries, name in ((0, before, of), (1, after, of_after)):
        for entry in entries:
            sums.setdefault(name(entry.path), [0, 0])[column] += entry.size
    return [Share(name, *pair) for name, pair in sums.items()]


def _in_order(shares: list[Share], names: list[str]) -> list[Share]:
    found = {share.name: share for share in shares}
    return [found[name] for name in names if name in found]


def _layer_names(inventory: Inventory) -> list[str]:
    """Name each layer by its number and what made it."""
    history = inventory.image.document.get("history")
    entries = [each for each in history if isinstance(each, dict)] if history else []
    made = [str(each.get("created_by") or "") for each in entries if not each.get("empty_layer")]
    count = len(inventory.image.layers)
    made = made if len(made) == count else [""] * count
    return [f"{number} {_plain(text)}".strip() for number, text in enumerate(made, 1)]


def _plain(text: str) -> str:
    for prefix in NOT_SHELL:
        text = text.removeprefix(prefix)
    return " ".join(text.split())


def _list_dropped(inventory: Inventory, packages: Packages, kept: Plan) -> list[Dropped]:
    entries = inventory.files.entries
    stay = {entries[path].content for path in kept.reasons if path in entries}
    gone = [
        Dropped(entry.path, entry.size, packages.owners.get(entry.path))
        for entry in _files(inventory)
        if entry.path not in kept.reasons and entry.content not in stay
    ]
    return sorted(gone, key=lambda each: (-each.size, each.path))


def _leftovers(inventory: Inventory, packages: Packages, kept: Plan) -> Iterator[Leftovers]:
    found: dict[str, list[int]] = {}
    for entry in _files(inventory):
        if entry.path not in packages.owners and entry.path not in kept.reasons:
            kind = str(leftover(entry.path, inventory.files) or UNNEEDED)
            sums = found.setdefault(kind, [0, 0])
            sums[0] += 1
            sums[1] += entry.size
    for kind, (files, size) in sorted(found.items(), key=lambda each: -each[1][1]):
        yield Leftovers(kind, files, size)


def _folder(path: str) -> str:
    """Name the folder that a file of no package is counted to."""
    parts = path.split("/")[:-1]
    deep = 3 if parts[:2] == ["usr", "local"] else 2
    return "/" + "/".join(parts[:deep])


def weakness(probes: list[str], asked: bool) -> str | None:
    """Return how little the probes show when the user gave none; None: the user gave some.

    Args:
        probes: What was asked.
        asked: The user gave probes.
    """
    if asked:
        return None
    if probes:
        ports = ", ".join(each.partition(":")[2] for each in probes)
        what = f"that something listens on port {ports}"
    else:
        what = "that the app starts and stays up or ends as before"
    return f"No probe was given: shown is only {what}. What was never asked may be broken."
