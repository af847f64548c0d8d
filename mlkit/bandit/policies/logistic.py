"""Thompson sampling for rewards of 0 and 1 by a logistic regression with a Laplace posterior.

P(reward = 1) is s(x'w) = 1 / (1 + exp(-x'w)). A batch moves the Normal prior of w to the mode of
the posterior, and adds the curvature there to the precision (Chapelle and Li, "An Empirical
Evaluation of Thompson Sampling", 2011, algorithm 3):

    mean      argmin_w  (w - m)' Q (w - m) / 2 - sum log P(r | x, w)
    precision Q + sum s (1 - s) x x',   s = s(x'mean)

The paper keeps the diagonal of Q alone, which `diagonal` does.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from mlkit.bandit.policies.gaussian import GaussianThompson, whiten
from mlkit.bandit.policies.policy import Array, Indices

_STEPS = 100
_LEAST_MOVE = 1e-9
"""Where Newton's method stops: the change of log odds; convergence makes the rest its square."""
_SHORTEST = 1e-12


class LogisticThompson(GaussianThompson):
    """Logistic Thompson sampling with online Laplace updates; rewards in [0, 1].

    Args:
        arms: Number of arms.
        dimension: Number of features.
        shared: One model for all arms instead of a model per arm.
        ridge: Precision of each weight's prior, whose mean is 0; lambda of the paper.
        scale: Factor of the posterior's standard deviations; alpha of the paper's
            posterior reshaping.
        draws: Draws that propensities of a shared model are counted from.
        diagonal: Keep the diagonal of the precision only, as the paper does.

    Raises:
        UsageError: A parameter is out of range.
    """

    rewards = (0.0, 1.0)

    def __init__(
        self,
        arms: int,
        dimension: int,
        *,
        shared: bool = False,
        ridge: float = 1.0,
        scale: float = 1.0,
        draws: int = 1 << 16,
        diagonal: bool = False,
    ) -> None:
        super().__init__(arms, dimension, shared=shared, ridge=ridge, scale=scale, draws=draws)
        self.diagonal = diagonal

    def _means(self, arms: Indices, features: Array) -> Array:
        return np.asarray(special.expit(super()._means(arms, features)))

    takes_back = False

    def _posterior(
        self, model: int, features: Array, rewards: Array, weights: Array
    ) -> tuple[Array, Array, Array]:
        prior, center = self.weights.precision[model], self.weights.mean[model]
        mean = posterior_mode(center, prior, features, rewards)
        precision = curvature(mean, prior, features)
        if self.diagonal:
            precision = np.diag(np.diag(precision))
        return mean, precision, whiten(precision)


def posterior_mode(center: Array, prior: Array, features: Array, rewards: Array) -> Array:
    """Find the mode of the posterior by Newton's method with a line search.

    The objective is strictly convex, so that it converges from anywhere.

    Args:
        center: Mean of the prior, shape (dimension,).
        prior: Precision of the prior, shape (dimension, dimension).
        features: Shape (rows, dimension).
        rewards: In [0, 1], shape (rows,).
    """
    w, problem = center, (center, prior, features, rewards)
    for _ in range(_STEPS):
        step, slope = _newton_step(w, *problem)
        moved = float(np.abs(features @ step).max(initial=0))
        # The curvature changes by a factor of exp(moved) at most: short steps need no search.
        w = w + step * (1.0 if moved < 0.1 else _line_search(w, step, slope, problem))
        if moved <= _LEAST_MOVE:
            break
    return np.asarray(w)


def _newton_step(
    w: Array, center: Array, prior: Array, features: Array, rewards: Array
) -> tuple[Array, float]:
    """Return the step, and how fast the objective falls along it."""
    residual = rewards - special.expit(features @ w)
    downhill = features.T @ residual - prior @ (w - center)
    whitening = whiten(curvature(w, prior, features))
    step = whitening.T @ (whitening @ downhill)
    return step, float(downhill @ step)


def _line_search(
    w: Array, step: Array, slope: float, problem: tuple[Array, Array, Array, Array]
) -> float:
    """Return the first of 1, 1/2, 1/4, ... that lowers the objective enough (Armijo 1966)."""
    before, length = objective(w, *problem), 1.0
    while length > _SHORTEST:
        if objective(w + length * step, *problem) <= before - 1e-4 * length * slope:
            break
        length /= 2
    return length


def objective(w: Array, center: Array, prior: Array, features: Array, rewards: Array) -> float:
    """Return the negative logarithm of the posterior, but for a constant."""
    score, away = features @ w, w - center
    return float(np.sum(np.logaddexp(0, score) - rewards * score) + away @ prior @ away / 2)


def curvature(w: Array, prior: Array, features: Array) -> Array:
    """Return the precision of the Laplace approximation at w."""
    score = features @ w
    variance = special.expit(score) * special.expit(-score)
    return np.asarray(prior + (features.T * variance) @ features)
