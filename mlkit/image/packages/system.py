"""Which distribution an image is of, by its `os-release`."""

from __future__ import annotations

from mlkit.image.filesystem.inventory import Inventory

PLACES = ("etc/os-release", "usr/lib/os-release")


def read_release(inventory: Inventory) -> dict[str, str]:
    """Return the fields of `os-release`: ID, VERSION_ID, VERSION_CODENAME and so on."""
    text = next(filter(None, map(inventory.read_path, PLACES)), b"")
    pairs = (line.partition("=") for line in text.decode(errors="replace").splitlines())
    return {key: value.strip().strip("\"'") for key, _, value in pairs}
