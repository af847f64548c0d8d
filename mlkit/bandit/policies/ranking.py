"""The probabilities of rankings: of each arm at each rank, and of a whole slate.

For independent scores with distribution functions F and densities f, among n arms:

    P(i at rank r)   integral of f_i(x) P(exactly r - 1 of the others exceed x) dx
    P(slate 1..k)    integral over x_1 > ... > x_k of f_1(x_1) ... f_k(x_k) prod_{others} F_j(x_k)

both on the same panels of Gauss-Legendre quadrature as the probability of being first.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial.legendre import leggauss, legvander

from mlkit.bandit.policies.integration import Marginals, panel_ends
from mlkit.bandit.policies.policy import Array, Indices
from mlkit.bandit.propensities import TopK

_NODES, _WEIGHTS = leggauss(16)


def _partial_integrals() -> Array:
    """Return the matrix from values at the nodes to integrals from -1 to each node.

    The interpolating polynomial of degree 15 is integrated term by term in Legendre polynomials.
    """
    values = legvander(_NODES, _NODES.size)
    terms = values[:, 1:].copy()
    terms[:, 0] += 1
    terms[:, 1:] -= values[:, :-2]
    return np.asarray(terms @ (values[:, :-1] * _WEIGHTS[:, None]).T / 2)


_PARTIAL = _partial_integrals()


def independent_ranks(marginals: Marginals, shown: Indices, k: int) -> TopK:
    """Integrate the ranking of independent continuous scores.

    Args:
        marginals: The distributions of the scores of all candidates.
        shown: Places of the arms to compute for, in their order; those of the slate.
        k: Length of the ranking.

    Returns:
        Rank probabilities with an absolute error below 1e-8.
    """
    panels = panel_ends(marginals, k)
    middle, half = (panels[1:] + panels[:-1]) / 2, np.diff(panels) / 2
    points = (middle[:, None] + half[:, None] * _NODES).ravel()
    weights = (half[:, None] * _WEIGHTS).ravel()
    below, density = marginals.cumulative(points), marginals.density(points)
    others = np.setdiff1d(np.arange(len(below)), shown)
    crowd = _exceeding(below[others], k)
    ranks = np.array([_ranks_of(place, shown, crowd, below) for place in range(shown.size)])
    found = np.einsum("sp,skp,p->sk", density[shown], ranks, weights)
    slate = _slate(density[shown], below[others].prod(axis=0), half)
    return TopK(np.minimum(found, 1.0), min(slate, 1.0))


def _exceeding(below: Array, k: int) -> Array:
    """Return the probabilities that 0 .. k - 1 of the scores exceed x, shape (k, points)."""
    counts = np.zeros((k, below.shape[1]))
    counts[0] = 1.0
    for row in below:
        counts = _one_more(counts, row)
    return counts


def _one_more(counts: Array, below: Array) -> Array:
    more = counts * below
    more[1:] += counts[:-1] * (1 - below)
    return np.asarray(more)


def _ranks_of(place: int, shown: Indices, crowd: Array, below: Array) -> Array:
    """Return the probabilities of each rank of one shown arm, given its score."""
    counts = crowd
    for other in np.delete(shown, place):
        counts = _one_more(counts, below[other])
    return counts


def _slate(density: Array, rest: Array, half: Array) -> float:
    """Integrate outwards from the last place: each score lies above the next one."""
    inner, nodes = rest, _NODES.size
    for row in density[::-1]:
        values = (row * inner).reshape(-1, nodes)
        whole = half * (values @ _WEIGHTS)
        before = np.concatenate(([0.0], np.cumsum(whole)))
        inner = (before[:-1, None] + half[:, None] * (values @ _PARTIAL.T)).ravel()
    return float(before[-1]) if len(density) else 1.0


def tied_ranks(scores: Array, shown: Indices, k: int) -> TopK:
    """Return the ranking of fixed scores, where ties are in random order."""
    ranks = np.zeros((shown.size, k))
    chosen = scores[shown]
    above = (scores > chosen[:, None]).sum(axis=1)
    equal = (scores == chosen[:, None]).sum(axis=1)
    places = np.arange(k)
    for row, (first, size) in enumerate(zip(above, equal, strict=True)):
        ranks[row, (places >= first) & (places < first + size)] = 1 / size
    return TopK(ranks, _tied_slate(chosen, above, equal))


def _tied_slate(scores: Array, above: Indices, equal: Indices) -> float:
    """Multiply the chances of each place: 1 / how many equal scores are left for it."""
    probability = 1.0
    for place in range(scores.size):
        left = above[place] + equal[place] - place
        if above[place] > place or left < 1:
            return 0.0
        probability /= float(left)
    return probability


def uniform_ranks(candidates: int, shown: int, k: int) -> TopK:
    """Return the ranking that puts all candidates in random order."""
    slate = 1.0
    for place in range(shown):
        slate /= candidates - place
    return TopK(np.full((shown, k), 1 / candidates), slate)


def count_ranks(scores: Array, shown: Indices, k: int) -> TopK:
    """Count rankings among joint draws.

    Args:
        scores: Draws of the scores of all candidates, shape (draws, candidates).
        shown: Places of the arms to compute for, in their order; those of the slate.
        k: Length of the ranking.
    """
    ranking = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    ranks = np.stack([(ranking == place).mean(axis=0) for place in shown])
    length = min(shown.size, k)
    slate = (ranking[:, :length] == shown[:length]).all(axis=1).mean()
    return TopK(ranks, float(slate))


def mix(share: float, one: TopK, other: TopK) -> TopK:
    """Return the ranking that is `one` with probability `share`, and otherwise `other`."""
    ranks = share * one.ranks + (1 - share) * other.ranks
    return TopK(ranks, share * one.slate + (1 - share) * other.slate)
