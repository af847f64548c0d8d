"""Compiled Python files, which hold the time of their source: results may give it another."""

from __future__ import annotations

import posixpath
import struct

from mlkit.image.filesystem.inventory import Entry, Inventory

HEADER = struct.Struct("<4sIII")
"""Magic number, flags, time and size of the source (PEP 552)."""


def refresh(inventory: Inventory, entry: Entry, mtime: int) -> bytes | None:
    """Return a compiled file that fits its source when that has another time.

    Args:
        inventory: The image.
        entry: The compiled file.
        mtime: The time that the source will have, in seconds since 1970.

    Returns:
        None if it is another file, or does not fit its source as it is: then Python ignores it,
        and shall go on doing so.
    """
    folder, name = posixpath.split(entry.path)
    if not name.endswith(".pyc") or posixpath.basename(folder) != "__pycache__":
        return None
    source = inventory.files.resolve(f"{posixpath.dirname(folder)}/{name.split('.')[0]}.py")
    data = inventory.read(entry)
    if source is None or len(data) < HEADER.size:
        return None
    magic, flags, time, size = HEADER.unpack_from(data)
    if flags or (time, size) != (int(source.mtime) & 0xFFFFFFFF, source.size & 0xFFFFFFFF):
        return None
    return HEADER.pack(magic, flags, mtime & 0xFFFFFFFF, size) + data[HEADER.size :]
