"""A policy judged on a log: estimates, intervals, support, and warnings with stated thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlkit.bandit.evaluation import estimators, resampling, terms
from mlkit.bandit.evaluation.decisions import Decisions
from mlkit.bandit.evaluation.target import Target, unsupported
from mlkit.bandit.evaluation.terms import Settings, Terms

Array = NDArray[np.float64]
Ends = tuple[float, float]

LEAST_EFFECTIVE = 100.0
"""Rows of the effective sample size, and rows that replay keeps."""
LARGEST_SHARE = 0.05
"""Share of all weight that one row may have."""
LARGEST_UNSUPPORTED = 0.05
"""Share of the policy's probability that may be on arms which the log lacks."""
WEIGHT_ERROR, WEIGHT_DEVIATIONS = 0.05, 4.0
"""How far the mean weight may be from 1: absolute, and in standard errors; beyond both is wrong."""
LEAST_REWARDED = 10.0
"""Effective number of rows with a reward: where rewards are rare, an estimate rests on them."""


@dataclass(frozen=True)
class Estimate:
    """The result of an estimator.

    Attributes:
        estimator: Its name.
        value: The reward per row, of slate estimators per slate; None: the log does not support it.
        bootstrap: Ends of the percentile bootstrap interval.
        bernstein: Ends of the empirical Bernstein interval; None where there is none.
    """

    estimator: str
    value: float | None
    bootstrap: Ends | None
    bernstein: Ends | None


@dataclass(frozen=True)
class Support:
    """How well a log supports estimates of a policy.

    Attributes:
        effective: Effective sample size, in rows.
        largest: The largest weights, in descending order, at most five.
        largest_share: The share of all weight that the largest has.
        mean: The mean weight; near 1 if the propensities are right and the log has the support.
        unsupported: Share of the policy's probability on arms that the log lacks; None: unknown.
        rewarded: Effective number of rows with a reward, (sum |w r|)^2 / sum (w r)^2.
        replayed: Rows that replay keeps.
    """

    effective: float
    largest: tuple[float, ...]
    largest_share: float
    mean: float
    unsupported: float | None
    rewarded: float
    replayed: int


@dataclass(frozen=True)
class Judgement:
    """A policy judged on a log.

    Attributes:
        policy: Its name.
        estimates: One per estimator.
        support: How well the log supports it.
        warnings: Why the estimates may be worthless; empty: nothing was found.
        samples: Estimates of the bootstrap samples, shape (resamples, estimators).
    """

    policy: str
    estimates: tuple[Estimate, ...]
    support: Support
    warnings: tuple[str, ...]
    samples: Array

    def value(self, estimator: str) -> float | None:
        """Return the estimate of an estimator; None if it has none."""
        return next((e.value for e in self.estimates if e.estimator == estimator), None)


def logged_value(decisions: Decisions, how: Settings) -> Estimate:
    """Return what the log's own policy earned per row, with its intervals."""
    units = _units(decisions)
    own = terms.of_rewards(decisions)
    samples = resampling.resample([own], units, how.resamples, how.seed)
    return _estimate(own, samples[:, 0], units, how.level)


def judge(decisions: Decisions, target: Target, how: Settings) -> Judgement:
    """Judge a policy on a log.

    Raises:
        BadData: A probability is out of range; the message names the row.
    """
    weight = estimators.weights(target.taken, decisions.propensity)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite becomes None
        return _judge(decisions, target, weight, how)


def _judge(decisions: Decisions, target: Target, weight: Array, how: Settings) -> Judgement:
    found, units = terms.all_terms(decisions, target, weight, how), _units(decisions)
    samples = resampling.resample(found, units, how.resamples, how.seed)
    estimates = tuple(
        _estimate(each, samples[:, column], units, how.level) for column, each in enumerate(found)
    )
    support = _support(decisions, target, weight, found)
    warnings = tuple(_warnings(support, weight))
    return Judgement(target.name, estimates, support, warnings, samples)


def difference(one: Judgement, other: Judgement, estimator: str, level: float) -> Estimate | None:
    """Return the estimate of `one` less that of `other`, from the same bootstrap samples."""
    value, base = one.value(estimator), other.value(estimator)
    if value is None or base is None:
        return None
    paired = _samples(one, estimator) - _samples(other, estimator)
    return Estimate(estimator, value - base, resampling.percentiles(paired, level), None)


def _samples(judgement: Judgement, estimator: str) -> Array:
    names = [each.estimator for each in judgement.estimates]
    return np.asarray(judgement.samples[:, names.index(estimator)])


def _units(decisions: Decisions) -> NDArray[np.int64]:
    return np.arange(len(decisions)) if decisions.slate is None else decisions.slate


def _estimate(found: Terms, samples: Array, units: NDArray[np.int64], level: float) -> Estimate:
    value = found.estimate
    if value is None or not np.isfinite(value):
        return Estimate(found.name, None, None, None)
    bernstein = resampling.bernstein(found, units, level)
    if bernstein is not None and not np.isfinite(bernstein).all():
        bernstein = None
    return Estimate(found.name, value, resampling.percentiles(samples, level), bernstein)


def _support(decisions: Decisions, target: Target, weight: Array, found: list[Terms]) -> Support:
    most = float(weight.max())
    overlap = estimators.support(weight / most if most else weight)  # squares do not overflow
    largest = tuple(map(float, np.sort(weight)[:-6:-1]))
    return Support(
        effective=overlap.effective,
        largest=largest,
        largest_share=1 / (overlap.mean * len(weight)) if most else 0.0,
        mean=most * overlap.mean,
        unsupported=unsupported(target, decisions),
        rewarded=_effective(np.abs(weight / (most or 1.0) * decisions.reward)),
        replayed=int(found[0].denominator.sum()),
    )


def _effective(values: Array) -> float:
    most = float(values.max())
    return estimators.support(values / most).effective if most else 0.0


def _warnings(support: Support, weight: Array) -> Iterator[str]:
    if support.effective < LEAST_EFFECTIVE:
        rows = f"{support.effective:.1f} rows, below {LEAST_EFFECTIVE:g}"
        yield f"the effective sample size is {rows}: the estimates are worthless"
    if support.largest_share > LARGEST_SHARE:
        share = f"{support.largest_share:.1%} of all weight, above {LARGEST_SHARE:.0%}"
        yield f"one row has {share}: the estimates rest on it"
    if support.unsupported is not None and support.unsupported > LARGEST_UNSUPPORTED:
        share = f"{support.unsupported:.1%} of the policy, above {LARGEST_UNSUPPORTED:.0%}"
        yield f"the log never shows {share}: only a model knows what that earns"
    if _is_far_from_one(weight):
        mean = f"the mean weight is {support.mean:.3f} and should be near 1"
        yield f"{mean}: propensities are wrong, or the log lacks what the policy shows"
    if support.rewarded < LEAST_REWARDED:
        rows = f"{support.rewarded:.1f} rows, below {LEAST_REWARDED:g}"
        yield f"rewards are as rare as on {rows}: the intervals are too narrow"
    if support.replayed < LEAST_EFFECTIVE:
        yield f"replay keeps {support.replayed} rows, below {LEAST_EFFECTIVE:g}"


def _is_far_from_one(weight: Array) -> bool:
    error = float(weight.std()) / len(weight) ** 0.5
    return bool(abs(float(weight.mean()) - 1) > max(WEIGHT_ERROR, WEIGHT_DEVIATIONS * error))
