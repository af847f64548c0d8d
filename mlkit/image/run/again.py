"""What another client of the same engine may disturb is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def insist(
    action: Callable[[], T],
    disturbed: Callable[[Exception], bool],
    seconds: float = 10.0,
    pause: float = 0.1,
    attempts: int = 4,
) -> T:
    """Do something; do it again while it is disturbed, for some seconds.

    Args:
        action: What to do, and to return.
        disturbed: Whether an error shows that another client was in the way.
        seconds: How long to begin again.
        pause: Seconds before each new attempt, so that the other one gets ahead.
        attempts: How often to try it at least, however long that takes.

    Raises:
        Exception: What the last attempt raised, or any that was not disturbed.
    """
    until, number = time.monotonic() + seconds, 0
    while True:
        number += 1
        try:
            return action()
        except Exception as error:
            is_last = number >= attempts and time.monotonic() > until
            if is_last or not disturbed(error):
                raise
        time.sleep(pause)
