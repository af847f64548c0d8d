"""The arms of the dashboard: what is known of the best ones, and which traffic they get."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlkit.bandit._posterior_table import Fetched, PosteriorTable, ThompsonSampler
from mlkit.bandit.models.model import PolicyModel
from mlkit.bandit.policies.bands import Band, beta_band, credible_band
from mlkit.bandit.policies.policy import Array
from mlkit.bandit.propensities import NoExactPropensities
from mlkit.bandit.server.dashboard.documents import ArmOverview, Arms
from mlkit.bandit.server.dashboard.observer import RewardSums
from mlkit.bandit.server.dashboard.shares import Shown
from mlkit.bandit.server.decisions.choice import (
    BetaCandidates,
    Candidates,
    ModelCandidates,
    first_shares,
)
from mlkit.bandit.server.decisions.policy_reader import PolicyReader
from mlkit.bandit.server.decisions.rails import Rails
from mlkit.bandit.stores.store import PosteriorReader, settle

MOST_SHOWN = 40
MOST_COMPARED = 400
"""Arms among which the probability to be first is computed; others have next to none."""
LEVEL = 0.9
_SPREADS = 3.0
_QUANTILE = 1.6448536269514722
"""Of the Normal distribution, for `LEVEL`."""


class Leading(NamedTuple):
    """The arms that may well be the best.

    Attributes:
        total: How many arms there are.
        names: Their ids.
        pulls: Rewards that they have learned from, shape (arms,).
        means: Expected rewards; None: they depend on features.
        band: Interval of what is expected; None: there is no posterior of an arm.
        candidates: Returns what the policy knows of those at places; None: it depends on features.
    """

    total: int
    names: list[str]
    pulls: Array
    means: Array | None
    band: Band | None
    candidates: Callable[[list[int]], Candidates] | None


async def leading(store: PosteriorReader | PolicyReader, sampler: ThompsonSampler) -> Leading:
    """Return the leading arms of a store.

    Raises:
        Unreadable: The model is being changed.
    """
    if isinstance(store, PolicyReader):
        return store.read(_of_model)
    if isinstance(store, PosteriorTable):
        (ends, text), a, b, pulls = store.export_arms()
        best = _best_of(a, b)
        names = [text[ends[each] : ends[each + 1]].tobytes().decode() for each in best]
        total = len(a)
    else:
        rows = await settle(store.arms(None, MOST_COMPARED))
        names, total = [row[0] for row in rows], (await settle(store.size()))[0]
        a, b, pulls = np.array([row[1:] for row in rows] or np.empty((0, 3)), float).T
        best = _best_of(a, b)
        names = [names[each] for each in best]
    a, b = a[best], b[best]

    def candidates(places: list[int]) -> Candidates:
        return BetaCandidates(Fetched([names[i] for i in places], a[places], b[places]), sampler)

    return Leading(total, names, pulls[best], a / (a + b), beta_band(a, b, LEVEL), candidates)


def _best_of(a: Array, b: Array) -> NDArray[np.intp]:
    """Return the places of the arms that may be the best, by a Normal approximation."""
    mean = a / (a + b)
    upper = mean + _SPREADS * np.sqrt(mean * (1 - mean) / (a + b + 1))
    return _largest(upper)


def _largest(values: Array) -> NDArray[np.intp]:
    if len(values) > MOST_COMPARED:
        return np.argpartition(-values, MOST_COMPARED)[:MOST_COMPARED]
    return np.arange(len(values))


def _of_model(model: PolicyModel) -> Leading:
    places = model.present()
    if model.header.spec.has_features:
        best = places[_largest(model.pulls[places])]
        names = [model.ids[each] for each in best]
        return Leading(len(places), names, model.pulls[best].copy(), None, None, None)
    means = model.policy.expected(places) if places.size else np.empty(0)
    best = _largest(means)
    chosen = places[best]
    names = [model.ids[each] for each in chosen]
    fixed = model.detach()  # The candidates are used later, when the model may be changing.

    def candidates(free: list[int]) -> Candidates:
        return ModelCandidates(fixed, chosen[free], None)

    band = credible_band(model.policy, chosen, LEVEL)
    return Leading(len(places), names, model.pulls[chosen].copy(), means[best], band, candidates)


def describe(leading: Leading, rails: Rails, rewards: dict[str, RewardSums], shown: Shown) -> Arms:
    """Return what is shown of the leading arms, the highest upper ends first.

    Args:
        leading: The arms.
        rails: The limits of what is shown.
        rewards: What each arm has earned since the start.
        shown: What came first since the start.
    """
    first = _first(leading, rails)
    arms = [
        _arm(leading, place, None if first is None else float(first[place]), rewards, shown)
        for place in range(len(leading.names))
    ]
    arms.sort(key=lambda each: (each.high is not None, each.high, each.pulls), reverse=True)
    return Arms(leading.total, LEVEL, shown.decisions, arms[:MOST_SHOWN])


def _arm(
    leading: Leading,
    place: int,
    first: float | None,
    rewards: dict[str, RewardSums],
    shown: Shown,
) -> ArmOverview:
    name = leading.names[place]
    mean = None if leading.means is None else float(leading.means[place])
    share = shown.first.get(name, 0) / shown.decisions if shown.decisions else None
    about = name, float(leading.pulls[place])
    if leading.band is not None:
        low, high = (float(end[place]) for end in leading.band)
        return ArmOverview(*about, mean, low, high, False, first, share)
    observed = _estimate(rewards.get(name))
    if observed is None:
        return ArmOverview(*about, mean, None, None, False, first, share)
    return ArmOverview(*about, observed[0], *observed[1:], True, first, share)


def _estimate(sums: RewardSums | None) -> tuple[float, float, float] | None:
    """Return the mean of rewards, and its interval by the Normal distribution."""
    if sums is None or sums.count < 2:
        return None
    mean = sums.total / sums.count
    spread = max(sums.squares - sums.total * mean, 0.0) / (sums.count - 1)
    away = _QUANTILE * (spread / sums.count) ** 0.5
    return mean, mean - away, mean + away


def _first(leading: Leading, rails: Rails) -> Array | None:
    """Return the probability of each arm to be first; None: there is no exact one."""
    names = leading.names
    if leading.candidates is None:
        return None
    first = np.zeros(len(names))
    pinned = next((names.index(name) for name in rails.pinned if name in names), None)
    if pinned is not None:
        first[pinned] = 1.0
        return first
    free = [place for place, name in enumerate(names) if name not in rails.blocked]
    if not free:
        return first
    count = leading.total - (len(names) - len(free))
    try:
        first[free] = first_shares(leading.candidates(free), rails, count)
    except NoExactPropensities:
        return None
    return np.clip(first, 0.0, 1.0)
