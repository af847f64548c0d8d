"""What all policies promise: rankings, repeatable choices, propensities that are frequencies."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mlkit import bandit
from mlkit.bandit.policies.greedy import EpsilonGreedy, ExploreThenCommit, Softmax
from mlkit.bandit.policies.linear import LinTS, LinUCB
from mlkit.bandit.policies.logistic import LogisticThompson
from mlkit.bandit.policies.thompson import (
    BetaThompson,
    GammaPoissonThompson,
    NormalThompson,
    TopTwoThompson,
)
from mlkit.bandit.policies.upper_bounds import KLUCB, UCB1, BayesUCB
from mlkit.errors import BadData, UsageError

ARMS, DIMENSION = 6, 3
POLICIES = {
    "beta": lambda: BetaThompson(ARMS),
    "gamma-poisson": lambda: GammaPoissonThompson(ARMS),
    "normal": lambda: NormalThompson(ARMS),
    "top-two": lambda: TopTwoThompson(BetaThompson(ARMS)),
    "ucb1": lambda: UCB1(ARMS),
    "kl-ucb": lambda: KLUCB(ARMS),
    "bayes-ucb": lambda: BayesUCB(ARMS),
    "epsilon-greedy": lambda: EpsilonGreedy(ARMS, 0.3),
    "softmax": lambda: Softmax(ARMS, 0.2),
    "explore-then-commit": lambda: ExploreThenCommit(ARMS, 3),
    "lin-ts": lambda: LinTS(ARMS, DIMENSION),
    "lin-ts-shared": lambda: LinTS(ARMS, DIMENSION, shared=True),
    "lin-ucb": lambda: LinUCB(ARMS, DIMENSION),
    "lin-ucb-shared": lambda: LinUCB(ARMS, DIMENSION, shared=True),
    "logistic": lambda: LogisticThompson(ARMS, DIMENSION),
    "logistic-shared": lambda: LogisticThompson(ARMS, DIMENSION, shared=True),
}
CANDIDATES = np.array([4, 0, 1, 5])
BERNOULLI = {
    "beta": lambda arms: BetaThompson(arms),
    "gamma-poisson": lambda arms: GammaPoissonThompson(arms),
    "normal": lambda arms: NormalThompson(arms, b=0.25),
    "top-two": lambda arms: TopTwoThompson(BetaThompson(arms), 0.97),
    "ucb1": lambda arms: UCB1(arms, 0.5),
    "kl-ucb": lambda arms: KLUCB(arms),
    "bayes-ucb": lambda arms: BayesUCB(arms),
    "epsilon-greedy": lambda arms: EpsilonGreedy(arms, 20.0, decay=1.0),
    "softmax": lambda arms: Softmax(arms, 0.1),
    "explore-then-commit": lambda arms: ExploreThenCommit(arms, 50),
}


@pytest.fixture(params=POLICIES)
def policy(request):
    """A policy after 60 rewards; arm 5 has none."""
    found, rng = POLICIES[request.param](), np.random.default_rng(3)
    arms = rng.integers(ARMS - 1, size=60)
    rewards = (rng.random(60) < 0.2 + 0.1 * arms).astype(float)
    found.update(arms, rewards, rng.normal(size=(60, DIMENSION)))
    return found


@pytest.fixture
def features():
    return np.random.default_rng(4).normal(size=(CANDIDATES.size, DIMENSION))


def test_a_ranking_has_k_different_candidates(policy, features):
    ranking = policy.select(CANDIDATES, np.random.default_rng(0), 3, features)
    assert ranking.shape == (3,)
    assert len(set(ranking.tolist())) == 3
    assert set(ranking.tolist()) <= set(CANDIDATES.tolist())
    whole = policy.select(CANDIDATES, np.random.default_rng(0), CANDIDATES.size, features)
    assert sorted(whole.tolist()) == sorted(CANDIDATES.tolist())


def test_a_choice_is_repeatable_by_seed_and_leaves_the_policy_alone(policy, features):
    before = copy.deepcopy(policy)
    first = [policy.select(CANDIDATES, np.random.default_rng(i), 4, features) for i in range(20)]
    policy.propensities(CANDIDATES, features)
    again = [before.select(CANDIDATES, np.random.default_rng(i), 4, features) for i in range(20)]
    assert_array_equal(first, again)


def test_propensities_are_the_frequencies_of_the_first_arm(policy, features):
    generator = np.random.default_rng(5)
    expected = policy.propensities(CANDIDATES, features)
    rounds = 100 if expected.max() == 1 else 1000  # one that leaves nothing to chance needs few
    assert expected.sum() == pytest.approx(1, abs=1e-12)
    first = [policy.select(CANDIDATES, generator, 1, features)[0] for _ in range(rounds)]
    found = np.array([np.mean(np.array(first) == arm) for arm in CANDIDATES])
    assert_allclose(found, expected, atol=5 * np.sqrt(0.25 / rounds))
    assert not found[expected == 0].any()


def test_propensities_follow_the_order_of_the_candidates(policy, features):
    turned = policy.propensities(CANDIDATES[::-1], features[::-1])
    assert_allclose(turned[::-1], policy.propensities(CANDIDATES, features), atol=0.01)


def test_one_candidate_is_certain(policy, features):
    assert policy.propensities([2], features[:1]).tolist() == [1.0]
    assert policy.select([2], np.random.default_rng(0), 1, features[:1]).tolist() == [2]


def test_a_policy_is_saved_by_pickle(policy, features):
    again = pickle.loads(pickle.dumps(policy))
    expected = policy.propensities(CANDIDATES, features)
    assert_array_equal(again.propensities(CANDIDATES, features), expected)


def test_public_names_load_on_first_use():
    assert bandit.UCB1 is UCB1
    for name in bandit.__all__:
        assert getattr(bandit, name).__name__ == name


@pytest.mark.parametrize(
    ("candidates", "k", "message"),
    [
        ([], 1, "candidates: is empty"),
        ([0, 0], 1, "an arm appears twice"),
        ([0, 6], 1, r"candidates\[1\]: 6 is not in \[0, 6\)"),
        ([-1], 1, r"candidates\[0\]: -1"),
        ([0.5], 1, "whole numbers"),
        ([[0]], 1, "list of whole numbers"),
        ([[0], [1, 2]], 1, "list of whole numbers"),
        ([0, 1], 3, "k: is 3, expected 1 to the number of candidates, 2"),
        ([0, 1], 0, "k: is 0"),
        ([0, 1], 1.5, "k: is 1.5"),
    ],
)
def test_wrong_candidates_are_refused(policy, candidates, k, message):
    given = np.zeros((max(len(candidates), 1), DIMENSION))
    with pytest.raises(BadData, match=message):
        policy.select(candidates, np.random.default_rng(0), k, given)


@pytest.mark.parametrize(
    ("arms", "rewards", "message"),
    [
        ([0, 6], [1, 1], r"arms\[1\]: 6"),
        ([0], [np.nan], r"rewards\[0\]: nan is not in \["),
        ([0], [1, 1], r"rewards: shape is \(2,\), expected \(1,\)"),
        ([0], ["1"], "rewards: dtype"),
    ],
)
def test_a_wrong_update_changes_nothing(policy, features, arms, rewards, message):
    before = policy.propensities(CANDIDATES, features)
    with pytest.raises(BadData, match=message):
        policy.update(arms, rewards, np.ones((len(arms), DIMENSION)))
    assert_array_equal(policy.propensities(CANDIDATES, features), before)


def test_an_empty_update_changes_nothing(policy, features):
    before = policy.propensities(CANDIDATES, features)
    policy.update([], [], np.empty((0, DIMENSION)))
    assert_array_equal(policy.propensities(CANDIDATES, features), before)


@pytest.mark.parametrize("name", ["beta", "ucb1", "kl-ucb", "bayes-ucb", "logistic"])
def test_rewards_out_of_range_are_refused(name):
    with pytest.raises(BadData, match=r"rewards\[1\]: 1.5 is not in \[0, 1\]"):
        POLICIES[name]().update([0, 1], [0.5, 1.5], np.ones((2, DIMENSION)))


@pytest.mark.parametrize("name", ["gamma-poisson", "normal", "epsilon-greedy", "softmax", "lin-ts"])
def test_the_largest_rewards_leave_propensities(name):
    policy, largest = POLICIES[name](), POLICIES[name]().rewards[1]
    policy.update([0, 0, 1], [largest, largest, 0.0], np.ones((3, DIMENSION)))
    found = policy.propensities(range(ARMS), np.ones((ARMS, DIMENSION)))
    assert found.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: BetaThompson(0),
        lambda: BetaThompson(2.5),
        lambda: BetaThompson(2, a=0.0),
        lambda: GammaPoissonThompson(2, shape=0.01),
        lambda: NormalThompson(2, mean=np.inf),
        lambda: TopTwoThompson(BetaThompson(2), 1.5),
        lambda: UCB1(2, exploration=-1.0),
        lambda: KLUCB(2, c=np.nan),
        lambda: EpsilonGreedy(2, scale=-0.1),
        lambda: Softmax(2, temperature=0.0),
        lambda: ExploreThenCommit(2, 0),
        lambda: LinUCB(2, 0),
        lambda: LinUCB(2, 1, alpha=-1.0),
        lambda: LinTS(2, 1, ridge=0.0),
    ],
)
def test_wrong_parameters_are_refused(make):
    with pytest.raises(UsageError, match="expected"):
        make()


@pytest.mark.parametrize("name", BERNOULLI)
def test_a_policy_finds_the_best_arm(name):
    mean, rng = np.array([0.2, 0.8, 0.3]), np.random.default_rng(7)
    policy, chosen = BERNOULLI[name](3), []
    for _ in range(600):
        chosen += policy.select(range(3), rng).tolist()
        policy.update(chosen[-1:], [float(rng.random() < mean[chosen[-1]])])
    assert np.mean(np.array(chosen[300:]) == 1) > 0.9
