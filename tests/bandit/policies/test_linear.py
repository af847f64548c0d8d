"""LinTS and LinUCB against MABWiser, by formula, and at the limits of double precision."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special

from mlkit.bandit.policies.linear import LinTS, LinUCB
from mlkit.errors import BadData

ARMS, DIMENSION = 4, 5


@pytest.fixture
def log():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(400, DIMENSION))
    arms = rng.integers(ARMS, size=400)
    return arms, features @ rng.normal(size=DIMENSION) + arms + rng.normal(size=400), features


def mabwiser(policy, log, **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of its dependencies
        from mabwiser.mab import MAB, LearningPolicy
    arms, rewards, features = log
    mab = MAB(list(range(ARMS)), getattr(LearningPolicy, policy)(**parameters))
    mab.fit(arms[:300], rewards[:300], features[:300])
    mab.partial_fit(arms[300:], rewards[300:], features[300:])
    return mab


def learned(policy, log):
    arms, rewards, features = log
    policy.update(arms[:300], rewards[:300], features[:300])
    policy.update(arms[300:], rewards[300:], features[300:])
    return policy


@pytest.mark.parametrize("ridge", [0.1, 1.0, 20.0])
def test_lin_ucb_agrees_with_mabwiser(log, ridge):
    other = mabwiser("LinUCB", log, alpha=1.7, l2_lambda=ridge)
    ours = learned(LinUCB(ARMS, DIMENSION, ridge=ridge, alpha=1.7), log)
    for arm in range(ARMS):
        assert_allclose(ours.weights.mean[arm], other._imp.arm_to_model[arm].beta, rtol=1e-10)
        assert_allclose(ours.weights.precision[arm], other._imp.arm_to_model[arm].A, rtol=1e-10)
    contexts = np.random.default_rng(2).normal(size=(20, DIMENSION))
    for context, expected in zip(contexts, other.predict_expectations(contexts), strict=True):
        found = ours._index(np.arange(ARMS), np.tile(context, (ARMS, 1)))
        assert_allclose(found, [expected[arm] for arm in range(ARMS)], rtol=1e-10)
        best = ours.select(range(ARMS), np.random.default_rng(0), features=context)
        assert best.tolist() == [max(expected, key=expected.get)]


def test_lin_ts_agrees_with_mabwiser(log):
    other = mabwiser("LinTS", log, alpha=0.5, l2_lambda=2.0)
    ours = learned(LinTS(ARMS, DIMENSION, ridge=2.0, scale=0.5), log)
    for arm in range(ARMS):
        model, whitening = other._imp.arm_to_model[arm], ours.weights.whitening[arm]
        assert_allclose(ours.weights.mean[arm], model.beta, rtol=1e-10)
        assert_allclose(whitening.T @ whitening, model.A_inv, rtol=1e-9, atol=1e-14)


def test_a_shared_model_is_one_ridge_regression(log):
    _, rewards, features = log
    ours = learned(LinUCB(ARMS, DIMENSION, shared=True, ridge=3.0), log)
    expected = np.linalg.solve(features.T @ features + 3 * np.eye(DIMENSION), features.T @ rewards)
    assert_allclose(ours.weights.mean, [expected], rtol=1e-10)


def test_rows_one_by_one_are_a_batch(log):
    batch, single = learned(LinTS(ARMS, DIMENSION), log), LinTS(ARMS, DIMENSION)
    for arm, reward, row in zip(*log, strict=True):
        single.update([arm], [reward], row[None])
    assert_allclose(single.weights.mean, batch.weights.mean, rtol=1e-9)
    assert_allclose(single.weights.whitening, batch.weights.whitening, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shared", [False, True])
def test_draws_have_the_posterior(log, shared):
    """Means and covariances of scores: x'A^-1 x v^2; models of their own are independent."""
    policy = learned(LinTS(ARMS, DIMENSION, shared=shared, scale=2.0), log)
    rng, x = np.random.default_rng(3), np.random.default_rng(4).normal(size=(3, DIMENSION))
    arms = np.array([2, 0, 1])
    draws = np.array([policy._scores(arms, rng, x) for _ in range(20_000)])
    models = np.zeros(3, dtype=int) if shared else arms
    inverse = np.linalg.inv(policy.weights.precision)[models]
    covariance = 4 * np.einsum("id,ide,je->ij", x, inverse, x)
    if not shared:
        covariance = np.diag(np.diag(covariance))
    deviation = np.sqrt(np.diag(covariance))
    expected = np.sum(x * policy.weights.mean[models], axis=1)
    assert np.abs((draws.mean(axis=0) - expected) / deviation).max() < 5 / np.sqrt(20_000)
    scale = np.outer(deviation, deviation)
    assert np.abs((np.cov(draws.T) - covariance) / scale).max() < 0.05


def test_two_arms_of_a_shared_model_in_closed_form(log):
    policy = learned(LinTS(ARMS, DIMENSION, shared=True, scale=3.0), log)
    x = np.random.default_rng(5).normal(size=(2, DIMENSION)) * 0.3
    away = x[0] - x[1]
    spread = 3 * np.sqrt(away @ np.linalg.inv(policy.weights.precision[0]) @ away)
    expected = special.ndtr(away @ policy.weights.mean[0] / spread)
    assert_allclose(policy.propensities([1, 3], x), [expected, 1 - expected], rtol=1e-8)


def test_counted_propensities_are_near_the_integrated_ones(log):
    """Arms whose features do not overlap are independent also under a shared model."""
    shared, own = LinTS(3, 3, shared=True), LinTS(3, 3)
    rows, rewards = np.eye(3)[[0, 0, 1, 2]], [1.0, 0.5, 1.2, 0.1]
    shared.update([0, 0, 1, 2], rewards, rows)
    own.update([0, 0, 1, 2], rewards, rows)
    counted = shared.propensities([0, 1, 2], np.eye(3))
    assert_allclose(counted, own.propensities([0, 1, 2], np.eye(3)), atol=0.01)
    assert_array_equal(counted, shared.propensities([0, 1, 2], np.eye(3)))


def test_a_context_without_features_is_a_tie():
    policy = LinTS(3, 2)
    policy.update([0], [5.0], [[1.0, 0.0]])
    assert_allclose(policy.propensities([0, 1, 2], [0.0, 0.0]), 1 / 3)


def test_precision_survives_a_million_equal_rows():
    """An updated inverse would have lost its digits; the factor is computed again."""
    policy, row = LinUCB(1, 2, ridge=1e-3), np.array([[1.0, 1.0]])
    for _ in range(20):
        policy.update([0] * 50_000, np.full(50_000, 4.0), np.tile(row, (50_000, 1)))
    assert_allclose(policy.weights.mean[0].sum(), 4.0, rtol=1e-8)
    # Across the only direction seen, the prior is all that is known.
    across = policy.weights.spread(np.zeros(1, dtype=int), np.array([[1.0, -1.0]]))
    assert_allclose(across, np.sqrt(2 / 1e-3), rtol=1e-5)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (None, "features: missing"),
        (np.ones((1, 3)), r"features: shape is \(1, 3\), expected \(1, 2\)"),
        ([[1.0], [1.0, 2.0]], "features: is not a regular array"),
        ([["x", "y"]], "features: dtype is"),
        (np.ones(3), r"features: shape is \(3,\), expected \(2,\)"),
        ([[np.inf, 0.0]], r"features\[0, 0\]: inf is not in \[-1e\+100, 1e\+100\]"),
        ([[0.0, 1e200]], r"features\[0, 1\]: 1e\+200"),
        ([[1e50, 1e50]], "too large or too nearly collinear"),
    ],
)
def test_wrong_features_are_refused_and_nothing_is_learned(features, message):
    policy = LinTS(2, 2)
    with pytest.raises(BadData, match=message):
        policy.update([0], [1.0], features)
    assert not policy.weights.mean.any()
    assert_array_equal(policy.weights.precision, [np.eye(2)] * 2)


def test_a_shared_model_needs_features_of_each_arm():
    with pytest.raises(BadData, match=r"features: shape is \(2,\), expected \(3, 2\)"):
        LinTS(3, 2, shared=True).propensities([0, 1, 2], [1.0, 2.0])
