"""Every estimator of a policy as a ratio of sums over rows, so that one bootstrap serves all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlkit.bandit.evaluation import estimators, reward_model, slates
from mlkit.bandit.evaluation.decisions import Decisions
from mlkit.bandit.evaluation.defaults import LEVEL, RESAMPLES
from mlkit.bandit.evaluation.target import Target

Array = NDArray[np.float64]

_NAMES = {
    "logged": "mean",
    "ips": "IPS",
    "clipped": "clipped IPS",
    "snips": "SNIPS",
    "dm": "direct method",
    "dr": "doubly robust",
    "switch-dr": "SWITCH-DR",
    "mrdr": "MRDR",
    "iips": "IIPS, per slate",
    "rips": "RIPS, per slate",
    "sips": "SIPS, per slate",
}


@dataclass(frozen=True)
class Settings:
    """How policies are judged.

    Attributes:
        clip: Largest weight of clipped IPS.
        switch: Weight above which SWITCH-DR trusts the model alone.
        by_context: Whether the model of rewards is one per cell, or one per arm and position.
        level: Confidence, in (0, 1).
        resamples: Bootstrap samples.
        seed: Makes folds, replay and bootstrap repeatable.
    """

    clip: float
    switch: float
    by_context: bool = True
    level: float = LEVEL
    resamples: int = RESAMPLES
    seed: int = 0


@dataclass(frozen=True)
class Terms:
    """One estimator: sum(numerator) / sum(denominator) over the rows.

    Attributes:
        name: The estimator.
        numerator: Shape (rows,).
        denominator: Shape (rows,).
        span: Largest possible term of a row less the smallest, where the estimator is a mean of
            terms; None: there is no empirical Bernstein interval.
        influence: Added to the numerator for intervals only; its sum is 0.
        subset: Whether the estimator is the mean over the rows whose denominator is 1.
    """

    name: str
    numerator: Array
    denominator: Array
    span: float | None = None
    influence: Array | None = None
    subset: bool = False

    @property
    def estimate(self) -> float | None:
        """The estimate; None where nothing supports one."""
        below = float(self.denominator.sum())
        return float(self.numerator.sum()) / below if below else None


def name_of(estimator: str) -> str:
    """Return the name of an estimator as tables and pages show it."""
    return _NAMES.get(estimator, estimator.replace("ips at", "IPS at"))


def of_rewards(decisions: Decisions) -> Terms:
    """Return the mean reward of the log: what its own policy earned."""
    low, high = decisions.reward_range
    return Terms("logged", decisions.reward, np.ones(len(decisions)), high - low)


def all_terms(decisions: Decisions, target: Target, weight: Array, how: Settings) -> list[Terms]:
    """Return the terms of all estimators that the log and the policy allow."""
    found = [replay(decisions, weight, how.seed), *_weighted(decisions, weight, how)]
    if target.table is not None:
        found += _modelled(decisions, target.table, weight, how)
    if len(decisions.positions) > 1:
        found += _by_position(decisions, weight)
    if decisions.slate is not None:
        found += _by_slate(decisions, weight, decisions.slate)
    elif len(decisions.positions) > 1:
        found.append(_item_position(decisions, weight))
    return found


def replay(decisions: Decisions, weight: Array, seed: int) -> Terms:
    """Keep a row with the probability w / max(w): the kept rows are as if the policy chose.

    On a uniform log and for a policy without chance this is the replay of Li et al. (2011).
    """
    generator = np.random.Generator(np.random.SFC64(seed))
    largest = weight.max(initial=0)
    drawn = generator.random(len(weight)) * largest
    kept = ((drawn < weight) & (largest > 0)).astype(float)
    low, high = decisions.reward_range
    return Terms("replay", kept * decisions.reward, kept, high - low, subset=True)


def _weighted(decisions: Decisions, weight: Array, how: Settings) -> Iterator[Terms]:
    reward, ones = decisions.reward, np.ones(len(decisions))
    largest = float(weight.max(initial=0))
    ips = estimators.inverse_propensity(weight, reward)
    yield Terms("ips", ips, ones, _span(decisions, largest))
    least = min(largest, how.clip)
    clipped = estimators.clipped(weight, reward, how.clip)
    yield Terms("clipped", clipped, ones, _span(decisions, least))
    yield Terms("snips", ips, weight)


def _span(decisions: Decisions, largest: float) -> float:
    """Return the span of weight times reward, for weights in [0, largest]."""
    low, high = decisions.reward_range
    return largest * (max(high, 0.0) - min(low, 0.0))


def _modelled(decisions: Decisions, table: Array, weight: Array, how: Settings) -> Iterator[Terms]:
    fold = reward_model.folds(decisions, how.seed)
    model = reward_model.predict(decisions, table, fold, by_context=how.by_context)
    ones, reward = np.ones(len(decisions)), decisions.reward
    moved = model.influence * (reward - model.taken)
    value = estimators.direct(model.value)
    # The terms vary with the cells only; that the model itself is estimated widens the interval.
    yield Terms("dm", value, ones, influence=moved - moved.mean())
    low, high = decisions.reward_range
    largest = float(weight.max(initial=0))
    for name, most in (("dr", largest), ("switch-dr", how.switch)):
        terms = estimators.switched(weight, reward, model.taken, model.value, most)
        yield Terms(name, terms, ones, (high - low) * (1 + 2 * min(most, largest)))
    matters = estimators.variance_weights(weight, decisions.propensity)
    model = reward_model.predict(decisions, table, fold, by_context=how.by_context, weight=matters)
    terms = estimators.doubly_robust(weight, reward, model.taken, model.value)
    yield Terms("mrdr", terms, ones, (high - low) * (1 + 2 * largest))


def _by_position(decisions: Decisions, weight: Array) -> Iterator[Terms]:
    for number, position in enumerate(decisions.positions):
        there = (decisions.position == number).astype(float)
        yield Terms(f"ips at position {position}", there * weight * decisions.reward, there)


def _item_position(decisions: Decisions, weight: Array) -> Terms:
    """Return IIPS of rows whose slates are not known: the sum of the means of the positions."""
    share = len(decisions) / np.bincount(decisions.position)
    scaled = weight * share[decisions.position]
    span = _span(decisions, float(scaled.max(initial=0)))
    return Terms("iips", scaled * decisions.reward, np.ones(len(decisions)), span)


def _by_slate(decisions: Decisions, weight: Array, slate: NDArray[np.int64]) -> Iterator[Terms]:
    slates_, reward = slates.first_rows(slate), decisions.reward
    for name, factor in (
        ("iips", weight),
        ("rips", slates.cumulative_weights(weight, slate, decisions.position)),
        ("sips", slates.slate_weights(weight, slate)),
    ):
        span = _span(decisions, float(factor.max(initial=0)))
        yield Terms(name, factor * reward, slates_, span)
