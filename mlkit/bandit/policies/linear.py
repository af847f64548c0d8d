"""Linear rewards: LinTS and LinUCB over ridge regressions.

    A = ridge I + sum x x',   f = sum r x,   weights = A^-1 f
    LinUCB   x'weights + alpha sqrt(x' A^-1 x)       Li, Chu, Langford and Schapire (2010), alg. 1
    LinTS    x'w, w ~ Normal(weights, v^2 A^-1)      Agrawal and Goyal (2013), algorithm 1

Algorithm 1 of LinUCB has a model per arm; with `shared` one model reads features of the arms, as in
LinTS's paper.
"""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from mlkit.bandit._regression import moments
from mlkit.bandit.policies.gaussian import (
    FeaturePolicy,
    GaussianThompson,
    Weights,
    out_of_precision,
    whiten,
)
from mlkit.bandit.policies.policy import (
    LARGEST,
    Array,
    Indices,
    indices,
    real,
    row_weights,
    share_of_best,
    within,
)
from mlkit.bandit.policies.ranking import tied_ranks
from mlkit.bandit.propensities import TopK

Posterior = tuple[Array, Array, Array]
_MANY, _MOST, _WIDEST = 2048, 2**32, 512
"""Rows from which on and below which, and features up to which, a kernel replaces NumPy."""


class RidgePolicy(FeaturePolicy):
    """A policy whose models are ridge regressions; arguments are those of `FeaturePolicy`."""

    def update(
        self,
        arms: ArrayLike,
        rewards: ArrayLike,
        features: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> None:
        """Learn from rewards: see `Policy.update`."""
        suits = isinstance(features, np.ndarray) and self._suits_kernel(features, np.size(arms))
        if not (suits and self._learn_many(arms, rewards, np.asarray(features), weights)):
            super().update(arms, rewards, features, weights)  # finds what is wrong, too

    def _suits_kernel(self, features: Array, rows: int) -> bool:
        is_table = features.dtype == np.float64 and features.shape == (rows, self.dimension)
        is_many = max(_MANY, 16 * self.arms) <= rows < _MOST and self.dimension <= _WIDEST
        return is_table and is_many and not self.shared and features.flags.c_contiguous

    def _learn_many(
        self, arms: ArrayLike, rewards: ArrayLike, features: Array, weights: ArrayLike | None
    ) -> bool:
        """Learn from many rows; False: something is out of range, and nothing was learned."""
        rows = len(features)
        shown, received = arms, rewards
        # Columns that the kernel can read are checked by it, without copies.
        if not _is_column(shown, np.int64, rows):
            shown = indices("arms", arms, self.arms)
        if not _is_column(received, np.float64, rows):
            received = real("rewards", rewards, (rows,), self.rewards)
        counts = None if weights is None else row_weights(weights, rows)
        before = self.weights
        found = moments(features, received, counts, shown, before.mean, LARGEST, self.rewards)
        if found is None:
            return False
        gram, surprise = found
        models = np.flatnonzero(gram.any(axis=(1, 2)) | surprise.any(axis=1))
        # All are computed before any is replaced: after an error nothing has been learned.
        learned = update_posteriors(before, models, gram[models], surprise[models])
        if not np.isfinite(learned[0]).all():
            raise out_of_precision()
        for model, *posterior in zip(models, *learned, strict=True):
            before.replace(int(model), *posterior)
        return True

    def _posterior(self, model: int, features: Array, rewards: Array, weights: Array) -> Posterior:
        return ridge_posterior(self.weights, model, features, rewards, weights)


class LinTS(RidgePolicy, GaussianThompson):
    """Linear Thompson sampling (Agrawal and Goyal 2013); `scale` is their v.

    Arguments and errors are those of `GaussianThompson`.
    """


class LinUCB(RidgePolicy):
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


def ridge_posterior(
    weights: Weights, model: int, features: Array, rewards: Array, counts: Array
) -> Posterior:
    """Compute mean, precision and whitening of a ridge regression after more rows."""
    counted = (features.T * counts).T
    surprise = counted.T @ (rewards - features @ weights.mean[model])
    one = np.array([model])
    found = update_posteriors(weights, one, (counted.T @ features)[None], surprise[None])
    mean, precision, whitening = (each[0] for each in found)
    return mean, precision, whitening


def update_posteriors(weights: Weights, models: Indices, gram: Array, surprise: Array) -> Posterior:
    """Compute means, precisions and whitenings of models after more rows.

    A mean moves by A^-1 X'(r - X mean), which is A^-1 f without keeping f.

    Args:
        weights: What was known.
        models: The models.
        gram: X'X of each, shape (models, dimension, dimension).
        surprise: X'(r - X mean) of each, shape (models, dimension).
    """
    precision = weights.precision[models] + gram
    whitening = whiten(precision)
    white = np.matmul(whitening, surprise[:, :, None])
    step = np.matmul(whitening.transpose(0, 2, 1), white)[:, :, 0]
    return weights.mean[models] + step, precision, whitening


def _is_column(values: ArrayLike, kind: type[np.generic], rows: int) -> TypeGuard[NDArray[Any]]:
    """Return whether values are a contiguous array of a type, with a value for each row."""
    if not isinstance(values, np.ndarray) or values.dtype != np.dtype(kind):
        return False
    return values.shape == (rows,) and values.flags.c_contiguous
