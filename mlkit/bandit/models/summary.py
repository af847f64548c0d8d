"""Summaries of a model: expected rewards, shares, and draws."""

from __future__ import annotations

from typing import NamedTuple

from mlkit.bandit.models.features import Named
from mlkit.bandit.models.model import PolicyModel
from mlkit.bandit.policies.policy import Indices
from mlkit.bandit.posteriors.summary import Score
from mlkit.errors import BadData


class ArmSummary(NamedTuple):
    """The summary of an arm under a model.

    Attributes:
        arm: Its id.
        pulls: Rewards learned from.
        mean: Its expected reward.
        share: The probability with which the policy shows it first.
    """

    arm: str
    pulls: float
    mean: float
    share: float


def summarize(model: PolicyModel, features: Named | None = None) -> list[ArmSummary]:
    """Describe all arms, those shown most first.

    Args:
        model: The model.
        features: Features of the context.

    Raises:
        BadData: The model has no arms, or a feature is wrong.
    """
    places = _arms(model)
    design = model.design(places, model.header.features.context_vector(features))
    means = model.policy.expected(places, design)
    shares = model.policy.propensities(places, design)
    rows = [
        ArmSummary(model.ids[place], float(model.pulls[place]), float(mean), float(share))
        for place, mean, share in zip(places, means, shares, strict=True)
    ]
    return sorted(rows, key=lambda row: (-row.share, -row.mean, row.arm))


def sample(
    model: PolicyModel, k: int, draws: int, seed: int, features: Named | None = None
) -> list[list[Score]]:
    """Rank the arms as often as asked, by the seeds from `seed` on.

    Raises:
        BadData: The model has no arms, or a feature is wrong.
    """
    places = _arms(model)
    found = []
    for number in range(draws):
        ranking = model.rank(places, k, (seed + number) % 2**64, features)
        names = [model.ids[place] for place in ranking.arms]
        found.append([Score(*each) for each in zip(names, ranking.scores.tolist(), strict=True)])
    return found


def _arms(model: PolicyModel) -> Indices:
    places = model.present()
    if not places.size:
        raise BadData("the model has no arms")
    return places
