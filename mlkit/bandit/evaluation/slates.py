"""Weights of slates: several arms shown together, each at its position.

With w_k the weight of the arm at position k, and r_k its reward, a slate contributes

    slate IPS (SIPS)               (prod_j w_j) sum_k r_k         any interaction
    reward interaction IPS (RIPS)  sum_k (prod_{j<=k} w_j) r_k    McInerney et al. (2020): rewards
                                                                  depend on the positions above
    item-position IPS (IIPS)       sum_k w_k r_k                  Li et al. (2018): on no other

in rewards per slate. The products assume that the logged propensity of an arm, and the
probability under the policy, are conditional on the arms above, or independent of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Codes = NDArray[np.int64]


def cumulative_weights(weight: Array, slate: Codes, position: Codes) -> Array:
    """Return the product of the weights of a slate up to and with each row's position."""
    order = np.lexsort((position, slate))
    starts = np.flatnonzero(np.diff(slate[order], prepend=-1))
    lengths = np.diff(starts, append=len(order))
    place = np.arange(len(order)) - np.repeat(starts, lengths)
    products = weight[order].copy()
    for rank in range(1, int(lengths.max(initial=0))):
        rows = np.flatnonzero(place == rank)
        products[rows] *= products[rows - 1]
    found = np.empty_like(products)
    found[order] = products
    return found


def slate_weights(weight: Array, slate: Codes) -> Array:
    """Return the product of all weights of each row's slate."""
    products = np.ones(int(slate.max(initial=-1)) + 1)
    np.multiply.at(products, slate, weight)
    return np.asarray(products[slate])


def first_rows(slate: Codes) -> Array:
    """Return 1 for one row of each slate and 0 for the others: they sum to the slates."""
    flags = np.zeros(len(slate))
    flags[np.unique(slate, return_index=True)[1]] = 1
    return flags
