"""The propensity check of a running server, in counters that its processes share.

Candidates of the decisions whose propensities are computed are put into bins by their probability
to come first. Of those in a bin, the number that did has the mean sum p and the variance
sum p (1 - p), as in `logs.verification`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy import special

from mlkit.bandit.logs.verification import FEWEST
from mlkit.bandit.server.dashboard.documents import ProbabilityBin, PropensityCheck
from mlkit.web.metrics import Counters, SharedCounters

EDGES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)
CHECKED = "decisions with checked propensities"
EXPECTED, SHOWN, VARIANCE = (
    [f"{what}, bin {number}" for number in range(len(EDGES) - 1)]
    for what in ("expected first", "shown first", "variance of first")
)
NAMES = (CHECKED, *EXPECTED, *SHOWN, *VARIANCE)


def count(counters: Counters, candidates: Sequence[str], first: Sequence[float], arm: str) -> None:
    """Count a decision.

    Args:
        counters: Where.
        candidates: All that could be shown.
        first: The probability of each to be first.
        arm: The one that was.
    """
    p = np.clip(np.asarray(first, float), 0.0, 1.0)
    bins = np.searchsorted(EDGES[1:-1], p, side="right")
    shown = np.array([name == arm for name in candidates], float)
    counters.add(CHECKED)
    for names, weights in ((EXPECTED, p), (SHOWN, shown), (VARIANCE, p * (1 - p))):
        sums = np.bincount(bins, weights, minlength=len(names))
        for place in np.flatnonzero(sums):
            counters.add(names[place], float(sums[place]))


def check(counters: SharedCounters, share: float) -> PropensityCheck:
    """Return what the check has found; bins of too few are tested together.

    Args:
        counters: Those of all processes.
        share: The share of decisions whose propensities are computed.
    """
    sums, places = counters.sums(), counters.layout.counters
    bins, scores, rare = [], [], [0.0, 0.0, 0.0]
    for number, (low, high) in enumerate(pairwise(EDGES)):
        found = [sums[places[names[number]]] for names in (EXPECTED, SHOWN, VARIANCE)]
        z = _score(*found) if found[0] >= FEWEST else None
        bins.append(ProbabilityBin(low, high, found[0], found[1], z))
        if z is None:
            rare = [before + more for before, more in zip(rare, found, strict=True)]
        else:
            scores.append(z)
    if rare[0] or rare[1]:
        scores.append(_score(*rare))
    return PropensityCheck(share, int(sums[places[CHECKED]]), _p_value(scores), bins)


def _score(expected: float, shown: float, variance: float) -> float:
    # Half a count is what rounding of a certain choice may amount to, and no evidence.
    return (shown - expected) / math.sqrt(max(variance, 0.25))


def _p_value(scores: list[float]) -> float | None:
    """Return the p-value of the largest score, times the number of tests (Bonferroni)."""
    if not scores:
        return None
    largest = max(map(abs, scores))
    return min(1.0, 2 * len(scores) * float(special.ndtr(-largest)))
