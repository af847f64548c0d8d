"""Logistic Thompson sampling: the mode against scikit-learn, the curvature by its formula."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize, special

from mlkit.bandit.policies.logistic import LogisticThompson, objective

ARMS = [0] * 300


@pytest.fixture
def log():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 4))
    return (rng.random(300) < special.expit(x @ [1.0, -2.0, 0.5, 0.0])).astype(float), x


@pytest.mark.parametrize("ridge", [0.01, 1.0, 50.0])
def test_a_batch_is_a_regularized_logistic_regression(log, ridge):
    from sklearn.linear_model import LogisticRegression

    rewards, x = log
    policy = LogisticThompson(1, 4, ridge=ridge)
    policy.update(ARMS, rewards, x)
    other = LogisticRegression(C=1 / ridge, fit_intercept=False, tol=1e-12, max_iter=1000)
    assert_allclose(policy.weights.mean[0], other.fit(x, rewards).coef_[0], rtol=1e-5)
    s = special.expit(x @ policy.weights.mean[0])
    expected = ridge * np.eye(4) + (x.T * (s * (1 - s))) @ x
    assert_allclose(policy.weights.precision[0], expected, rtol=1e-12)
    assert_allclose(x.T @ (rewards - s), ridge * policy.weights.mean[0], atol=1e-10)


def test_updates_go_on_from_the_posterior(log):
    """Chapelle and Li (2011), algorithm 3, with a diagonal precision, by another optimizer."""
    rewards, x = log
    policy = LogisticThompson(1, 4, diagonal=True)
    mean, precision = np.zeros(4), np.ones(4)
    for rows in np.split(np.arange(300), 6):
        policy.update([0] * 50, rewards[rows], x[rows])
        problem = (mean, np.diag(precision), x[rows], rewards[rows])
        mean = optimize.minimize(objective, mean, problem, "BFGS", options={"gtol": 1e-9}).x
        s = special.expit(x[rows] @ mean)
        precision = precision + np.square(x[rows]).T @ (s * (1 - s))
    assert_allclose(policy.weights.mean[0], mean, rtol=1e-5)
    assert_allclose(policy.weights.precision[0], np.diag(precision), rtol=1e-5)


def test_arms_learn_apart(log):
    rewards, x = log
    both, one = LogisticThompson(2, 4), LogisticThompson(1, 4)
    both.update(np.arange(300) % 2, rewards, x)
    one.update([0] * 150, rewards[::2], x[::2])
    assert_allclose(both.weights.mean[0], one.weights.mean[0])
    assert not np.allclose(both.weights.mean[1], one.weights.mean[0])


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e3, 1e6])
def test_newton_converges_on_separable_and_badly_scaled_data(size):
    """All rewards are 1: the prior alone bounds the weights."""
    policy, x = LogisticThompson(1, 2, ridge=1e-3), np.array([[size, 0.0], [size, size]])
    policy.update([0, 0], [1.0, 1.0], x)
    mean = policy.weights.mean[0]
    slope = x.T @ (1 - special.expit(x @ mean)) - 1e-3 * mean
    assert np.abs(slope).max() <= 1e-6 * np.abs(1e-3 * mean).max() + 1e-9 * size


def test_fractions_are_rewards_too():
    policy = LogisticThompson(1, 1, ridge=1e-9)
    policy.update([0] * 10, [0.3] * 10, np.ones((10, 1)))
    assert special.expit(policy.weights.mean[0, 0]) == pytest.approx(0.3, abs=1e-6)
