"""Which files share a layer: dependencies lie below the app, so that a release moves little."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlkit.image.filesystem.build import Item, parents
from mlkit.image.filesystem.inventory import Inventory


def split(items: Sequence[Item], is_dependency: Callable[[str], bool]) -> list[list[Item]]:
    """Divide files into layers, the lowest first; none is empty.

    Hard links of one file stay together. A directory comes with each layer that has something in
    it, as it is: a layer without it would give it another owner and mode.

    Args:
        items: Files, links and directories.
        is_dependency: Whether a path is something that the app depends on.
    """
    directories = {each.entry.path: each for each in items if each.entry.kind == "directory"}
    lower: dict[str, Item] = {}
    upper: dict[str, Item] = {}
    placed: dict[object, dict[str, Item]] = {}
    for each in items:
        path = each.entry.path
        layer = placed.setdefault(_content(each), lower if is_dependency(path) else upper)
        layer[path] = each
        layer |= {parent: directories[parent] for parent in parents(path) if parent in directories}
    return [list(layer.values()) for layer in (lower, upper) if layer]


def _content(item: Item) -> object:
    """Return what hard links of a file have in common."""
    if item.entry.kind == "file" and isinstance(item.data, Inventory):
        return id(item.data), item.entry.content
    return item.entry.path
