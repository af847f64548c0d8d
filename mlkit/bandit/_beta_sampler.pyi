"""Kernels of the Beta sampler; mlkit.bandit.sampler checks and calls them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_SIZE: int
SMALLEST_PARAMETER: float
LARGEST_PARAMETER: float

class Key:
    """The name of a stream of draws."""

    def __init__(self, first: int, second: int) -> None: ...
    @staticmethod
    def from_seed(seed: int) -> Key:
        """Spread a 64-bit seed over a key."""

def fill(
    key: Key,
    offset: int,
    a: NDArray[Any],
    b: NDArray[Any],
    out: NDArray[np.float64],
    threads: int,
) -> None:
    """Fill `out` (contiguous) with draws; `a` and `b` are valid and have its shape."""

def first_invalid(values: NDArray[Any]) -> int:
    """Find the flat index of the first value that is no parameter, or the size.

    The array is float64 or float32, of any strides.
    """
