"""What a screen can find: the power of its test for pairs that revert at a known speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from mlkit.pairs.screen.cointegration import Matrix, Panel, Trend
from mlkit.pairs.screen.null import null_of
from mlkit.pairs.screen.prior import HALF
from mlkit.pairs.screen.significance import harmonic
from mlkit.pairs.settings import FDR, TREND, Selection

HALF_LIVES = (5.0, 10.0, 20.0, 40.0)
RANK = 100
"""Power with a prior is that of a pair among this number of most correlated ones."""

_PAIRS = 400


@dataclass(frozen=True)
class Power:
    """The chance that one pair is found, with all others unrelated.

    Attributes:
        half_life: Of its spread, in bars.
        plain: Without any weight but the share that all pairs have alike.
        favoured: If it is among the `RANK` most correlated pairs; None without that prior.
    """

    half_life: float
    plain: float
    favoured: float | None


def expected_power(
    bars: int,
    tests: int,
    *,
    trend: Trend = TREND,
    lags: int | None = None,
    fdr: FDR = Selection.fdr,
    alpha: float = Selection.alpha,
    correlation: bool = True,
    half_lives: Sequence[float] = HALF_LIVES,
    seed: int = 0,
) -> list[Power]:
    """Simulate the power of a screen.

    400 pairs for each half-life: x is a random walk, y is x plus a first-order autoregression
    whose shocks are as large as the walk's steps. A pair is found if its weighted p-value
    passes as the only one, so that more such pairs are found more easily.

    Args:
        bars: The screen's bars.
        tests: Pairs that it tests.
        trend: As in the screen.
        lags: As in the screen.
        fdr: The control of false discoveries.
        alpha: Its rate.
        correlation: Whether the prior is correlation.
        half_lives: In bars.
        seed: Of the simulation.
    """
    null = null_of(bars, trend=trend, lags=lags)
    factor = 1.0 if fdr == "none" else tests * (harmonic(tests) if fdr == "by" else 1.0)
    weighted = correlation and fdr != "none"
    shared = HALF if weighted else 1.0
    favoured = HALF + (1.0 - HALF) * tests / (min(RANK, tests) * harmonic(tests))
    found = []
    for half_life in half_lives:
        p = null.p_value(_simulate_cointegrated(bars, half_life, trend, lags, seed)) * factor
        high = float((p <= alpha * favoured).mean()) if weighted else None
        found.append(Power(half_life, float((p <= alpha * shared).mean()), high))
    return found


def _simulate_cointegrated(
    bars: int, half_life: float, trend: Trend, lags: int | None, seed: int
) -> Matrix:
    """Return the better statistics of cointegrated pairs, shape (pairs,)."""
    rng = np.random.default_rng([seed, bars])
    walk, shocks = rng.standard_normal((2, bars, _PAIRS))
    kept = 0.5 ** (1.0 / half_life)
    shocks[0] /= np.sqrt(1.0 - kept * kept)
    x = walk.cumsum(axis=0)
    y = x + lfilter([1.0], [1.0, -kept], shocks, axis=0)
    panel = Panel.of(np.concatenate([y, x], axis=1), trend, lags)
    first = np.arange(_PAIRS)
    return panel.pairs(first, first + _PAIRS).better
