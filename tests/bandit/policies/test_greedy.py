"""Epsilon-greedy, softmax and explore-then-commit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mlkit.bandit.policies.greedy import EpsilonGreedy, ExploreThenCommit, Softmax


def test_epsilon_is_spread_and_the_rest_is_greedy():
    policy = EpsilonGreedy(4, 0.2)
    policy.update([0, 1, 2, 3], [1, 3, 3, 2])
    assert_allclose(policy.propensities([0, 1, 2, 3]), [0.05, 0.45, 0.45, 0.05])
    assert_allclose(policy.propensities([0, 3]), [0.1, 0.9])


def test_epsilon_decays_with_the_rewards_seen():
    """With decay 1: min(1, c K / (d^2 t)), figure 3 of Auer et al. (2002)."""
    policy = EpsilonGreedy(2, scale=5.0, decay=1.0)
    found = []
    for _ in range(3):
        found.append(policy.epsilon)
        policy.update([0] * 4, [0] * 4)
    assert_allclose(found, [1, 1, 5 / 9])


def test_softmax_by_hand():
    policy = Softmax(3, temperature=0.5, unknown=1.0)
    policy.update([0, 0, 1], [1, 2, 1])
    expected = np.exp([3.0, 2.0, 2.0])
    assert_allclose(policy.propensities([0, 1, 2]), expected / expected.sum())
    assert_allclose(policy.propensities([2, 1]), [0.5, 0.5])


def test_softmax_bears_extreme_means():
    policy = Softmax(3, temperature=1e-300)
    policy.update([0, 1], [1e100, -1e100])
    assert policy.propensities([0, 1, 2]).tolist() == [1, 0, 0]


def test_softmax_ranks_without_replacement():
    """Plackett and Luce: P(1 then 0) = p1 p0 / (1 - p1)."""
    policy, rng = Softmax(3, 1.0), np.random.default_rng(1)
    policy.update([0, 1, 2], [0.0, 1.0, 0.5])
    p = policy.propensities([0, 1, 2])
    rankings = [tuple(policy.select([0, 1, 2], rng, 2).tolist()) for _ in range(4000)]
    found = rankings.count((1, 0)) / 4000
    assert found == pytest.approx(p[1] * p[0] / (1 - p[1]), abs=0.03)


def test_explore_then_commit_takes_turns_and_stays_with_its_choice():
    policy, rng = ExploreThenCommit(3, 2), np.random.default_rng(1)
    reward = {0: 0.2, 1: 0.9, 2: 0.5}
    shown = []
    for _ in range(6):
        shown += policy.select([0, 1, 2], rng).tolist()
        policy.update(shown[-1:], [reward[shown[-1]]])
    assert sorted(shown[:3]) == sorted(shown[3:]) == [0, 1, 2]
    assert policy.propensities([0, 1, 2]).tolist() == [0, 1, 0]
    policy.update([1] * 100, [0.0] * 100)
    assert policy.propensities([0, 1, 2]).tolist() == [0, 1, 0]
    assert policy.select([2, 0], rng, 2).tolist() == [2, 0]


def test_explore_then_commit_learns_from_the_first_rewards_of_a_batch():
    policy = ExploreThenCommit(2, 2)
    policy.update([1, 0, 1, 1, 0, 0], [0.5, 0.1, 0.5, 0.0, 0.3, 9.0])
    assert policy.means.sums.tolist() == [pytest.approx(0.4), 1.0]
    assert policy.means.pulls.tolist() == [2, 2]


def test_negative_means_do_not_win_over_exploration():
    policy = ExploreThenCommit(3, 1)
    policy.update([0, 1], [1e9, -1e9])
    assert policy.propensities([0, 1, 2]).tolist() == [0, 0, 1]
