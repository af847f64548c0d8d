"""Propensities of Thompson sampling; mlkit.bandit.propensities checks and calls it."""

from typing import Any

from numpy.typing import NDArray

__all__: list[str] = ["most_panels", "top_k"]

most_panels: int
"""Panels after which the integration ends, decided or not."""

def top_k(
    a: NDArray[Any], b: NDArray[Any], shown: NDArray[Any], k: int, width: float
) -> tuple[NDArray[Any], float, int]:
    """Integrate: rank probabilities of shape (shown, k), that of the slate, and the panels."""
