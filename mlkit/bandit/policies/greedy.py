"""Policies that go by mean rewards, and explore by chance or by plan."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy import special

from mlkit.bandit.policies.arm_means import ArmMeans
from mlkit.bandit.policies.integration import GumbelMarginals
from mlkit.bandit.policies.policy import (
    LARGEST,
    Array,
    Indices,
    ScoringPolicy,
    positive,
    share_of_best,
    whole,
    within,
)
from mlkit.bandit.policies.ranking import independent_ranks, mix, tied_ranks, uniform_ranks
from mlkit.bandit.propensities import TopK


class EpsilonGreedy(ScoringPolicy):
    """The best mean, but a random ranking with probability epsilon.

    epsilon is min(1, scale t^-decay) in round t, one more than the number of rewards seen. With
    decay = 1 and scale = c K / d^2 this is the epsilon_n-greedy policy of Auer, Cesa-Bianchi and
    Fischer (2002, figure 3) for K arms and a gap of at least d.

    Args:
        arms: Number of arms.
        scale: epsilon in the first round.
        decay: Exponent of the decay, in [0, 1]; 0 keeps epsilon.
        unknown: Mean of an arm without rewards; a high one is optimistic.

    Raises:
        UsageError: A parameter is out of range.
    """

    forgets = True

    def __init__(
        self, arms: int, scale: float = 0.1, decay: float = 0.0, unknown: float = 0.0
    ) -> None:
        super().__init__(arms)
        within(0, 1, decay=decay)
        within(0, 1e15, scale=scale)
        within(-LARGEST, LARGEST, unknown=unknown)
        self.scale, self.decay, self.unknown = float(scale), float(decay), float(unknown)
        self.means = ArmMeans(arms)

    @property
    def epsilon(self) -> float:
        """The probability of exploration in this round."""
        return float(min(1.0, self.scale * (self.means.total + 1) ** -self.decay))

    def _scores(self, arms: Indices, generator: Generator, features: Array) -> Array:
        if generator.random() < self.epsilon:
            return np.zeros(arms.size)  # ties, whose order is random
        return self.means.of(arms, self.unknown)

    def _learn(self, arms: Indices, rewards: Array, weights: Array, features: Array) -> None:
        self.means.add(arms, rewards, weights)

    def _forget(self, arms: Indices, kept: Array) -> None:
        self.means.forget(arms, kept)

    def _first(self, arms: Indices, features: Array) -> Array:
        best = share_of_best(self.means.of(arms, self.unknown))
        return self.epsilon / arms.size + (1 - self.epsilon) * best

    def _ranks(self, arms: Indices, shown: Indices, k: int, features: Array) -> TopK:
        greedy = tied_ranks(self.means.of(arms, self.unknown), shown, k)
        return mix(self.epsilon, uniform_ranks(arms.size, shown.size, k), greedy)

    def _means(self, arms: Indices, features: Array) -> Array:
        return self.means.of(arms, self.unknown)


class Softmax(ScoringPolicy):
    """The Boltzmann distribution: P(arm) ~ exp(mean / temperature) (Sutton and Barto 1998).

    The ranking is drawn without replacement with the same weights (Plackett-Luce), by Gumbel
    noise (Yellott 1977).

    Args:
        arms: Number of arms.
        temperature: In units of the reward: high explores, low exploits.
        unknown: Mean of an arm without rewards.

    Raises:
        UsageError: A parameter is out of range.
    """

    forgets = True

    def __init__(self, arms: int, temperature: float = 0.1, unknown: float = 0.0) -> None:
        super().__init__(arms)
        positive(temperature=temperature)
        within(-LARGEST, LARGEST, unknown=unknown)
        self.temperature, self.unknown = float(temperature), float(unknown)
        self.means = ArmMeans(arms)

    def _logits(self, arms: Indices) -> Array:
        means = self.means.of(arms, self.unknown)
        with np.errstate(over="ignore"):  # a probability of 0
            return np.asarray((means - means.max()) / self.temperature)

    def _scores(self, arms: Indices, generator: Generator, features: Array) -> Array:
        return self._logits(arms) + generator.gumbel(size=arms.size)

    def _learn(self, arms: Indices, rewards: Array, weights: Array, features: Array) -> None:
        self.means.add(arms, rewards, weights)

    def _forget(self, arms: Indices, kept: Array) -> None:
        self.means.forget(arms, kept)

    def _first(self, arms: Indices, features: Array) -> Array:
        return np.asarray(special.softmax(self._logits(arms)))

    def _ranks(self, arms: Indices, shown: Indices, k: int, features: Array) -> TopK:
        return independent_ranks(GumbelMarginals(self._logits(arms)), shown, k)

    def _means(self, arms: Indices, features: Array) -> Array:
        return self.means.of(arms, self.unknown)


class ExploreThenCommit(ScoringPolicy):
    """Each arm `pulls` times in turn, then the best mean for good.

    Lattimore and Szepesvari, "Bandit Algorithms" (2020), algorithm 1. Later rewards are ignored,
    so that the choice, once made, stays.

    Args:
        arms: Number of arms.
        pulls: Rewards of each arm that the choice is made from.

    Raises:
        UsageError: A parameter is out of range.
    """

    takes_back = False

    def __init__(self, arms: int, pulls: int = 100) -> None:
        super().__init__(arms)
        whole(2**53, pulls=pulls)
        self.pulls, self.means = int(pulls), ArmMeans(arms)

    def _order(self, arms: Indices) -> Array:
        """Return scores: missing pulls where there are any, else the place among the means."""
        _, rank = np.unique(self.means.of(arms, 0.0), return_inverse=True)
        missing = self.pulls - self.means.pulls[arms]
        return np.where(missing > 0, missing, rank / arms.size - 1)

    def _scores(self, arms: Indices, generator: Generator, features: Array) -> Array:
        return self._order(arms)

    def _learn(self, arms: Indices, rewards: Array, weights: Array, features: Array) -> None:
        early = self.means.pulls[arms] + earlier_rows(arms) < self.pulls
        self.means.add(arms[early], rewards[early], weights[early])

    def _first(self, arms: Indices, features: Array) -> Array:
        return share_of_best(self._order(arms))

    def _ranks(self, arms: Indices, shown: Indices, k: int, features: Array) -> TopK:
        return tied_ranks(self._order(arms), shown, k)

    def _means(self, arms: Indices, features: Array) -> Array:
        return self.means.of(arms, 0.0)


def earlier_rows(arms: Indices) -> Indices:
    """Return how many earlier rows have the same arm, for each row."""
    by_arm = np.argsort(arms, kind="stable")
    _, count = np.unique(arms, return_counts=True)
    found = np.empty(arms.size, dtype=np.intp)
    # In the order of arms each group begins after all smaller ones.
    found[by_arm] = np.arange(arms.size) - np.repeat(np.cumsum(count) - count, count)
    return found
