"""Rewards by features: weights with a Normal posterior, one vector an arm or one for all.

The posterior of the weights w is Normal(mean, precision^-1). With the Cholesky factor L of the
precision, the standard deviation of x'w is |L^-1 x|, and mean + L^-T z has the posterior for a
standard Normal z. Everything is in double precision, and the factor is computed again from the
precision, so that no error accumulates as in updates of an inverse.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike
from scipy.linalg import lapack

from mlkit.bandit.policies.integration import NormalMarginals, probability_of_largest
from mlkit.bandit.policies.policy import (
    Array,
    Indices,
    ScoringPolicy,
    numbers,
    positive,
    real,
    whole,
)
from mlkit.bandit.policies.ranking import count_ranks, independent_ranks
from mlkit.bandit.propensities import TopK
from mlkit.errors import BadData

_CHUNK = 1 << 20
"""Scores in memory at once."""


class Weights:
    """The posteriors of the weights of models.

    Args:
        models: Number of models.
        dimension: Number of features.
        ridge: Precision of each weight's prior, whose mean is 0.

    Attributes:
        mean: Posterior means, shape (models, dimension).
        precision: Posterior precisions, shape (models, dimension, dimension).
        whitening: L^-1 of the Cholesky factor L of the precision, likewise.
    """

    def __init__(self, models: int, dimension: int, ridge: float) -> None:
        identity = np.broadcast_to(np.eye(dimension), (models, dimension, dimension))
        self.mean = np.zeros((models, dimension))
        self.precision = identity * float(ridge)
        self.whitening = identity / np.sqrt(float(ridge))

    def replace(self, model: int, mean: Array, precision: Array, whitening: Array) -> None:
        """Set the posterior of one model."""
        self.mean[model], self.precision[model] = mean, precision
        self.whitening[model] = whitening

    def expected(self, models: Indices, features: Array) -> Array:
        """Return the means of x'w, one model per row, shape (rows,)."""
        return np.asarray(np.einsum("id,id->i", features, self.mean[models]))

    def spread(self, models: Indices, features: Array) -> Array:
        """Return the standard deviations of x'w, one model per row, shape (rows,)."""
        if len(self.mean) == 1:
            white = features @ self.whitening[0].T
        else:
            white = np.matmul(self.whitening[models], features[:, :, None])[:, :, 0]
        return np.asarray(np.sqrt(np.einsum("id,id->i", white, white)))


def whiten(precision: Array) -> Array:
    """Return L^-1 of the Cholesky factor L of a precision, or of each in a stack.

    Raises:
        BadData: A precision is not positive definite in double precision.
    """
    try:
        factors = np.linalg.cholesky(precision).reshape(-1, *precision.shape[-2:])
    except np.linalg.LinAlgError as error:
        raise out_of_precision() from error
    found = np.empty_like(factors)
    for at, factor in enumerate(factors):
        found[at], failed = lapack.dtrtri(factor, lower=1)
        if failed:
            raise out_of_precision()
    if not np.isfinite(found).all():
        raise out_of_precision()
    return found.reshape(precision.shape)


def out_of_precision() -> BadData:
    """Describe features that a model cannot be computed from."""
    return BadData(
        "features: too large or too nearly collinear for double precision",
        hint="scale the features, or use a larger ridge",
    )


class FeaturePolicy(ScoringPolicy):
    """A policy with features.

    Args:
        arms: Number of arms.
        dimension: Number of features.
        shared: One model for all arms, which differ by their features, instead of a model per arm
            ("disjoint").
        ridge: Precision of each weight's prior, whose mean is 0.

    Attributes:
        weights: The posteriors, a model per arm, or one model.

    Raises:
        UsageError: A parameter is out of range.
    """

    def __init__(
        self, arms: int, dimension: int, *, shared: bool = False, ridge: float = 1.0
    ) -> None:
        super().__init__(arms)
        positive(ridge=ridge)
        whole(2**24, dimension=dimension)
        self.dimension, self.shared = dimension, shared
        self.weights = Weights(1 if shared else arms, dimension, ridge)

    def _features(self, features: ArrayLike | None, rows: int) -> Array:
        if features is None:
            raise BadData("features: missing; this policy needs them")
        given = numbers("features", features)
        if given.ndim == 1 and not self.shared:
            one = real("features", given, (self.dimension,))
            return np.asarray(np.broadcast_to(one, (rows, self.dimension)))
        return real("features", given, (rows, self.dimension))

    def _means(self, arms: Indices, features: Array) -> Array:
        return self.weights.expected(self._models(arms), features)

    def _models(self, arms: Indices) -> Indices:
        return np.zeros_like(arms) if self.shared else arms

    def _learn(self, arms: Indices, rewards: Array, weights: Array, features: Array) -> None:
        models = self._models(arms)
        by_model = np.argsort(models, kind="stable")
        found, begin = np.unique(models[by_model], return_index=True)
        groups = np.split(by_model, begin[1:])
        # All are computed before any is replaced: after an error nothing has been learned.
        learned = [
            (int(model), *self._posterior(int(model), features[rows], rewards[rows], weights[rows]))
            for model, rows in zip(found, groups, strict=False)
        ]
        if not all(np.isfinite(mean).all() for _, mean, *_ in learned):
            raise out_of_precision()
        for model, mean, precision, whitening in learned:
            self.weights.replace(model, mean, precision, whitening)

    @abstractmethod
    def _posterior(
        self, model: int, features: Array, rewards: Array, weights: Array
    ) -> tuple[Array, Array, Array]:
        """Compute mean, precision and whitening of a model after rows."""


class GaussianThompson(FeaturePolicy):
    """Thompson sampling of weights: ranks by x'w for a draw w of the posterior.

    Propensities of disjoint models, and of two arms of a shared one, are integrated. For more arms
    of a shared model, whose scores are dependent, they are frequencies among `draws` draws with a
    seed of their own: repeatable, with a standard error of sqrt(p (1 - p) / draws), and 0 for
    what is rarer than they can show.

    Args:
        arms: Number of arms.
        dimension: Number of features.
        shared: One model for all arms instead of a model per arm.
        ridge: Precision of each weight's prior, whose mean is 0.
        scale: Factor of the posterior's standard deviations.
        draws: Draws that propensities of a shared model are counted from.

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
        scale: float = 1.0,
        draws: int = 1 << 16,
    ) -> None:
        super().__init__(arms, dimension, shared=shared, ridge=ridge)
        positive(scale=scale)
        whole(2**40, draws=draws)
        self.scale, self.draws = float(scale), int(draws)

    def _scores(self, arms: Indices, generator: Generator, features: Array) -> Array:
        models = self._models(arms)
        if self.shared:
            return np.asarray(features @ self._weight_draws(generator, 1)[0])
        # x'w of independent models is a Normal number each: no need to draw all weights.
        spread = self.scale * self.weights.spread(models, features)
        noise = generator.standard_normal(arms.size)
        return np.asarray(self.weights.expected(models, features) + spread * noise)

    def _weight_draws(self, generator: Generator, draws: int) -> Array:
        """Draw weights of the shared model, shape (draws, dimension)."""
        noise = generator.standard_normal((draws, self.dimension))
        return np.asarray(self.weights.mean[0] + self.scale * noise @ self.weights.whitening[0])

    def _first(self, arms: Indices, features: Array) -> Array:
        if not self.shared:
            return self._independent(self._models(arms), features)
        if arms.size == 2:
            return self._first_of_two(features)
        return self._frequencies(features)

    def _ranks(self, arms: Indices, shown: Indices, k: int, features: Array) -> TopK:
        if not self.shared:
            return independent_ranks(self._marginals(self._models(arms), features), shown, k)
        ranks, slate = np.zeros((shown.size, k)), 0.0
        for scores in self._score_draws(features):
            part, share = count_ranks(scores, shown, k), len(scores) / self.draws
            ranks, slate = ranks + share * part.ranks, slate + share * part.slate
        return TopK(ranks, slate)

    def _independent(self, models: Indices, features: Array) -> Array:
        return probability_of_largest(self._marginals(models, features))

    def _marginals(self, models: Indices, features: Array) -> NormalMarginals:
        mean = self.weights.expected(models, features)
        return NormalMarginals(mean, self.scale * self.weights.spread(models, features))

    def _first_of_two(self, features: Array) -> Array:
        """P(x_1'w > x_2'w) is that of (x_1 - x_2)'w > 0: one Normal number against a constant."""
        difference = np.stack([features[0] - features[1], np.zeros(self.dimension)])
        return self._independent(np.zeros(2, dtype=np.intp), difference)

    def _frequencies(self, features: Array) -> Array:
        found = np.zeros(len(features))
        for scores in self._score_draws(features):
            best = scores == scores.max(axis=1, keepdims=True)
            found += (best / best.sum(axis=1, keepdims=True)).sum(axis=0)
        return np.asarray(found / self.draws)

    def _score_draws(self, features: Array) -> Iterator[Array]:
        """Yield scores of a fixed seed, shape (draws, arms), as many at a time as fit memory."""
        generator = np.random.Generator(np.random.PCG64(0))
        step = max(1, _CHUNK // len(features))
        for begin in range(0, self.draws, step):
            yield self._weight_draws(generator, min(step, self.draws - begin)) @ features.T
