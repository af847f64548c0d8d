"""Sums of ridge regressions."""

import numpy as np
from numpy.typing import NDArray

def moments(
    features: NDArray[np.float64],
    rewards: NDArray[np.float64],
    weights: NDArray[np.float64] | None,
    groups: NDArray[np.int64],
    means: NDArray[np.float64],
    largest: float,
    limits: tuple[float, float],
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Sum w x x' and w x (r - x'mean) of each group.

    Args:
        features: x, C-contiguous, shape (rows, dimension).
        rewards: r, C-contiguous, shape (rows,).
        weights: w, likewise; None: 1 each.
        groups: The group of each row, in [0, groups), likewise.
        means: Shape (groups, dimension).
        largest: The largest magnitude of a feature.
        limits: The least and the largest reward.

    Returns:
        Shapes (groups, dimension, dimension) and (groups, dimension); None if a feature is not
        within [-largest, largest], a reward not within the limits, or a group not in [0, groups).

    Raises:
        ValueError: Sizes do not fit.
    """
