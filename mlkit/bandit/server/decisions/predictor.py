"""Predictions with limits, with propensities, or by a model: all but plain Thompson sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from mlkit.bandit._posterior_table import Fetched, ThompsonSampler
from mlkit.bandit.models.features import Named
from mlkit.bandit.models.model import PolicyModel
from mlkit.bandit.policies.policy import Array, Indices
from mlkit.bandit.propensities import NoExactPropensities, TopK, top_k
from mlkit.bandit.server.api.messages import PredictRequest
from mlkit.bandit.server.decisions.choice import (
    FALLBACK,
    POLICY,
    BetaCandidates,
    Choice,
    ModelCandidates,
    Wanted,
    certain,
    choose,
    exact_ranks,
    prepend_pinned,
)
from mlkit.bandit.server.decisions.decision_log import PostProcessed
from mlkit.bandit.server.decisions.policy_reader import PolicyReader
from mlkit.bandit.server.decisions.rails import Rails
from mlkit.bandit.stores.shared_model import Unreadable
from mlkit.bandit.stores.store import PosteriorReader, settle
from mlkit.errors import MlkitError
from mlkit.web.errors import RequestError, unavailable

_NONE: Mapping[str, Array] = MappingProxyType({})


class Predicted(NamedTuple):
    """A decision and what is logged of it.

    Attributes:
        arms: The arms, best first.
        scores: Their scores by the policy; 0 for an arm that the policy did not rank.
        source: `policy`, `uniform` or `fallback`.
        candidates: The arms that could be shown.
        unknown_contexts: Candidates without a posterior in the context.
        unknown_arms: Candidates that are not known.
        propensities: The probabilities of the ranks of `arms`; None: not asked for, or none.
        refusal: Why there are none.
        first: The probability of each candidate to be first, if it was asked for.
        post_process: What business rules made of it; None: there are none.
    """

    arms: list[str]
    scores: list[float]
    source: str
    candidates: Sequence[str]
    unknown_contexts: int = 0
    unknown_arms: int = 0
    propensities: TopK | None = None
    refusal: str = ""
    first: list[float] | None = None
    post_process: PostProcessed | None = None


class Predictor:
    """Decides within limits.

    Args:
        rails: The limits.
        sampler: Draws from Beta posteriors.
    """

    def __init__(self, rails: Rails, sampler: ThompsonSampler) -> None:
        self._rails = rails
        self._sampler = sampler

    async def predict(
        self,
        store: PosteriorReader | PolicyReader,
        request: PredictRequest,
        seed: int,
        place: str,
        wanted: Wanted,
        vectors: Mapping[str, Array] = _NONE,
    ) -> Predicted:
        """Decide; the seed decides all that is random.

        Args:
            store: The posteriors, or the model.
            request: What is asked for.
            seed: The seed.
            place: Where the request is in the body.
            wanted: What is computed beside the decision.
            vectors: Vectors of arms' features that are not those of the model.

        Raises:
            RequestError: 422: an id or a feature is wrong, or a candidate is named twice.
        """
        named = request.candidates
        if named is not None and len(set(named)) < len(named):
            twice = next(arm for number, arm in enumerate(named) if arm in named[:number])
            hint = "only plain Thompson sampling draws an arm more than once"
            raise RequestError(422, f"{place}candidates: {twice!r:.80} is named twice", hint)
        if isinstance(store, PolicyReader):
            return self._by_model(store, request, seed, place, wanted, vectors)
        fetched = await self._fetch(store, request, place)
        return self._by_posteriors(fetched, request, seed, wanted)

    # Thompson sampling with Beta posteriors

    @staticmethod
    async def _fetch(store: PosteriorReader, request: PredictRequest, place: str) -> Fetched:
        if request.features is not None:
            hint = "send a context, or serve a model with features"
            raise RequestError(422, f"{place}features: the policy reads none", hint)
        try:
            return await settle(store.fetch(request.context, request.candidates))
        except ValueError as error:
            raise RequestError(422, f"{place}{error}", "correct the id") from None

    def _by_posteriors(
        self, fetched: Fetched, request: PredictRequest, seed: int, wanted: Wanted
    ) -> Predicted:
        names, pinned, free = self._split(fetched.candidates, request.k)
        a, b = fetched.a[free], fetched.b[free]
        candidates = BetaCandidates(Fetched([names[i] for i in free], a, b), self._sampler)
        found = self._choose(candidates, names, free, pinned, request.k, seed, wanted)
        return found._replace(
            unknown_contexts=fetched.unknown_contexts, unknown_arms=fetched.unknown_arms
        )

    def _split(self, names: Sequence[str], k: int) -> tuple[Sequence[str], list[int], list[int]]:
        """Return the names, and the places of the pinned arms and of those that are free."""
        rails = self._rails
        if not rails.pinned and not rails.blocked:
            return names, [], list(range(len(names)))
        at = {name: number for number, name in enumerate(names)}
        pinned = [at[name] for name in rails.pinned if name in at][:k]
        barred = rails.blocked.union(rails.pinned)
        return names, pinned, [at[name] for name in at if name not in barred]

    def _choose(
        self,
        candidates: BetaCandidates | ModelCandidates,
        names: Sequence[str],
        free: list[int],
        pinned: list[int],
        k: int,
        seed: int,
        wanted: Wanted,
    ) -> Predicted:
        rest, refusal = k - len(pinned), ""
        try:
            choice = choose(candidates, rest, seed, self._rails, wanted)
        except NoExactPropensities as error:
            refusal = error.message
            choice = self._choose_without(candidates, rest, seed, wanted)
        first = choice.first
        if wanted.first and pinned:
            first = [1.0] + [0.0] * (len(pinned) + len(free) - 1)
        shown = [*pinned, *(free[place] for place in choice.shown)]
        ranks = prepend_pinned(len(pinned), choice.propensities, len(shown))
        allowed = [names[place] for place in [*pinned, *free]]
        scores = [*[0.0] * len(pinned), *choice.scores]
        arms = [names[place] for place in shown]
        return Predicted(arms, scores, choice.source, allowed, 0, 0, ranks, refusal, first)

    def _choose_without(
        self, candidates: BetaCandidates | ModelCandidates, k: int, seed: int, wanted: Wanted
    ) -> Choice:
        """Decide without propensities of ranks; without those of first places only if need be."""
        try:
            return choose(candidates, k, seed, self._rails, wanted._replace(propensities=False))
        except NoExactPropensities:
            return choose(candidates, k, seed, self._rails, Wanted())

    async def ranks(
        self,
        store: PosteriorReader | PolicyReader,
        request: PredictRequest,
        arms: Sequence[str],
        place: str,
        vectors: Mapping[str, Array] = _NONE,
    ) -> TopK:
        """Return the probabilities of ranks of arms that another store's decision showed.

        Raises:
            RequestError: 422: an id or a feature is wrong.
            NoExactPropensities: This store's decision has none.
        """
        if isinstance(store, PolicyReader):
            model = store.read(PolicyModel.detach)
            places, _ = _places(model, request.candidates)
            names, pinned, free = self._split([model.ids[each] for each in places], request.k)
            chosen: BetaCandidates | ModelCandidates = _candidates(
                model, np.array(places, np.intp)[free], request.features, vectors
            )
        else:
            fetched = await self._fetch(store, request, place)
            names, pinned, free = self._split(fetched.candidates, request.k)
            ids = [names[each] for each in free]
            chosen = BetaCandidates(Fetched(ids, fetched.a[free], fetched.b[free]), self._sampler)
        own = [names[each] for each in free]
        shown = [own.index(arm) for arm in arms[len(pinned) :] if arm in own]
        found = TopK(np.zeros((0, 0)), 1.0)
        if shown:
            k = min(request.k - len(pinned), len(own))
            found = exact_ranks(chosen, shown, k, self._rails)
        return _spread(found, [names[each] for each in pinned], own, arms)

    # Models

    def _by_model(
        self,
        reader: PolicyReader,
        request: PredictRequest,
        seed: int,
        place: str,
        wanted: Wanted,
        vectors: Mapping[str, Array],
    ) -> Predicted:
        def decide(model: PolicyModel) -> Predicted:
            return self._decide(model, request, seed, wanted, vectors)

        try:
            if any(wanted):  # they take too long to be computed from what may change meanwhile
                return decide(reader.read(PolicyModel.detach))
            return reader.read(decide)
        except Unreadable:
            raise unavailable("the model is being changed") from None
        except MlkitError as error:
            raise RequestError(422, f"{place}{error.message}", error.hint or _HINT) from None

    def _decide(
        self,
        model: PolicyModel,
        request: PredictRequest,
        seed: int,
        wanted: Wanted,
        vectors: Mapping[str, Array],
    ) -> Predicted:
        places, unknown = _places(model, request.candidates)
        every = [model.ids[place] for place in places]
        names, pinned, free = self._split(every, request.k)
        own = np.array(places, np.intp)[free]
        chosen = _candidates(model, own, request.features, vectors)
        if not free:
            model.header.features.context_vector(request.features)
        found = self._choose(chosen, names, free, pinned, request.k, seed, wanted)
        return found._replace(unknown_arms=unknown)


def _candidates(
    model: PolicyModel, places: Indices, features: Named | None, vectors: Mapping[str, Array]
) -> ModelCandidates:
    """Return candidates with vectors of a store in place of those of the model."""
    if not vectors or not model.header.spec.is_shared:
        return ModelCandidates(model, places, features)
    own = model.vectors[places]
    for row, place in enumerate(places):
        own[row] = vectors.get(model.ids[place], own[row])
    return ModelCandidates(model, places, features, own)


def _spread(found: TopK, pinned: list[str], own: list[str], arms: Sequence[str]) -> TopK:
    """Return propensities with a row for every arm, of zeros for those that cannot be shown."""
    whole = prepend_pinned(len(pinned), found, len(arms))
    assert whole is not None
    ranks = np.zeros((len(arms), len(arms)))
    there = [row for row, arm in enumerate(arms) if arm in pinned or arm in own]
    width = min(whole.ranks.shape[1], len(arms))
    ranks[there, :width] = whole.ranks[: len(there), :width]
    is_possible = len(there) == len(arms) and list(arms[: len(pinned)]) == pinned
    return TopK(ranks, whole.slate if is_possible else 0.0)


def plain(
    fetched: Fetched, arms: list[str], scores: list[float], *, propensities: bool
) -> Predicted:
    """Return a decision of plain Thompson sampling as what is logged of it."""
    names, ranks, first = fetched.candidates, None, None
    if propensities and arms and len(set(names)) == len(names):
        at = {name: place for place, name in enumerate(names)}
        try:
            ranks = top_k(fetched.a, fetched.b, len(arms), [at[arm] for arm in arms])
            first = top_k(fetched.a, fetched.b).first.tolist()
        except NoExactPropensities as error:
            return Predicted(arms, scores, POLICY, names, refusal=error.message)
    return Predicted(arms, scores, POLICY, names, propensities=ranks, first=first)


def fallback(arms: Sequence[str], request: PredictRequest) -> Predicted:
    """Return the decision of a kill switch: the first arms of a list that are candidates."""
    if request.candidates is not None:
        allowed = set(request.candidates)
        arms = [arm for arm in arms if arm in allowed]
    shown = list(arms[: request.k])
    ranks = certain(len(shown))
    return Predicted(shown, [0.0] * len(shown), FALLBACK, list(arms), propensities=ranks)


def _places(model: PolicyModel, candidates: Sequence[str] | None) -> tuple[list[int], int]:
    """Return the places of the candidates that are there, and how many are not."""
    if candidates is None:
        return model.present().tolist(), 0
    found = [model.place(arm) for arm in candidates]
    known = [place for place in found if place is not None]
    return known, len(found) - len(known)


_HINT = "the description of the model's features is that of `mlkit bandit fit`"
