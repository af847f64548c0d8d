"""The expected reward of an arm under its posterior, as an interval."""

from __future__ import annotations

from functools import singledispatch

import numpy as np
from scipy import special

from mlkit.bandit.policies.policy import Array, Indices, Policy
from mlkit.bandit.policies.thompson import (
    BetaThompson,
    GammaPoissonThompson,
    NormalThompson,
    TopTwoThompson,
)
from mlkit.bandit.policies.upper_bounds import BayesUCB

Band = tuple[Array, Array]


def beta_band(a: Array, b: Array, level: float) -> Band:
    """Return the central credible interval of Beta posteriors.

    Args:
        a: First parameters, shape (arms,).
        b: Second parameters, shape (arms,).
        level: The probability inside, in (0, 1).

    Returns:
        Lower and upper ends, shape (arms,) each.
    """
    low = special.betaincinv(a, b, (1 - level) / 2)
    return np.asarray(low), np.asarray(special.betaincinv(a, b, (1 + level) / 2))


@singledispatch
def credible_band(policy: Policy, arms: Indices, level: float) -> Band | None:
    """Return the central credible interval of arms' expected rewards.

    Args:
        policy: The policy.
        arms: The arms, shape (arms,).
        level: The probability inside, in (0, 1).

    Returns:
        Lower and upper ends, shape (arms,) each; None: the policy has no posterior of an arm.
    """
    return None


@credible_band.register
def _(policy: BetaThompson, arms: Indices, level: float) -> Band | None:
    return beta_band(policy.a[arms], policy.b[arms], level)


@credible_band.register
def _(policy: BayesUCB, arms: Indices, level: float) -> Band | None:
    pulls = policy.means.pulls[arms]
    sums = np.clip(policy.means.sums[arms], 0, pulls)
    return beta_band(policy.a + sums, policy.b + (pulls - sums), level)


@credible_band.register
def _(policy: GammaPoissonThompson, arms: Indices, level: float) -> Band | None:
    shape, rate = policy.shape[arms], policy.rate[arms]
    ends = special.gammaincinv(shape, (1 - level) / 2), special.gammaincinv(shape, (1 + level) / 2)
    return np.asarray(ends[0] / rate), np.asarray(ends[1] / rate)


@credible_band.register
def _(policy: NormalThompson, arms: Indices, level: float) -> Band | None:
    a, mean = policy.a[arms], policy.mean[arms]
    scale = np.sqrt(policy.b[arms] / (a * policy.kappa[arms]))
    away = scale * special.stdtrit(2 * a, (1 + level) / 2)
    return mean - away, mean + away


@credible_band.register
def _(policy: TopTwoThompson, arms: Indices, level: float) -> Band | None:
    return credible_band(policy.thompson, arms, level)
