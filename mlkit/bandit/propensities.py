"""The probabilities with which Thompson sampling shows what it showed.

Off-policy estimates divide by them, so they have to be those of the policy, and not 1/n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlkit.bandit import _propensity
from mlkit.bandit.arrays import common_shape, floats
from mlkit.bandit.sampler import check_parameters
from mlkit.errors import UsageError

Array = NDArray[np.float64]

_WIDTH = 1.0
ERROR = 1e-5
"""The relative error that is asked for, unless another one is."""
_LEAST_ERROR = 1e-12
_ROUNDING = 5e-12
_TINY = 1e-9
"""From here on no sum of first places was found to be wrong."""


class NoExactPropensities(UsageError):
    """The probabilities of a ranking have no exact form, or cannot be computed."""


@dataclass(frozen=True)
class TopK:
    """Propensities of arms that were shown as the top k.

    Attributes:
        ranks: P(the arm has the r-th highest draw), shape (shown, k).
        slate: P(the highest draws are exactly the shown arms, in this order).
    """

    ranks: Array
    slate: float

    @property
    def first(self) -> Array:
        """P(the arm has the highest draw), shape (shown,)."""
        return self.ranks[:, 0]

    @property
    def included(self) -> Array:
        """P(the arm is in the top k), shape (shown,)."""
        return np.asarray(np.minimum(self.ranks.sum(axis=1), 1.0))


def top_k(
    a: ArrayLike,
    b: ArrayLike,
    k: int = 1,
    shown: Sequence[int] | None = None,
    *,
    error: float = ERROR,
) -> TopK:
    """Compute the propensities of Thompson sampling with independent Beta posteriors.

    By numerical integration over the highest draws, on the logit axis; ties have no probability
    there, also where draws of tiny parameters round to 0 or 1. The time grows with the number of
    arms, and with k^2 times that of the shown ones.

    Args:
        a: First parameters of all candidates, in [1e-300, 1e15].
        b: Second parameters, likewise; one dimension, as many as `a`, or either a number.
        k: Length of the ranking.
        shown: Places of the arms to compute for, in their order; None: all, as they are.
        error: Bound of the relative error of ranks, besides 5e-12 by rounding; ten times that of a
            slate with a probability of more than 1e-8, while rarer slates need a smaller bound. It
            is reached among hundreds of equal arms; mostly the error is far smaller.

    Raises:
        ValueError: A parameter is out of range, or a shape, k, a place or the error is wrong.
        NoExactPropensities: Tiny parameters are too far from one another to be integrated.
    """
    first, second = floats("a", a), floats("b", b)
    shape = common_shape(a=first, b=second)
    if len(shape) != 1 or not shape[0]:
        raise ValueError(f"a, b: shape is {shape}, expected one dimension and at least one arm")
    check_parameters("a", first)
    check_parameters("b", second)
    places = _places(shown, shape[0])
    if not 1 <= k <= shape[0]:
        raise ValueError(f"k: is {k}, expected 1 to the number of arms, {shape[0]}")
    first, second = (x if x.shape == shape else np.broadcast_to(x, shape) for x in (first, second))
    ranks, slate, panels = _propensity.top_k(first, second, places, k, _width(error))
    if panels >= _propensity.most_panels or not _is_whole(first, second, error):
        raise NoExactPropensities(
            f"propensities: parameters from {min(first.min(), second.min()):.3g} to "
            f"{max(first.max(), second.max()):.3g} are too far apart",
            hint="a prior of at least 0.001 keeps parameters from being tiny",
        )
    return TopK(ranks, slate)


def _is_whole(a: Array, b: Array, error: float) -> bool:
    """Check among tiny parameters, which may stretch beyond doubles, that one arm comes first."""
    if min(a.min(), b.min()) >= _TINY:
        return True
    every = np.arange(len(a), dtype=np.uint32)
    first, _, panels = _propensity.top_k(a, b, every, 1, _width(error))
    missing = abs(first.sum() - 1)
    return bool(panels < _propensity.most_panels and missing <= error / 10 + len(a) * _ROUNDING)


def _places(shown: Sequence[int] | None, count: int) -> NDArray[np.uint32]:
    if shown is None:
        return np.arange(count, dtype=np.uint32)
    places: NDArray[Any] = np.asarray(shown)
    if places.ndim != 1 or (places.size and places.dtype.kind not in "iu"):
        raise ValueError("shown: expected places of arms, from 0")
    each = places.tolist()  # of the ten that are shown Python is faster than NumPy
    if each and (min(each) < 0 or max(each) >= count):
        raise ValueError(f"shown: a place is outside 0 to {count - 1}")
    if len(set(each)) != len(each):
        raise ValueError("shown: an arm appears twice")
    return places.astype(np.uint32)


def _width(error: float) -> float:
    """Choose the width of panels: the rule of 8 nodes has an error of order 16."""
    if not _LEAST_ERROR <= error <= 0.01:
        raise ValueError(f"error: is {error}, expected {_LEAST_ERROR:g} to 0.01")
    return float(_WIDTH * min(1.0, (error / ERROR) ** (1 / 12)))
