"""What every policy offers, and how scores become a ranking.

Arms are numbered from 0. A policy ranks candidates by scores, highest first, and breaks ties
uniformly at random, so that arms of which nothing is known get equal traffic.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from mlkit.bandit.arrays import floats
from mlkit.bandit.propensities import TopK
from mlkit.errors import BadData, UsageError

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

LARGEST = 1e100
"""The largest reward and feature: their squares and products do not overflow."""


class Ranking(NamedTuple):
    """A ranking.

    Attributes:
        arms: The arms, best first, shape (k,).
        scores: The scores that ranked them, shape (k,).
    """

    arms: Indices
    scores: Array


class Policy(Protocol):
    """Select arms, learn from their rewards, and state the probability of a choice."""

    def select(
        self,
        candidates: ArrayLike,
        generator: Generator,
        k: int = 1,
        features: ArrayLike | None = None,
    ) -> Indices:
        """Choose the top k of the candidates.

        The same generator state, policy state and arguments give the same choice.

        Args:
            candidates: Different arms, shape (candidates,).
            generator: Source of all randomness.
            k: Length of the ranking.
            features: Shape (candidates, dimension), or (dimension,) for a context that all
                candidates share. Policies without features ignore them.

        Returns:
            The arms, best first, shape (k,).

        Raises:
            BadData: An argument has the wrong shape, or a value that is out of range.
        """
        return self.rank(candidates, generator, k, features).arms

    def update(
        self,
        arms: ArrayLike,
        rewards: ArrayLike,
        features: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> None:
        """Learn from rewards; after an error nothing has been learned.

        Args:
            arms: Arms that were shown, shape (rows,); an arm may appear many times.
            rewards: Their rewards, shape (rows,).
            features: What they were shown with, shape (rows, dimension).
            weights: What each reward counts, from 0 to 1, shape (rows,); None: 1 each.

        Raises:
            BadData: An argument has the wrong shape, or a value that is out of range.
        """
        ...

    def withdraw(
        self,
        arms: ArrayLike,
        rewards: ArrayLike,
        features: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> None:
        """Take back rewards that were learned: the inverse of `update`, up to rounding.

        Raises:
            BadData: As for `update`.
            UsageError: What this policy has learned depends on the order of rewards.
        """
        ...

    def forget(self, arms: ArrayLike, kept: ArrayLike) -> None:
        """Keep a part of what was learned of arms: the rest returns to the prior.

        Args:
            arms: Different arms, shape (rows,).
            kept: What to keep, from 0 to 1, shape (rows,).

        Raises:
            BadData: An argument has the wrong shape, or a value that is out of range.
            UsageError: The policy does not forget.
        """
        ...

    def propensities(self, candidates: ArrayLike, features: ArrayLike | None = None) -> Array:
        """Return the probability of each candidate to be selected first.

        Returns:
            Probabilities with the sum 1, shape (candidates,).

        Raises:
            BadData: An argument has the wrong shape, or a value that is out of range.
        """
        ...

    def rank(
        self,
        candidates: ArrayLike,
        generator: Generator,
        k: int = 1,
        features: ArrayLike | None = None,
    ) -> Ranking:
        """Choose as `select` does, and return the scores too."""
        ...

    def rank_propensities(
        self,
        candidates: ArrayLike,
        shown: ArrayLike,
        k: int = 1,
        features: ArrayLike | None = None,
    ) -> TopK:
        """Return the probabilities of ranks in the top k.

        Args:
            candidates: Different arms, shape (candidates,).
            shown: Arms to compute for, in their order; those of the slate.
            k: Length of the ranking.
            features: As for `select`.

        Raises:
            BadData: An argument has the wrong shape, or a value that is out of range.
            NoExactPropensities: The policy has none for a ranking of this length.
        """
        ...

    def expected(self, candidates: ArrayLike, features: ArrayLike | None = None) -> Array:
        """Return the expected rewards, shape (candidates,).

        Raises:
            BadData: An argument has the wrong shape, or a value that is out of range.
        """
        ...


class ScoringPolicy(Policy, ABC):
    """A policy that ranks by scores. Subclasses get arguments that have been checked.

    Args:
        arms: Number of arms.

    Raises:
        UsageError: The number is not a whole number of at least 1.
    """

    rewards: ClassVar[tuple[float, float]] = (-LARGEST, LARGEST)
    """The range of rewards."""
    takes_back: ClassVar[bool] = True
    """Whether rewards can be withdrawn: what was learned does not depend on their order."""
    forgets: ClassVar[bool] = False
    """Whether what was learned can lose weight."""

    def __init__(self, arms: int) -> None:
        whole(2**31, arms=arms)
        self.arms = arms

    def rank(
        self,
        candidates: ArrayLike,
        generator: Generator,
        k: int = 1,
        features: ArrayLike | None = None,
    ) -> Ranking:
        """Choose the top k of the candidates, with scores: see `Policy.rank`."""
        arms = distinct(candidates, self.arms)
        check_length(k, arms.size)
        scores = self._scores(arms, generator, self._features(features, arms.size))
        best = order(scores, generator)[:k]
        return Ranking(arms[best], scores[best])

    def update(
        self,
        arms: ArrayLike,
        rewards: ArrayLike,
        features: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> None:
        """Learn from rewards: see `Policy.update`."""
        shown = indices("arms", arms, self.arms)
        received = real("rewards", rewards, (shown.size,), self.rewards)
        self._learn(
            shown, received, row_weights(weights, shown.size), self._features(features, shown.size)
        )

    def withdraw(
        self,
        arms: ArrayLike,
        rewards: ArrayLike,
        features: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> None:
        """Take back rewards: see `Policy.withdraw`."""
        if not self.takes_back:
            hint = "fit the logs again without them"
            raise UsageError(f"{type(self).__name__} cannot take rewards back", hint=hint)
        shown = indices("arms", arms, self.arms)
        received = real("rewards", rewards, (shown.size,), self.rewards)
        self._learn(
            shown, received, -row_weights(weights, shown.size), self._features(features, shown.size)
        )

    def forget(self, arms: ArrayLike, kept: ArrayLike) -> None:
        """Keep a part of what was learned: see `Policy.forget`."""
        places = indices("arms", arms, self.arms)
        self._forget(places, real("kept", kept, (places.size,), (0, 1)))

    def _forget(self, arms: Indices, kept: Array) -> None:
        hint = "thompson, gamma-poisson, normal and the ucb policies do"
        raise UsageError(f"{type(self).__name__} does not forget", hint=hint)

    def propensities(self, candidates: ArrayLike, features: ArrayLike | None = None) -> Array:
        """Return the probability of each candidate to be first: see `Policy.propensities`."""
        arms = distinct(candidates, self.arms)
        return self._first(arms, self._features(features, arms.size))

    def rank_propensities(
        self,
        candidates: ArrayLike,
        shown: ArrayLike,
        k: int = 1,
        features: ArrayLike | None = None,
    ) -> TopK:
        """Return the probabilities of ranks: see `Policy.rank_propensities`."""
        arms = distinct(candidates, self.arms)
        check_length(k, arms.size)
        places = places_of(shown, arms)
        return self._ranks(arms, places, int(k), self._features(features, arms.size))

    def expected(self, candidates: ArrayLike, features: ArrayLike | None = None) -> Array:
        """Return the expected rewards: see `Policy.expected`."""
        arms = distinct(candidates, self.arms)
        return self._means(arms, self._features(features, arms.size))

    def _features(self, features: ArrayLike | None, rows: int) -> Array:
        """Check the features; a policy without features reads none."""
        return np.empty((rows, 0))

    @abstractmethod
    def _scores(self, arms: Indices, generator: Generator, features: Array) -> Array:
        """Draw or compute the scores, shape (arms,)."""

    @abstractmethod
    def _learn(self, arms: Indices, rewards: Array, weights: Array, features: Array) -> None:
        """Add weighted rewards to the state; those of a negative weight are taken back."""

    @abstractmethod
    def _first(self, arms: Indices, features: Array) -> Array:
        """Compute the probability of each arm to have the highest score."""

    @abstractmethod
    def _ranks(self, arms: Indices, shown: Indices, k: int, features: Array) -> TopK:
        """Compute the probabilities of ranks of the arms at places `shown`."""

    @abstractmethod
    def _means(self, arms: Indices, features: Array) -> Array:
        """Compute the expected rewards, shape (arms,)."""


def row_weights(weights: ArrayLike | None, rows: int) -> Array:
    """Check what rows count, from 0 to 1; None: 1 each."""
    return np.ones(rows) if weights is None else real("weights", weights, (rows,), (0, 1))


def order(scores: Array, generator: Generator) -> Indices:
    """Return the places of scores, highest first; ties in random order."""
    return np.lexsort((generator.random(scores.size), -scores))


def share_of_best(scores: Array) -> Array:
    """Return the probability of each score to come first: the highest ones share it equally."""
    best = scores == scores.max()
    return np.asarray(best / best.sum())


def distinct(candidates: ArrayLike, arms: int) -> Indices:
    """Check candidates: at least one arm, and none twice."""
    found = indices("candidates", candidates, arms)
    if not found.size:
        raise BadData("candidates: is empty, expected at least one arm")
    if np.unique(found).size != found.size:
        raise BadData("candidates: an arm appears twice")
    return found


def places_of(shown: ArrayLike, arms: Indices) -> Indices:
    """Return the places of shown arms among the candidates.

    Raises:
        BadData: One is not a candidate, or is there twice.
    """
    wanted = indices("shown", shown, int(arms.max()) + 1)
    order = np.argsort(arms, kind="stable")
    places = order[np.minimum(np.searchsorted(arms[order], wanted), arms.size - 1)]
    if (arms[places] != wanted).any() or np.unique(wanted).size != wanted.size:
        raise BadData("shown: expected different candidates")
    return places


def check_length(k: Any, candidates: int) -> None:
    """Check the length of a ranking."""
    if not isinstance(k, int | np.integer) or not 1 <= k <= candidates:
        raise BadData(f"k: is {k}, expected 1 to the number of candidates, {candidates}")


def indices(name: str, values: ArrayLike, count: int) -> Indices:
    """Check a one-dimensional array of indices in [0, count)."""
    try:
        array: NDArray[Any] = np.asarray(values)
    except ValueError as error:
        raise BadData(f"{name}: expected a list of whole numbers") from error
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise BadData(f"{name}: expected a list of whole numbers")
    refuse(name, array, (array >= 0) & (array < count), f"[0, {count})")
    return array.astype(np.intp)


def numbers(name: str, values: ArrayLike) -> Array:
    """Read an argument as an array of numbers of any shape."""
    try:
        return floats(name, values).astype(np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadData(f"{error}") from error


def real(
    name: str,
    values: ArrayLike,
    shape: tuple[int, ...],
    limits: tuple[float, float] = (-LARGEST, LARGEST),
) -> Array:
    """Check an array of numbers: its shape, and that they are within limits."""
    array = numbers(name, values)
    if array.shape != shape:
        raise BadData(f"{name}: shape is {array.shape}, expected {shape}")
    low, high = limits
    refuse(name, array, (array >= low) & (array <= high), f"[{low:g}, {high:g}]")
    return array


def refuse(name: str, values: NDArray[Any], good: NDArray[np.bool_], expected: str) -> None:
    """Raise for the first value that is not good.

    Raises:
        BadData: The message has its index.
    """
    if not good.all():
        place = [int(each) for each in np.argwhere(~good)[0]]
        raise BadData(f"{name}{place}: {values[tuple(place)]} is not in {expected}")


def positive(**values: float) -> None:
    """Check parameters of a policy; the limits leave room to learn within those of the sampler.

    Raises:
        UsageError: One is outside [1e-300, 1e12].
    """
    within(1e-300, 1e12, **values)


def within(low: float, high: float, **values: float) -> None:
    """Check parameters of a policy.

    Raises:
        UsageError: One is outside [low, high].
    """
    for name, value in values.items():
        if not low <= value <= high:
            raise UsageError(f"{name}: is {value!r}, expected a number in [{low:g}, {high:g}]")


def whole(high: int, **values: Any) -> None:
    """Check numbers of things.

    Raises:
        UsageError: One is not a whole number in [1, high].
    """
    for name, value in values.items():
        if not isinstance(value, int | np.integer) or not 1 <= value <= high:
            raise UsageError(f"{name}: is {value!r}, expected a whole number in [1, {high}]")
