"""Optimism: an arm counts as much as it may plausibly be worth. Rewards are in [0, 1].

An arm without rewards comes first under UCB1 and KL-UCB. n is the number of all rewards seen,
n_i of them from arm i; t = n + 1 is the round.

    UCB1        mean_i + sqrt(c log n / n_i)                  Auer, Cesa-Bianchi, Fischer (2002)
    KL-UCB      max {q: n_i kl(mean_i, q) <= log t + c log log t}  Garivier and Cappe (2011)
    Bayes-UCB   quantile of Beta(a_i, b_i) at 1 - 1 / t       Kaufmann, Cappe, Garivier (2012)
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.random import Generator
from scipy import special

from mlkit.bandit.distribution import beta_isf
from mlkit.bandit.policies.arm_means import ArmMeans
from mlkit.bandit.policies.policy import (
    Array,
    Indices,
    ScoringPolicy,
    positive,
    share_of_best,
    within,
)
from mlkit.bandit.policies.ranking import tied_ranks
from mlkit.bandit.propensities import TopK

_HALVINGS = 60


class _UpperBound(ScoringPolicy):
    """An index policy: its scores are not draws, so the best arms share the probability 1."""

    rewards = (0.0, 1.0)
    forgets = True

    def __init__(self, arms: int) -> None:
        super().__init__(arms)
        self.means = ArmMeans(arms)

    @abstractmethod
    def index(self, arms: Indices) -> Array:
        """Compute the upper bounds of arms, shape (arms,)."""

    def _scores(self, arms: Indices, generator: Generator, features: Array) -> Array:
        return self.index(arms)

    def _learn(self, arms: Indices, rewards: Array, weights: Array, features: Array) -> None:
        self.means.add(arms, rewards, weights)

    def _forget(self, arms: Indices, kept: Array) -> None:
        self.means.forget(arms, kept)

    def _first(self, arms: Indices, features: Array) -> Array:
        return share_of_best(self.index(arms))

    def _ranks(self, arms: Indices, shown: Indices, k: int, features: Array) -> TopK:
        return tied_ranks(self.index(arms), shown, k)

    def _means(self, arms: Indices, features: Array) -> Array:
        return self.means.of(arms, 0.0)

    @property
    def _round(self) -> float:
        return self.means.total + 1


class UCB1(_UpperBound):
    """UCB1 (Auer, Cesa-Bianchi and Fischer 2002, figure 1).

    Args:
        arms: Number of arms.
        exploration: c of the bound; 2 in the paper.

    Raises:
        UsageError: A parameter is out of range.
    """

    def __init__(self, arms: int, exploration: float = 2.0) -> None:
        super().__init__(arms)
        positive(exploration=exploration)
        self.exploration = float(exploration)

    def index(self, arms: Indices) -> Array:
        """Compute the upper bounds: infinite for an arm without rewards."""
        pulls = self.means.pulls[arms]
        some = np.where(pulls > 0, pulls, 1)
        width = self.exploration * np.log(max(self.means.total, 1.0)) / some
        return np.where(pulls > 0, self.means.of(arms, 0.0) + np.sqrt(width), np.inf)


class KLUCB(_UpperBound):
    """KL-UCB (Garivier and Cappe 2011, algorithm 1).

    Args:
        arms: Number of arms.
        c: Weight of log log t, at least 0: 3 in the paper's proofs, 0 in its experiments.

    Raises:
        UsageError: A parameter is out of range.
    """

    def __init__(self, arms: int, c: float = 0.0) -> None:
        super().__init__(arms)
        within(0, 1e15, c=c)
        self.c = float(c)

    def index(self, arms: Indices) -> Array:
        """Compute the upper bounds: infinite for an arm without rewards."""
        pulls, log_round = self.means.pulls[arms], np.log(self._round)
        budget = log_round + self.c * np.log(max(log_round, 1.0))
        some = np.where(pulls > 0, pulls, 1)
        bound = kl_upper_bound(np.clip(self.means.of(arms, 0.0), 0, 1), budget / some)
        return np.where(pulls > 0, bound, np.inf)


class BayesUCB(_UpperBound):
    """Bayes-UCB with Beta posteriors (Kaufmann, Cappe and Garivier 2012, algorithm 1, c = 0).

    Args:
        arms: Number of arms.
        a: First parameter of the prior.
        b: Second parameter of the prior.

    Raises:
        UsageError: A parameter is out of range.
    """

    def __init__(self, arms: int, a: float = 1.0, b: float = 1.0) -> None:
        super().__init__(arms)
        positive(a=a, b=b)
        self.a, self.b = float(a), float(b)

    def index(self, arms: Indices) -> Array:
        """Compute the quantiles: of the prior for an arm without rewards."""
        pulls = self.means.pulls[arms]
        sums = np.clip(self.means.sums[arms], 0, pulls)
        return beta_isf(1 / self._round, self.a + sums, self.b + (pulls - sums))


def kl_bernoulli(p: Array, q: Array) -> Array:
    """Return the divergence of Bernoulli(q) from Bernoulli(p), elementwise."""
    return np.asarray(special.rel_entr(p, q) + special.rel_entr(1 - p, 1 - q))


def kl_upper_bound(mean: Array, budget: Array) -> Array:
    """Find the largest q in [mean, 1] with kl(mean, q) <= budget, elementwise, by bisection.

    Args:
        mean: Means in [0, 1].
        budget: Divergences of at least 0.
    """
    low, high = mean.copy(), np.ones_like(mean)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        inside = kl_bernoulli(mean, middle) <= budget
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low
