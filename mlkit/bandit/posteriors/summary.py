"""Summaries of posteriors: draws, quantiles, and how likely each arm is the best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlkit.bandit import BetaSampler, beta_ppf
from mlkit.bandit.evaluation.defaults import LEVEL
from mlkit.progress import Progress, silent

_CHUNK = 1 << 21
"""Draws in memory at once."""


class Score(NamedTuple):
    """An arm of a draw, and the score that ranked it."""

    arm: str
    score: float


class Quantiles(NamedTuple):
    """The quantiles of an arm's reward."""

    arm: str
    values: list[float]


class Summary(NamedTuple):
    """What is known of an arm's mean reward.

    Attributes:
        arm: Its id.
        pulls: Rewards seen.
        mean: Posterior mean.
        low: Lower end of the central credible interval.
        high: Its upper end.
        best: Probability that no other arm has a higher mean.
    """

    arm: str
    pulls: int
    mean: float
    low: float
    high: float
    best: float


def sample_top(arms: pa.Table, top: int, draws: int, seed: int | None) -> list[list[Score]]:
    """Draw a mean for every arm, `draws` times, and keep the `top` highest of each draw.

    This is the choice of Thompson sampling.

    Args:
        arms: One row an arm: arm, a, b.
        top: Arms kept of each draw, best first.
        draws: Number of draws.
        seed: Makes the draws repeatable; None takes entropy from the system.
    """
    names, sampler = arms["arm"].to_pylist(), BetaSampler(seed)
    a, b = arms["a"].to_numpy(), arms["b"].to_numpy()
    return [_best_first(names, sampler.sample(a, b), top) for _ in range(draws)]


def _best_first(names: Sequence[str], scores: NDArray[np.float64], top: int) -> list[Score]:
    order = np.argsort(-scores, kind="stable")[:top]
    return [Score(names[i], float(scores[i])) for i in order]


def quantiles(arms: pa.Table, probabilities: Sequence[float]) -> list[Quantiles]:
    """Return quantiles of every arm's mean, the arm with the highest last one first.

    With one high probability this is the order of Bayes-UCB (Kaufmann, Cappé and Garivier,
    "On Bayesian Upper Confidence Bounds for Bandit Problems", 2012).

    Args:
        arms: One row an arm: arm, a, b.
        probabilities: In [0, 1].
    """
    values = _ppf(arms, probabilities)
    order = np.argsort(-values[-1], kind="stable")
    names = arms["arm"].to_pylist()
    return [Quantiles(names[i], values[:, i].tolist()) for i in order]


def summarize(
    arms: pa.Table,
    draws: int,
    seed: int | None,
    *,
    level: float = LEVEL,
    progress: Progress = silent,
) -> list[Summary]:
    """Summarize arms, the most probably best first.

    Args:
        arms: One row an arm: arm, a, b, pulls.
        draws: Monte Carlo draws for the probability of being the best.
        seed: Makes them repeatable; None takes entropy from the system.
        level: Mass of the central credible interval.
        progress: Reports the draws done.
    """
    a, b = arms["a"].to_numpy(), arms["b"].to_numpy()
    mean = a / (a + b)
    low, high = _ppf(arms, [(1 - level) / 2, (1 + level) / 2])
    best = probability_best(a, b, draws, seed, progress=progress)
    columns = [arms["pulls"].to_numpy(), mean, low, high, best]
    order = np.lexsort([-mean, -best])
    rows = zip(*(column[order].tolist() for column in columns), strict=True)
    return [Summary(arms["arm"][int(i)].as_py(), *row) for i, row in zip(order, rows, strict=True)]


def probability_best(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    draws: int,
    seed: int | None,
    *,
    progress: Progress = silent,
) -> NDArray[np.float64]:
    """Estimate the probability of each arm to have the highest mean, from joint draws.

    The standard error is at most `0.5 / sqrt(draws)`.
    """
    sampler, wins, done = BetaSampler(seed), np.zeros(len(a), np.int64), 0
    while done < draws and len(a):
        rows = min(draws - done, max(1, _CHUNK // len(a)))
        winners = sampler.sample(a, b, rows).argmax(axis=1)
        wins += np.bincount(winners, minlength=len(a))
        done += rows
        progress(done, draws)
    return wins / draws


def _ppf(arms: pa.Table, probabilities: Sequence[float]) -> NDArray[np.float64]:
    """Return quantiles in one call: shape (probabilities, arms)."""
    rows = np.array(probabilities, np.float64)[:, np.newaxis]
    return np.asarray(beta_ppf(rows, arms["a"].to_numpy(), arms["b"].to_numpy()))
