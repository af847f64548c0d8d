"""The report of a slimming: one page that holds all it shows."""

from __future__ import annotations

from mlkit.image.report.page import write

__all__ = ["write"]
