"""How a decision is made within limits, and how probable it was.

A decision is a mixture: with the probability of `Rails.uniform` a random ranking, otherwise that of
the policy, the first place of which is drawn again where a maximum share binds. So its propensities
are a mixture too, of the exact ones of either. Pinned arms come before all that, and are certain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence

from mlkit.bandit._posterior_table import Fetched, ThompsonSampler
from mlkit.bandit.models.features import Named
from mlkit.bandit.models.model import PolicyModel
from mlkit.bandit.policies import guard_rails
from mlkit.bandit.policies.policy import Array, Indices
from mlkit.bandit.policies.ranking import mix, uniform_ranks
from mlkit.bandit.propensities import NoExactPropensities, TopK, top_k
from mlkit.bandit.server.decisions.rails import Rails

POLICY, UNIFORM, FALLBACK = "policy", "uniform", "fallback"


class Candidates(Protocol):
    """What a policy knows of the candidates of a decision: places from 0."""

    def __len__(self) -> int:
        """Count them."""

    def rank(self, k: int, seed: int) -> tuple[list[int], list[float]]:
        """Return the places of the top k by the policy, and their scores."""

    def ranks(self, shown: Sequence[int], k: int) -> TopK:
        """Return the probabilities of ranks of the candidates at places.

        Raises:
            NoExactPropensities: The policy has none for such a ranking.
        """


class BetaCandidates:
    """Candidates of Thompson sampling with Beta posteriors; all different."""

    def __init__(self, fetched: Fetched, sampler: ThompsonSampler) -> None:
        self._fetched, self._sampler = fetched, sampler
        self._places = {arm: place for place, arm in enumerate(fetched.candidates)}

    def __len__(self) -> int:
        """Count them."""
        return len(self._fetched)

    def rank(self, k: int, seed: int) -> tuple[list[int], list[float]]:
        """Return the places and draws of the top k."""
        arms, scores = self._sampler.top_k(self._fetched, k, seed)
        return [self._places[arm] for arm in arms], scores

    def ranks(self, shown: Sequence[int], k: int) -> TopK:
        """Integrate the probabilities of ranks."""
        return top_k(self._fetched.a, self._fetched.b, k, list(shown))


class ModelCandidates:
    """Candidates of a model.

    Args:
        model: The model.
        places: The arms' places in the model.
        features: Features of the context.
        vectors: Vectors of the arms' features, shape (arms, length); None: the model's.
    """

    def __init__(
        self,
        model: PolicyModel,
        places: Indices,
        features: Named | None,
        vectors: Array | None = None,
    ) -> None:
        self._model, self._places = model, places
        self._features, self._vectors = features, vectors
        self._of = {int(place): number for number, place in enumerate(places)}

    def __len__(self) -> int:
        """Count them."""
        return len(self._places)

    def rank(self, k: int, seed: int) -> tuple[list[int], list[float]]:
        """Return the places and scores of the top k."""
        found = self._model.rank(self._places, k, seed, self._features, self._vectors)
        return [self._of[int(arm)] for arm in found.arms], found.scores.tolist()

    def ranks(self, shown: Sequence[int], k: int) -> TopK:
        """Compute the probabilities of ranks."""
        places, features = self._places, self._features
        return self._model.ranks(places, places[list(shown)], k, features, self._vectors)


class Choice(NamedTuple):
    """A decision.

    Attributes:
        shown: Places of the candidates, best first.
        scores: Their scores by the policy.
        source: `policy`, or `uniform` for a random ranking.
        propensities: The probabilities of their ranks, if they were asked for.
        first: The probability of each candidate to be first, if it was asked for.
    """

    shown: list[int]
    scores: list[float]
    source: str
    propensities: TopK | None = None
    first: list[float] | None = None


class Wanted(NamedTuple):
    """What to compute of a decision beside it.

    Attributes:
        propensities: The probabilities of the ranks of what is shown.
        first: The probability of each candidate to be first, by which a log can be verified.
    """

    propensities: bool = False
    first: bool = False


def choose(candidates: Candidates, k: int, seed: int, rails: Rails, wanted: Wanted) -> Choice:
    """Decide which candidates to show.

    Args:
        candidates: All that may be shown and is not pinned.
        k: How many to show.
        seed: Decides all that is random.
        rails: The limits.
        wanted: What to compute beside.

    Raises:
        NoExactPropensities: The decision has none; the message states why.
    """
    count = len(candidates)
    k = min(k, count)
    if not k:
        none = TopK(np.zeros((0, 0)), 1.0)
        return Choice([], [], POLICY, none if wanted.propensities else None)
    generator, uniform = Generator(PCG64(SeedSequence([seed, count]))), rails.uniform(count)
    most, first = max(rails.max_share, 1 / count), None
    if generator.random() < uniform:
        shown, scores = _by_chance(candidates, k, seed, generator)
        source = UNIFORM
    else:
        if most < 1:
            first = _limit_first_place(candidates, most)
        shown, scores = _by_policy(candidates, k, seed, generator, first)
        source = POLICY
    exact, every = None, None
    if wanted.first:
        every = first_shares(candidates, rails, count).tolist()
    if wanted.propensities:
        exact = exact_ranks(candidates, shown, k, rails)
    return Choice(shown, scores, source, exact, every)


def first_shares(candidates: Candidates, rails: Rails, count: int) -> Array:
    """Return the probability of each candidate to be first in a decision of `choose`.

    Args:
        candidates: All that may be shown and is not pinned, or those of them that may be the best.
        rails: The limits.
        count: How many may be shown.

    Raises:
        NoExactPropensities: The policy has none.
    """
    uniform, most = rails.uniform(count), max(rails.max_share, 1 / count)
    return np.asarray(uniform / count + (1 - uniform) * _limit_first_place(candidates, most))


def exact_ranks(candidates: Candidates, shown: list[int], k: int, rails: Rails) -> TopK:
    """Return the probabilities of ranks of shown candidates in a decision of `choose`.

    Args:
        candidates: All that may be shown and is not pinned.
        shown: Places of those to compute for.
        k: How many are shown.
        rails: The limits.

    Raises:
        NoExactPropensities: The decision has none.
    """
    count = len(candidates)
    uniform, most = rails.uniform(count), max(rails.max_share, 1 / count)
    own = _policy_ranks(candidates, shown, k, most)
    if not uniform:
        return own
    return mix(uniform, uniform_ranks(count, len(shown), k), own)


def _by_chance(
    candidates: Candidates, k: int, seed: int, generator: Generator
) -> tuple[list[int], list[float]]:
    scores = dict(zip(*candidates.rank(len(candidates), seed), strict=True))
    shown = [int(place) for place in generator.permutation(len(candidates))[:k]]
    return shown, [scores[place] for place in shown]


def _by_policy(
    candidates: Candidates, k: int, seed: int, generator: Generator, first: Array | None
) -> tuple[list[int], list[float]]:
    if first is None:
        return candidates.rank(k, seed)
    scores = dict(zip(*candidates.rank(len(candidates), seed), strict=True))
    best = guard_rails.draw(first, generator)
    shown = [best, *(place for place in scores if place != best)][:k]
    return shown, [scores[place] for place in shown]


def _limit_first_place(candidates: Candidates, most: float) -> Array:
    """Return the probabilities of the first place under a maximum share."""
    found = candidates.ranks(range(len(candidates)), 1).first
    whole = found / found.sum()
    return whole if most >= 1 else guard_rails.with_maximum_share(whole, most)


def _policy_ranks(candidates: Candidates, shown: list[int], k: int, most: float) -> TopK:
    if most >= 1:
        return candidates.ranks(shown, k)
    if k > 1:
        raise NoExactPropensities(
            "propensities: exact under --max-share for k = 1 only: the ranks below the first "
            "depend on what was drawn there"
        )
    first = _limit_first_place(candidates, most)[shown]
    return TopK(first[:, None], float(first[0]))


def prepend_pinned(pinned: int, rest: TopK | None, k: int) -> TopK | None:
    """Return the propensities of pinned arms, which are certain, and of those after them."""
    if rest is None or not pinned:
        return rest
    ranks = np.zeros((pinned + len(rest.ranks), k))
    ranks[:pinned, :pinned] = np.eye(pinned)
    ranks[pinned:, pinned : pinned + rest.ranks.shape[1]] = rest.ranks
    return TopK(ranks, rest.slate)


def certain(count: int) -> TopK:
    """Return the propensities of a fixed list."""
    return TopK(np.eye(count), 1.0)
