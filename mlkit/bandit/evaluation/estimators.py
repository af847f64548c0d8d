"""Estimators of a policy's value from the log of another policy.

Row i of a log has the reward r_i of the action that was taken with the probability p_i, its
propensity; the policy to be judged would have taken it with the probability q_i. With the weights
w_i = q_i / p_i and a model m of rewards, where m_i is that of the action taken and v_i the mean of
m under the policy to be judged, each estimator is a mean of terms, one for each row::

    inverse propensity score (IPS)   w_i r_i                          Horvitz and Thompson (1952)
    clipped                          min(w_i, c) r_i                  Ionides (2008)
    self-normalized (SNIPS)          w_i r_i / mean(w)                Swaminathan, Joachims (2015)
    direct method                    v_i
    doubly robust                    v_i + w_i (r_i - m_i)            Dudik, Langford and Li (2011)
    SWITCH                           v_i + w_i [w_i <= t] (r_i - m_i) Wang, Agarwal and Dudik (2017)
    more robust doubly robust (MRDR) doubly robust, m fitted with weights
                                     w_i^2 (1 - p_i)                  Farajtabar, Chow and
                                                                      Ghavamzadeh (2018)

The functions are pure: arrays of shape (rows,) in, the terms out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Support:
    """How well a log supports estimates of another policy.

    Attributes:
        rows: Rows of the log.
        effective: The effective sample size, (sum w)^2 / sum w^2 (Kish 1965), in rows.
        largest: The largest weight.
        mean: The mean weight; far from 1, the propensities or the policy are wrong.
    """

    rows: int
    effective: float
    largest: float
    mean: float


def weights(policy: Array, propensity: Array) -> Array:
    """Return the importance weights of the rows.

    Args:
        policy: Probabilities of the actions taken, under the policy to be judged; in [0, 1].
        propensity: Probabilities with which they were taken; in (0, 1].

    Raises:
        BadData: A probability is out of range; the message names the first row.
    """
    _check(policy, policy >= 0, "probability", "[0, 1]")
    _check(propensity, propensity > 0, "propensity", "(0, 1]")
    return np.asarray(policy / propensity)


def _check(values: Array, above: NDArray[np.bool_], name: str, expected: str) -> None:
    good = above & (values <= 1)
    if not good.all():
        row = int(np.argmin(good))
        raise BadData(f"row {row + 1}: {name} is {values[row]}, expected a number in {expected}")


def support(weight: Array) -> Support:
    """Measure the overlap of two policies by the weights of a log."""
    total, squares = float(weight.sum()), float(np.square(weight).sum())
    effective = total * total / squares if squares else 0.0
    rows = len(weight)
    return Support(rows, effective, float(weight.max(initial=0)), total / rows if rows else 0.0)


def inverse_propensity(weight: Array, reward: Array) -> Array:
    """Return the terms of IPS: unbiased where the log supports the policy."""
    return weight * reward


def clipped(weight: Array, reward: Array, most: float) -> Array:
    """Return the terms of IPS with weights of at most `most`: less variance, biased towards 0."""
    return np.minimum(weight, most) * reward


def self_normalized(weight: Array, reward: Array) -> Array:
    """Return the terms of SNIPS, whose mean stays within the range of the rewards."""
    mean = weight.mean() if len(weight) else 0.0
    return weight * reward / mean if mean else np.zeros_like(reward)


def direct(value: Array) -> Array:
    """Return the terms of the direct method: as good as the model of rewards."""
    return value


def doubly_robust(weight: Array, reward: Array, model: Array, value: Array) -> Array:
    """Return the terms of the doubly robust estimator.

    Args:
        weight: Importance weights.
        reward: Rewards.
        model: What the model expects of the actions taken.
        value: The mean of the model under the policy to be judged.
    """
    return value + weight * (reward - model)


def variance_weights(weight: Array, propensity: Array) -> Array:
    """Return the weights with which MRDR fits its model, scaled to at most 1.

    Given the context, the variance of a term of the doubly robust estimator is that of
    w (r - m) over the arms that the log may show: the mean of w^2 (r - m)^2 less the square of
    the mean of w (r - m). Without the products of different arms, a row contributes
    w^2 (1 - p) (r - m)^2; for a policy without chance this is (1 - p) / p^2 on the arm that it
    shows, as in the paper.

    Args:
        weight: Importance weights.
        propensity: Probabilities with which the arms were taken.
    """
    most = weight.max(initial=0)  # squares do not overflow
    return np.asarray(np.square(weight / most) * (1 - propensity) if most else 0 * weight)


def switched(weight: Array, reward: Array, model: Array, value: Array, most: float) -> Array:
    """Return the terms of SWITCH-DR: the model alone where a weight is above `most`."""
    return value + np.where(weight <= most, weight, 0.0) * (reward - model)
