"""Text of images for a terminal."""

from __future__ import annotations

from mlkit.cli.output import plain

__all__ = ["megabytes", "plain"]


def megabytes(size: int) -> str:
    """Write a size as people read it: 10^6 bytes."""
    return f"{size / 1e6:.2f} MB"
