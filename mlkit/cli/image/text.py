"""Text of images for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.errors import printable

if TYPE_CHECKING:
    from rich.text import Text


def megabytes(size: int) -> str:
    """Write a size as people read it: 10^6 bytes."""
    return f"{size / 1e6:.2f} MB"


def plain(text: str) -> Text:
    """Give text of an image's as it is: no markup, and nothing that steers the terminal."""
    from rich.text import Text

    return Text(printable(text))
