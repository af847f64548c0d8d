"""Whether a feature store is worth asking: one that is dead must not slow every prediction down."""

from __future__ import annotations

import logging
from collections.abc import Callable

MOST_FAILURES = 5
"""Failures in a row, after which the store is left alone for a while."""
PAUSE = 1.0
"""Seconds of that."""
logger = logging.getLogger("mlkit.bandit.server")


class StoreHealth:
    """Counts failures in a row.

    Args:
        clock: Returns seconds from any start.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._until = float("-inf")

    def is_paused(self) -> bool:
        """Return whether the store is not to be asked now."""
        return self._failures >= MOST_FAILURES and self._clock() < self._until

    def note_failure(self, reason: str) -> None:
        """Note that the store has not answered, or not as it should."""
        self._failures += 1
        self._until = self._clock() + PAUSE
        if self._failures == MOST_FAILURES:
            logger.warning(
                "the feature store fails (%s); last and default features are used", reason
            )

    def note_answer(self) -> None:
        """Note that the store has answered."""
        if self._failures >= MOST_FAILURES:
            logger.info("the feature store answers again")
        self._failures = 0
