"""Upper confidence bounds by their papers' formulas."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize, stats

from mlkit.bandit.policies.upper_bounds import KLUCB, UCB1, BayesUCB, kl_bernoulli, kl_upper_bound

ARMS = np.arange(3)
SHOWN, REWARDS = [0] * 4 + [1] * 10 + [2] * 2, [1, 1, 1, 0] + [1] * 3 + [0] * 7 + [1, 1]


def learned(policy):
    policy.update(SHOWN, REWARDS)
    return policy.index(ARMS)


def test_ucb1_by_hand():
    width = np.sqrt(2 * np.log(16) / np.array([4, 10, 2]))
    assert_allclose(learned(UCB1(3)), np.array([0.75, 0.3, 1.0]) + width)


@pytest.mark.parametrize("c", [0.0, 3.0])
def test_kl_ucb_uses_up_its_budget(c):
    budget = np.log(17) + c * np.log(np.log(17))
    found = learned(KLUCB(3, c))
    for mean, pulls, bound in zip([0.75, 0.3], [4, 10], found, strict=False):
        expected = optimize.brentq(
            lambda q, mean=mean, pulls=pulls: pulls * kl_bernoulli(mean, q) - budget,
            mean,
            1 - 1e-12,
            xtol=1e-14,
        )
        assert bound == pytest.approx(expected, abs=1e-10)
    assert found[2] == pytest.approx(1.0)


def test_bounds_of_extreme_means():
    """With the mean 0, kl(0, q) = -log(1 - q)."""
    budget = np.array([0.0, 0.5, 40.0])
    assert_allclose(kl_upper_bound(np.zeros(3), budget), -np.expm1(-budget), atol=1e-12)
    assert_allclose(kl_upper_bound(np.ones(3), budget), 1.0)


def test_kl_bounds_are_tighter_than_hoeffding():
    """Pinsker's inequality: kl(p, q) >= 2 (p - q)^2."""
    mean, budget = np.linspace(0, 1, 21), np.full(21, 0.3)
    assert (kl_upper_bound(mean, budget) <= mean + np.sqrt(0.3 / 2) + 1e-12).all()


def test_bayes_ucb_is_a_quantile():
    expected = stats.beta([4, 4, 3], [2, 8, 1]).isf(1 / 17)
    assert_allclose(learned(BayesUCB(3)), expected, rtol=1e-12)


@pytest.mark.parametrize("make", [UCB1, KLUCB, BayesUCB])
def test_new_arms_share_the_traffic(make):
    assert_allclose(make(3).propensities(ARMS), 1 / 3)


@pytest.mark.parametrize("make", [UCB1, KLUCB])
def test_an_arm_without_rewards_comes_first(make):
    policy = make(3)
    policy.update([0, 1], [1, 1])
    assert policy.propensities([0, 2]).tolist() == [0, 1]


def test_kl_ucb_loses_less_than_ucb1():
    """As in Garivier and Cappe (2011): rare rewards, the best arm at 0.1."""
    mean = np.array([0.1, 0.05, 0.05, 0.02, 0.02, 0.02, 0.01])

    def lost(policy):
        rng, total = np.random.default_rng(1), 0.0
        for _ in range(2000):
            arm = int(policy.select(range(7), rng)[0])
            total += mean[0] - mean[arm]
            policy.update([arm], [float(rng.random() < mean[arm])])
        return total

    assert lost(KLUCB(7)) < 0.8 * lost(UCB1(7))
