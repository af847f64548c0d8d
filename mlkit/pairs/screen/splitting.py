"""The far tail of a test's null distribution, by multilevel splitting.

A p-value of 1e-9 would take 1e11 pairs of random walks. Splitting gets there in steps of a
factor: a population of pairs is cut to its most extreme share, copied back to its size, and
moved by steps that leave random walks beyond the cut distributed as they are (subset
simulation, Au and Beck 2001; the steps are those of Cotter, Roberts, Stuart and White 2013).
Nothing is assumed about the test, so it serves any trend and choice of lags.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlkit.pairs.screen.cointegration import Matrix, Panel, Trend

Steps = NDArray[np.float32]
Statistic = Callable[[Steps], Matrix]
"""The test: steps of shape (draws, width, length) to statistics of shape (draws,)."""

# The share that survives a level: the variance of log p at a given cost is flat between 0.1 and
# 0.3 (Zuev, Beck, Au and Katafygiotis 2012).
SHARE = 0.2
MOVES = 8
CACHE = 1 << 17  # numbers
INFLATION = 3.0
ACCEPTED = 0.3
"""Share of accepted proposals that the size of the steps is adapted to."""


def pair_statistic(
    trend: Trend, lags: int | None, most_lags: int | None, width: int = 2
) -> Statistic:
    """Return the better Engle-Granger statistic of pairs, or with width 1 a unit-root test's."""

    def of(steps: Steps) -> Matrix:
        draws, _, length = steps.shape
        walks = steps.reshape(draws * width, length).cumsum(axis=1, dtype=np.float64).T
        panel = Panel.of(walks, trend, lags, most_lags)
        if width == 1:
            return panel.unit_roots()
        first = np.arange(0, 2 * draws, 2)
        return panel.pairs(first, first + 1).better

    return of


@dataclass(frozen=True, eq=False)
class Tail:
    """A tail by levels.

    Attributes:
        statistic: Falling thresholds, shape (levels,).
        log_p: Log of the estimated probability below each, likewise.
        deviation: Standard deviation of each estimate of log p.
    """

    statistic: Matrix
    log_p: Matrix
    deviation: Matrix


def split(
    test: Statistic,
    length: int,
    width: int,
    *,
    least: float,
    particles: int,
    seed: int,
    moves: int = MOVES,
) -> Tail:
    """Estimate a tail down to the probability `least`.

    Args:
        test: The statistic; low values are extreme.
        length: Bars.
        width: Series that the test takes.
        least: How far to go.
        particles: Draws in the population; the error of log p grows with the root of levels
            over particles.
        seed: Of the random numbers.
        moves: Steps of each draw at each level.
    """
    rng = np.random.default_rng([seed, length, width])
    steps = rng.standard_normal((particles, width, length), dtype=np.float32)
    statistic = np.concatenate([test(steps[some]) for some in _blocks(steps)])
    log_p, variance, step = 0.0, 0.0, 0.7
    found: list[tuple[float, float, float]] = []
    while log_p > np.log(least):
        threshold = float(np.quantile(statistic, SHARE))
        inside = np.flatnonzero(statistic <= threshold)
        log_p += np.log(len(inside) / particles)
        # Copies of one ancestor stay alike for a while: the variance of independent draws is
        # raised by what MOVES steps leave of that, measured over repeated runs.
        variance += (1.0 - SHARE) / SHARE / particles * (1.0 if not found else INFLATION)
        found.append((threshold, log_p, float(np.sqrt(variance))))
        chosen = rng.choice(inside, particles)
        steps, statistic = steps[chosen], statistic[chosen]
        for _ in range(moves):
            share = _move(rng, test, steps, statistic, threshold, step)
            # Larger steps forget the ancestor sooner and are refused more often. The adaptation
            # uses the share of the whole population, on which a single draw has no influence.
            step = min(max(step * np.exp(share - ACCEPTED), 0.02), 1.0)
    return Tail(*np.array(found).T)


def merge(tails: Sequence[Tail]) -> Tail:
    """Average independent estimates of one tail, as far as all of them reach.

    The mean is that of p and not of log p: each estimate of p is unbiased.
    """
    levels = min(len(each.statistic) for each in tails)
    end = max(each.statistic[-1] for each in tails)
    statistic = np.mean([each.statistic[:levels] for each in tails], axis=0)
    statistic = np.append(statistic[statistic > end], end)
    p = [np.exp(np.interp(-statistic, -each.statistic, each.log_p)) for each in tails]
    deviation = np.interp(-statistic, -tails[0].statistic, tails[0].deviation)
    return Tail(statistic, np.log(np.mean(p, axis=0)), deviation / np.sqrt(len(tails)))


def _move(
    rng: np.random.Generator,
    test: Statistic,
    steps: Steps,
    statistic: Matrix,
    threshold: float,
    step: float,
) -> float:
    """Move the population in place by steps that keep it below a threshold.

    A proposal is sqrt(1 - s^2) x + s n with fresh normal n (preconditioned Crank-Nicolson, in
    Cotter et al.). If x is standard normal, so is the proposal, and the pair is exchangeable: the
    Metropolis ratio is 1, and to refuse just the proposals above the threshold leaves the normal
    distribution below it unchanged, in any dimension.

    Returns:
        The share of accepted proposals.
    """
    kept = np.float32(np.sqrt(1.0 - step * step))
    accepted = 0
    for some in _blocks(steps):
        proposal = rng.standard_normal(steps[some].shape, dtype=np.float32)
        proposal *= np.float32(step)
        proposal += kept * steps[some]
        found = test(proposal)
        inside = found <= threshold
        steps[some][inside], statistic[some][inside] = proposal[inside], found[inside]
        accepted += int(inside.sum())
    return accepted / len(steps)


def _blocks(steps: Steps) -> list[slice]:
    """Cut the population into blocks that a cache holds."""
    size = max(1, CACHE // (steps.shape[1] * steps.shape[2]))
    return [slice(begin, begin + size) for begin in range(0, len(steps), size)]
