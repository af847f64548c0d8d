"""Defaults and choices of bandits, which options show without an import of what they set."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

PORT: Final = 8000
MAX_BODY: Final = 1 << 20
"""Bytes of a request's body."""
MAX_CANDIDATES: Final = 10_000
MAX_K: Final = 1_000
"""Arms that one prediction returns."""
DEDUPE_DAYS: Final = 7.0
"""Days for which event ids and decision ids are remembered."""


class NewArms(StrEnum):
    """How arms are added to a running server."""

    PUT = "put"
    FROM_FEEDBACK = "from-feedback"
