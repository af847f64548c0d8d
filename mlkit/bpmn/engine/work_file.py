"""A file of an instance's working folder, as the journal knows it."""

from __future__ import annotations

import msgspec


class WorkFile(msgspec.Struct, frozen=True, array_like=True):
    """A file that a task has left; its content is a stored value.

    Attributes:
        hash: The SHA-256 of its content; empty for a folder that holds nothing.
        size: In bytes.
        mode: Its permissions.
    """

    hash: str
    size: int
    mode: int
