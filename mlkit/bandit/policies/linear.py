"""Linear rewards: LinTS and LinUCB over ridge regressions.

    A = ridge I + sum x x',   f = sum r x,   weights = A^-1 f
    LinUCB   x'weights + alpha sqrt(x' A^-1 x)       Li, Chu, Langford and Schapire (2010), alg. 1
    LinTS    x'w, w ~ Normal(weights, v^2 A^-1)      Agrawal and Goyal (2013), algorithm 1

Algorithm 1 of LinUCB has a model per arm; with `shared` one model reads features of the arms, as in
LinTS's paper.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from mlkit.bandit.policies.gaussian import FeaturePolicy, GaussianThompson, Weights, whiten
from mlkit.bandit.policies.policy import Array, Indices, share_of_best, within
from mlkit.bandit.policies.ranking import tied_ranks
from mlkit.bandit.propensities import TopK


class LinTS(GaussianThompson):
    """Linear Thompson sampling (Agrawal and Goyal 2013); `scale` is their v.

    Arguments and errors are those of `GaussianThompson`.
    """

    def _posterior(
        self, model: int, features: Array, rewards: Array, weights: Array
    ) -> tuple[Array, Array, Array]:
        return ridge_posterior(self.weights, model, features, rewards, weights)


class LinUCB(FeaturePolicy):
    """LinUCB (Li, Chu, Langford and Schapire 2010).

    Args:
        arms: Number of arms.
        dimension: Number of features.
        shared: One model for all arms instead of a model per arm.
        ridge: Factor of the identity in A; 1 in the paper.
        alpha: Standard deviations in the upper bound, at least 0.

    Raises:
        UsageError: A parameter is out of range.
    """

    def __init__(
        self,
        arms: int,
        dimension: int,
        *,
        shared: bool = False,
        ridge: float = 1.0,
        alpha: float = 1.0,
    ) -> None:
        super().__init__(arms, dimension, shared=shared, ridge=ridge)
        within(0, 1e15, alpha=alpha)
        self.alpha = float(alpha)

    def _index(self, arms: Indices, features: Array) -> Array:
        models = self._models(arms)
        spread = self.weights.spread(models, features)
        return np.asarray(self.weights.expected(models, features) + self.alpha * spread)

    def _scores(self, arms: Indices, generator: Generator, features: Array) -> Array:
        return self._index(arms, features)

    def _first(self, arms: Indices, features: Array) -> Array:
        return share_of_best(self._index(arms, features))

    def _ranks(self, arms: Indices, shown: Indices, k: int, features: Array) -> TopK:
        return tied_ranks(self._index(arms, features), shown, k)

    def _posterior(
        self, model: int, features: Array, rewards: Array, weights: Array
    ) -> tuple[Array, Array, Array]:
        return ridge_posterior(self.weights, model, features, rewards, weights)


def ridge_posterior(
    weights: Weights, model: int, features: Array, rewards: Array, counts: Array
) -> tuple[Array, Array, Array]:
    """Compute mean, precision and whitening of a ridge regression after more rows.

    The mean moves by A^-1 X'(r - X mean), which is A^-1 f without keeping f.
    """
    counted = (features.T * counts).T
    precision = weights.precision[model] + counted.T @ features
    whitening = whiten(precision)
    surprise = counted.T @ (rewards - features @ weights.mean[model])
    mean = weights.mean[model] + whitening.T @ (whitening @ surprise)
    return mean, precision, whitening
