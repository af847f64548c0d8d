"""Thompson sampling: an arm is chosen as often as it is probably the best one.

Conjugate posteriors of an arm's mean (Russo et al., "A Tutorial on Thompson Sampling", 2018):

    rewards           posterior of the mean                    after n rewards
    in [0, 1]         Beta(a, b)                               a + sum r, b + n - sum r
    counts            Gamma(shape, rate)                       shape + sum r, rate + n
    any, say money    Normal-inverse-gamma(m, kappa, a, b)     Murphy (2007)
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from mlkit.bandit.policies.integration import (
    LogGammaMarginals,
    StudentMarginals,
    probability_of_largest,
)
from mlkit.bandit.policies.policy import (
    LARGEST,
    Array,
    Indices,
    Policy,
    Ranking,
    ScoringPolicy,
    check_length,
    places_of,
    positive,
    within,
)
from mlkit.bandit.policies.ranking import independent_ranks
from mlkit.bandit.propensities import NoExactPropensities, TopK, top_k
from mlkit.bandit.sampler import BetaSampler

LEAST_SHAPE = 0.05
"""Below it draws of a Gamma distribution may round to 0."""


class BetaThompson(ScoringPolicy):
    """Thompson sampling with Beta posteriors; rewards in [0, 1] (Chapelle and Li 2011).

    Args:
        arms: Number of arms.
        a: First parameter of the prior.
        b: Second parameter of the prior.

    Attributes:
        a: First parameters of the posteriors, shape (arms,).
        b: Second parameters, shape (arms,).
    """

    rewards = (0.0, 1.0)

    forgets = True

    def __init__(self, arms: int, a: float = 1.0, b: float = 1.0) -> None:
        super().__init__(arms)
        positive(a=a, b=b)
        self._prior = float(a), float(b)
        self.a, self.b = np.full(arms, float(a)), np.full(arms, float(b))

    def _scores(self, arms: Indices, generator: Generator, features: Array) -> Array:
        # The sampler gives the same bits on every machine, which generator.beta does not promise.
        sampler = BetaSampler(int(generator.integers(2**64, dtype=np.uint64)))
        return sampler.sample(self.a[arms], self.b[arms])

    def _learn(self, arms: Indices, rewards: Array, weights: Array, features: Array) -> None:
        self.a += np.bincount(arms, weights * rewards, minlength=self.arms)
        self.b += np.bincount(arms, weights * (1 - rewards), minlength=self.arms)
        # A reward that is taken back from an arm that was put again was never its own.
        np.maximum(self.a, self._prior[0], out=self.a)
        np.maximum(self.b, self._prior[1], out=self.b)

    def _forget(self, arms: Indices, kept: Array) -> None:
        self.a[arms] = (1 - kept) * self._prior[0] + kept * self.a[arms]
        self.b[arms] = (1 - kept) * self._prior[1] + kept * self.b[arms]

    def _first(self, arms: Indices, features: Array) -> Array:
        first = top_k(self.a[arms], self.b[arms]).first
        return np.asarray(first / first.sum())

    def _ranks(self, arms: Indices, shown: Indices, k: int, features: Array) -> TopK:
        return top_k(self.a[arms], self.b[arms], k, [int(place) for place in shown])

    def _means(self, arms: Indices, features: Array) -> Array:
        return np.asarray(self.a[arms] / (self.a[arms] + self.b[arms]))


class GammaPoissonThompson(ScoringPolicy):
    """Thompson sampling for counts: Poisson rewards with a Gamma prior of their mean.

    Args:
        arms: Number of arms.
        shape: Shape of the prior, at least 0.05.
        rate: Rate of the prior; shape / rate is its mean.

    Attributes:
        shape: Shapes of the posteriors, shape (arms,).
        rate: Rates of the posteriors, shape (arms,).

    Raises:
        UsageError: A parameter is out of range.
    """

    rewards = (0.0, 1e12)

    forgets = True

    def __init__(self, arms: int, shape: float = 1.0, rate: float = 1.0) -> None:
        super().__init__(arms)
        positive(rate=rate)
        within(LEAST_SHAPE, 1e12, shape=shape)
        self._prior = float(shape), float(rate)
        self.shape, self.rate = np.full(arms, float(shape)), np.full(arms, float(rate))

    def _scores(self, arms: Indices, generator: Generator, features: Array) -> Array:
        return np.asarray(generator.standard_gamma(self.shape[arms]) / self.rate[arms])

    def _learn(self, arms: Indices, rewards: Array, weights: Array, features: Array) -> None:
        self.shape += np.bincount(arms, weights * rewards, minlength=self.arms)
        self.rate += np.bincount(arms, weights, minlength=self.arms)
        np.maximum(self.shape, self._prior[0], out=self.shape)
        np.maximum(self.rate, self._prior[1], out=self.rate)

    def _forget(self, arms: Indices, kept: Array) -> None:
        self.shape[arms] = (1 - kept) * self._prior[0] + kept * self.shape[arms]
        self.rate[arms] = (1 - kept) * self._prior[1] + kept * self.rate[arms]

    def _first(self, arms: Indices, features: Array) -> Array:
        return probability_of_largest(LogGammaMarginals(self.shape[arms], self.rate[arms]))

    def _ranks(self, arms: Indices, shown: Indices, k: int, features: Array) -> TopK:
        return independent_ranks(LogGammaMarginals(self.shape[arms], self.rate[arms]), shown, k)

    def _means(self, arms: Indices, features: Array) -> Array:
        return np.asarray(self.shape[arms] / self.rate[arms])


class NormalThompson(ScoringPolicy):
    """Thompson sampling for any rewards: Normal, with unknown mean and variance of each arm.

    The variance is Inverse-gamma(a, b), the mean Normal(m, variance / kappa) given it; hence the
    mean alone has Student's t distribution with 2a degrees of freedom, the place m and the scale
    sqrt(b / (a kappa)) (Murphy, "Conjugate Bayesian analysis of the Gaussian distribution", 2007).

    Args:
        arms: Number of arms.
        mean: What the prior expects of an arm.
        kappa: How many rewards that is worth.
        a: Shape of the prior of the variance: half as many rewards as it is worth, at least
            0.5.
        b: Scale of the prior of the variance; b / (a - 1) is its mean.

    Attributes:
        mean: m of the posteriors, shape (arms,).
        kappa: kappa of the posteriors, shape (arms,).
        a: Shapes of the posteriors, shape (arms,).
        b: Scales of the posteriors, shape (arms,).

    Raises:
        UsageError: A parameter is out of range.
    """

    forgets = True

    def __init__(
        self, arms: int, mean: float = 0.0, kappa: float = 1.0, a: float = 1.0, b: float = 1.0
    ) -> None:
        super().__init__(arms)
        within(1e-12, 1e12, kappa=kappa)
        within(0.5, 1e12, a=a)
        within(1e-200, 1e200, b=b)
        within(-LARGEST, LARGEST, mean=mean)
        self._prior = float(mean), float(kappa), float(a), float(b)
        self.mean, self.kappa = np.full(arms, float(mean)), np.full(arms, float(kappa))
        self.a, self.b = np.full(arms, float(a)), np.full(arms, float(b))

    def _scale(self, arms: Indices) -> Array:
        return np.asarray(np.sqrt(self.b[arms] / (self.a[arms] * self.kappa[arms])))

    def _scores(self, arms: Indices, generator: Generator, features: Array) -> Array:
        draws = generator.standard_t(2 * self.a[arms])
        return np.asarray(self.mean[arms] + self._scale(arms) * draws)

    def _learn(self, arms: Indices, rewards: Array, weights: Array, features: Array) -> None:
        count = np.bincount(arms, weights, minlength=self.arms)
        some = np.where(count == 0, 1.0, count)
        mean = np.bincount(arms, weights * rewards, minlength=self.arms) / some
        # About the mean, since a sum of squares would cancel for rewards far from 0.
        away_rows = weights * np.square(rewards - mean[arms])
        squares = np.bincount(arms, away_rows, minlength=self.arms)
        prior_mean, least, prior_a, prior_b = self._prior
        kappa = self.kappa + count
        # Nothing is left: of what was taken back, only rounding would remain.
        empty = (count < 0) & (kappa <= least * (1 + 1e-9))
        kappa = np.where(empty, least, kappa)
        away = np.where(count == 0, 0.0, mean - self.mean)
        self.b += squares / 2 + self.kappa * count * away**2 / (2 * kappa)
        self.mean += count * away / kappa
        self.kappa, self.a = kappa, self.a + count / 2
        self.mean[empty], self.a[empty], self.b[empty] = prior_mean, prior_a, prior_b
        np.maximum(self.a, prior_a, out=self.a)
        np.maximum(self.b, prior_b, out=self.b)

    def _forget(self, arms: Indices, kept: Array) -> None:
        # The natural parameters are linear in the evidence; m and b follow without cancellation.
        mean, kappa, a, b = self._prior
        old, new = (1 - kept) * kappa, kept * self.kappa[arms]
        away = self.mean[arms] - mean
        self.a[arms] = (1 - kept) * a + kept * self.a[arms]
        self.b[arms] = (1 - kept) * b + kept * self.b[arms] + old * new * away**2 / (old + new) / 2
        self.mean[arms] = mean + new * away / (old + new)
        self.kappa[arms] = old + new

    def _first(self, arms: Indices, features: Array) -> Array:
        return probability_of_largest(self._marginals(arms))

    def _ranks(self, arms: Indices, shown: Indices, k: int, features: Array) -> TopK:
        return independent_ranks(self._marginals(arms), shown, k)

    def _marginals(self, arms: Indices) -> StudentMarginals:
        return StudentMarginals(2 * self.a[arms], self.mean[arms], self._scale(arms))

    def _means(self, arms: Indices, features: Array) -> Array:
        return self.mean[arms]


class TopTwoThompson(Policy):
    """Top-two Thompson sampling, which finds the best arm sooner than it earns.

    Russo, "Simple Bayesian Algorithms for Best Arm Identification" (2016).

    With probability `share` the arm that a draw finds best is selected, else the best one of the
    first draw that finds another. With the propensities p of Thompson sampling its own are:

        p_i (share + (1 - share) sum_{j != i} p_j / (1 - p_j))

    The first arm is drawn by this formula, which needs no repeated draws however sure the
    posterior is; the rest of a ranking is that of one draw of Thompson sampling.

    Args:
        thompson: The Thompson sampling, which holds the posteriors.
        share: Probability of the first choice, in [0, 1].

    Raises:
        UsageError: The share is out of range.
    """

    def __init__(self, thompson: Policy, share: float = 0.5) -> None:
        within(0, 1, share=share)
        self.thompson, self.share = thompson, float(share)

    def rank(
        self,
        candidates: ArrayLike,
        generator: Generator,
        k: int = 1,
        features: ArrayLike | None = None,
    ) -> Ranking:
        """Choose the top k of the candidates, with scores: see `Policy.rank`."""
        probabilities = self.propensities(candidates, features)
        check_length(k, probabilities.size)
        ranking = self.thompson.rank(candidates, generator, probabilities.size, features)
        first = generator.choice(np.asarray(candidates), p=probabilities)
        places = np.argsort(ranking.arms != first, kind="stable")[:k]
        return Ranking(ranking.arms[places], ranking.scores[places])

    def update(
        self,
        arms: ArrayLike,
        rewards: ArrayLike,
        features: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> None:
        """Learn from rewards: see `Policy.update`."""
        self.thompson.update(arms, rewards, features, weights)

    def withdraw(
        self,
        arms: ArrayLike,
        rewards: ArrayLike,
        features: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> None:
        """Take back rewards: see `Policy.withdraw`."""
        self.thompson.withdraw(arms, rewards, features, weights)

    def forget(self, arms: ArrayLike, kept: ArrayLike) -> None:
        """Keep a part of what was learned: see `Policy.forget`."""
        self.thompson.forget(arms, kept)

    def propensities(self, candidates: ArrayLike, features: ArrayLike | None = None) -> Array:
        """Return the probability of each candidate to be first: see `Policy.propensities`."""
        return top_two(self.thompson.propensities(candidates, features), self.share)

    def rank_propensities(
        self,
        candidates: ArrayLike,
        shown: ArrayLike,
        k: int = 1,
        features: ArrayLike | None = None,
    ) -> TopK:
        """Return the probabilities of the first rank: see `Policy.rank_propensities`."""
        if k != 1:
            raise NoExactPropensities(
                f"propensities: top-two Thompson sampling has exact ones for k = 1, not {k}"
            )
        first = self.propensities(candidates, features)
        found = first[places_of(shown, np.asarray(candidates))]
        return TopK(found[:, None], float(found[0]) if found.size == 1 else 0.0)

    def expected(self, candidates: ArrayLike, features: ArrayLike | None = None) -> Array:
        """Return the expected rewards: see `Policy.expected`."""
        return self.thompson.expected(candidates, features)


def top_two(best: Array, share: float) -> Array:
    """Turn propensities of Thompson sampling into those of top-two Thompson sampling.

    Args:
        best: Probabilities of the arms to be best, shape (arms,), with the sum 1.
        share: Probability of the first choice.
    """
    if best.size == 1:
        return np.ones(1)
    # Row j: the second choice when j was the first. Sums without j do not cancel as 1 - p_j does.
    second = np.where(np.eye(best.size, dtype=bool), 0.0, best)
    total = second.sum(axis=1, keepdims=True)
    rest = (1 - np.eye(best.size)) / (best.size - 1)
    second = np.where(total > 0, second / np.where(total > 0, total, 1), rest)
    found = share * best + (1 - share) * best @ second
    return np.asarray(found / found.sum())
