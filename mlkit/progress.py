"""How long work reports that it goes on, without knowing who watches."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A callback that long work calls as it goes on."""

    def __call__(self, done: int, total: int | None = None) -> None:
        """Report the units of work finished so far and in all (None: not known yet)."""


def silent(done: int, total: int | None = None) -> None:
    """Report to nobody."""
