"""Defaults of an evaluation, which options show without an import of what they set."""

from __future__ import annotations

from typing import Final

LEVEL: Final = 0.95
"""Confidence level of the intervals."""
RESAMPLES: Final = 1000
