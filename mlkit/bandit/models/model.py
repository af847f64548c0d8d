"""A policy with named arms: what `fit` learns, files hold, and the server serves."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray

from mlkit.bandit.models.features import FeatureSchema, Named
from mlkit.bandit.policies import catalog
from mlkit.bandit.policies.catalog import PolicySpec
from mlkit.bandit.policies.policy import Array, Indices, Policy, Ranking
from mlkit.bandit.posteriors.forgetting import Forgetting, factor
from mlkit.bandit.posteriors.posterior import SourceFile
from mlkit.bandit.propensities import TopK
from mlkit.errors import BadData, UsageError

LEAST_CAPACITY = 16
MOST_NUMBERS = 1 << 28
"""The most numbers in the state of a model: 2 GiB, and as much again for what is derived."""


@dataclass(frozen=True)
class ModelHeader:
    """What a model is, without what it has learned.

    Attributes:
        model: Its name.
        spec: The policy.
        features: What the policy reads.
        source: The logs that it was fitted from.
        forgetting: How it ages, and the time of what was learned; None: it does not.

    Raises:
        UsageError: The policy and the features do not fit.
    """

    model: str
    spec: PolicySpec
    features: FeatureSchema = field(default_factory=FeatureSchema)
    source: tuple[SourceFile, ...] = ()
    forgetting: Forgetting | None = None

    def __post_init__(self) -> None:
        schema, name = self.features, self.spec.name
        if self.forgetting is not None:
            self.forgetting.check()
            if not self.spec.forgets:
                hint = "thompson, gamma-poisson, normal, ucb1, kl-ucb, bayes-ucb and others do"
                raise UsageError(f"--half-life: the policy {name} does not forget", hint=hint)
        if not self.spec.has_features and (schema.context or schema.arm):
            raise UsageError(f"the policy {name} reads no features", hint=_FEATURES_HINT)
        if self.spec.has_features and not schema.dimension:
            raise UsageError(f"the policy {name} reads features, and none are declared")
        if schema.arm and not self.spec.is_shared:
            hint = f"--policy {name}:shared=true has one model that reads them"
            raise UsageError(f"features of arms: {name} has a model per arm", hint=hint)
        if self.spec.is_shared and not schema.arm:
            hint = "--arm-features FILE: one model tells arms apart by their features"
            raise UsageError(f"the policy {self.spec} needs features of arms", hint=hint)


_FEATURES_HINT = "lin-ts, lin-ucb and logistic do"


class PolicyModel:
    """A model in memory.

    Attributes:
        header: What it is.
        policy: The policy, of at least as many arms as there are.
        ids: Ids of the arms, removed ones included.
        pulls: Rewards of each arm, shape (capacity,).
        removed: Whether each arm was removed, shape (capacity,).
        vectors: Vectors of the arms' features, shape (capacity, length).
        times: When what is known of each arm was as it is, in seconds since 1970, shape
            (capacity,); of a model that ages.

    Args:
        header: What it is.
        capacity: Arms to make room for.
    """

    def __init__(self, header: ModelHeader, capacity: int = LEAST_CAPACITY) -> None:
        self.header = header
        self.ids: list[str] = []
        self._places: dict[str, int] = {}
        self._length = (
            header.features.arm_vector({}).size
            if header.features.hashed
            else len(header.features.arm)
        )
        self._allocate(max(capacity, LEAST_CAPACITY))

    def _allocate(self, capacity: int) -> None:
        models = 1 if self.header.spec.is_shared else capacity
        size = models * self.header.features.dimension**2 + capacity * self._length
        if size > MOST_NUMBERS:
            text = f"{capacity} arms with {self.header.features.dimension} features"
            hint = "a shared model (shared=true) has one matrix for all arms"
            raise UsageError(f"{text} need more than {MOST_NUMBERS:,} numbers", hint=hint)
        self.policy: Policy = self.header.spec.make(capacity, self.header.features.dimension)
        self.pulls: Array = np.zeros(capacity)
        self.removed: NDArray[np.bool_] = np.zeros(capacity, bool)
        self.vectors: Array = np.zeros((capacity, self._length))
        aging = self.header.forgetting
        self.times: Array = np.full(capacity, 0.0 if aging is None else aging.as_of)

    def __len__(self) -> int:
        """Count the arms that are there."""
        return len(self.ids) - int(self.removed[: len(self.ids)].sum())

    # Arms

    def place(self, arm: str) -> int | None:
        """Return the place of an arm that is there, or None."""
        found = self._places.get(arm)
        return None if found is None or self.removed[found] else found

    def knows(self, arm: str) -> bool:
        """Return whether an arm is there, or was there and has been removed."""
        return arm in self._places

    def present(self) -> Indices:
        """Return the places of the arms that are there."""
        return np.flatnonzero(~self.removed[: len(self.ids)])

    def put(self, arm: str, features: Named | None = None) -> int:
        """Add an arm, or make one that is there new; return its place.

        Raises:
            BadData: The features are wrong.
        """
        vector = self.header.features.arm_vector(features)
        found = self._places.get(arm)
        if found is None:
            found = self.name(arm)
        else:
            self._reset(found)
        self.vectors[found] = vector
        return found

    def name(self, arm: str) -> int:
        """Assign the next place to a new arm."""
        place = len(self.ids)
        if place == self.pulls.size:
            self._grow()
        self.ids.append(arm)
        self._places[arm] = place
        return place

    def remove(self, arm: str) -> bool:
        """Remove an arm and what is known of it; False if it is not there."""
        place = self.place(arm)
        if place is None:
            return False
        self._reset(place)
        self.removed[place] = True
        return True

    def _reset(self, place: int) -> None:
        if not self.header.spec.is_shared:
            fresh = self.header.spec.make(1, self.header.features.dimension)
            catalog.unpack(self.policy, place, catalog.pack(fresh, 0))
        self.pulls[place], self.removed[place] = 0.0, False

    def _grow(self) -> None:
        before, pulls, removed, vectors = self.policy, self.pulls, self.removed, self.vectors
        times = self.times
        self._allocate(2 * pulls.size)
        for name, array in catalog.arrays(self.policy).items():
            old = catalog.arrays(before)[name]
            array[: len(old)] = old
        count = pulls.size
        self.pulls[:count], self.removed[:count] = pulls, removed
        self.vectors[:count], self.times[:count] = vectors, times

    def row(self, place: int) -> int:
        """Return the row of a policy's state that belongs to an arm."""
        return 0 if self.header.spec.is_shared else place

    def detach(self) -> PolicyModel:
        """Return a copy that later changes of this model leave alone."""
        found = copy.copy(self)
        found.policy = catalog.detach(self.policy)
        found.pulls, found.removed = self.pulls.copy(), self.removed.copy()
        found.vectors, found.ids = self.vectors.copy(), list(self.ids)
        found.times = self.times.copy()
        found._places = dict(self._places)
        return found

    # Learning and choosing

    def learn(
        self,
        place: int,
        reward: float,
        features: Named | None,
        at: float | None = None,
        arm: Named | None = None,
    ) -> None:
        """Learn from one reward; after an error nothing has been learned.

        Args:
            place: The arm's place.
            reward: The reward.
            features: Features of the context.
            at: When it was earned, in seconds since 1970; of a model that ages.
            arm: Features of the arm; None: those of the model.

        Raises:
            BadData: The reward or a feature is wrong.
        """
        self._change(self.policy.update, place, reward, features, at, arm)
        self.pulls[place] += 1

    def unlearn(
        self,
        place: int,
        reward: float,
        features: Named | None,
        at: float | None = None,
        arm: Named | None = None,
    ) -> None:
        """Take back a reward that was learned: see `learn`.

        Raises:
            BadData: The reward or a feature is wrong.
            UsageError: The policy cannot take a reward back.
        """
        self._change(self.policy.withdraw, place, reward, features, at, arm)
        self.pulls[place] = max(self.pulls[place] - 1, 0)

    def _change(
        self,
        change: Callable[..., None],
        place: int,
        reward: float,
        features: Named | None,
        at: float | None,
        arm: Named | None,
    ) -> None:
        context = self.header.features.context_vector(features)
        vectors = None if arm is None else self.header.features.arm_vector(arm)[None]
        design = self.design(np.array([place]), context, vectors)
        rows, weights = None if design is None else np.atleast_2d(design), None
        if self.header.forgetting is not None and at is not None:
            self._age(np.array([place]), max(at, self.times[place]))
            weights = [factor(at, self.times[place], self.header.forgetting.half_life)]
        change([place], [reward], rows, weights)

    def _age(self, places: Indices, at: float) -> None:
        """Bring what is known of arms to a time that is not before theirs."""
        assert self.header.forgetting is not None
        kept = np.exp2((self.times[places] - at) / self.header.forgetting.half_life)
        self.policy.forget(places, np.minimum(kept, 1.0))
        self.times[places] = at

    def age_to(self, at: float) -> None:
        """Bring all that is known to a time, in seconds since 1970, unless it is of a later one."""
        if self.header.forgetting is not None:
            self._age(np.flatnonzero(self.times <= at), at)

    def as_of(self, at: float) -> PolicyModel:
        """Return the model as it is at a time; one that does not age is returned itself."""
        aging = self.header.forgetting
        if aging is None:
            return self
        found = self.detach()
        found.age_to(at)
        found.header = replace(self.header, forgetting=aging._replace(as_of=at))
        return found

    def design(self, places: Indices, context: Array, vectors: Array | None = None) -> Array | None:
        """Return what the policy reads for arms in one context, or each in its own.

        Args:
            places: Places of the arms.
            context: Shape (length,), or (arms, length).
            vectors: Vectors of the arms' features, shape (arms, length); None: the model's.

        Returns:
            None: no features.
        """
        if not self.header.spec.has_features:
            return None
        arms = None
        if self.header.spec.is_shared:
            arms = self.vectors[places] if vectors is None else vectors
        return self.header.features.design(context, arms)

    def rank(
        self,
        places: Indices,
        k: int,
        seed: int,
        features: Named | None,
        vectors: Array | None = None,
    ) -> Ranking:
        """Choose the top k of arms; the seed decides all that is random.

        Args:
            places: Places of the arms.
            k: How many to choose.
            seed: Decides all that is random.
            features: Those of the context.
            vectors: Vectors of the arms' features, shape (arms, length); None: the model's.

        Raises:
            BadData: A feature is wrong, or there are no candidates.
        """
        design = self.design(places, self.header.features.context_vector(features), vectors)
        return self.policy.rank(places, Generator(PCG64(seed)), min(k, places.size), design)

    def ranks(
        self,
        places: Indices,
        shown: Indices,
        k: int,
        features: Named | None,
        vectors: Array | None = None,
    ) -> TopK:
        """Return the probabilities of ranks of the arms shown, among the candidates at `places`.

        The features are those of `rank`.

        Raises:
            BadData: A feature is wrong.
            NoExactPropensities: The policy has none for such a ranking.
        """
        design = self.design(places, self.header.features.context_vector(features), vectors)
        return self.policy.rank_propensities(places, shown, k, design)

    def named(self, arms: Sequence[str] | None) -> Indices:
        """Return the places of the arms that are there, among ids (None: all).

        Raises:
            BadData: An id is not there.
        """
        if arms is None:
            return self.present()
        places = [self.place(arm) for arm in arms]
        if None in places:
            raise BadData(f"no arm {arms[places.index(None)]!r:.80}")
        return np.array(places, dtype=np.intp)
