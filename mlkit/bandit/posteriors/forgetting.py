"""How evidence ages: its weight halves in every half-life, and a posterior returns to its prior.

The posterior of a time T counts each reward `r` of a time t with the weight `2 ** -((T - t) / h)`:

    Beta(a + sum w r, b + sum w (1 - r))

Times are seconds since 1970. Weights are computed from one base, so that what is added up does not
change while time passes: at T, all evidence has the factor `2 ** ((base - T) / h)`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import UsageError

SHORTEST, LONGEST = 60.0, 1e10
"""Half-lives, in seconds."""
MOST_HALVINGS = 200.0
"""Evidence is brought to a later base before a new reward would weigh more than 2 to this power."""


class Forgetting(NamedTuple):
    """How posteriors age, and when they were as they are.

    Attributes:
        half_life: In seconds.
        as_of: The time of the posteriors, in seconds since 1970.
    """

    half_life: float
    as_of: float

    def check(self) -> None:
        """Refuse values out of range.

        Raises:
            UsageError: A value is out of range.
        """
        check_half_life(self.half_life)
        if not abs(self.as_of) <= 1e12:
            raise UsageError(f"as_of: {self.as_of!r}, expected seconds since 1970")


def check_half_life(half_life: float) -> None:
    """Refuse a half-life out of range.

    Raises:
        UsageError: It is out of range.
    """
    if not SHORTEST <= half_life <= LONGEST:
        expected = f"{SHORTEST:g} to {LONGEST:g} seconds"
        raise UsageError(f"half-life: {half_life:g} seconds, expected {expected}")


def weights(times: NDArray[np.float64], base: float, half_life: float) -> NDArray[np.float64]:
    """Return what rewards of some times weigh, where those of the base weigh 1."""
    return np.asarray(np.exp2((times - base) / half_life))


def factor(base: float, at: float, half_life: float) -> float:
    """Return what evidence weighs at a time, where it weighs 1 at the base."""
    return float(np.exp2((base - at) / half_life))
