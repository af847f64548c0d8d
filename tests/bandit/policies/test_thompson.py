"""Posteriors by their formulas, and the propensities of Thompson sampling."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from mlkit.bandit.policies.thompson import (
    BetaThompson,
    GammaPoissonThompson,
    NormalThompson,
    TopTwoThompson,
    top_two,
)
from mlkit.errors import BadData


def test_beta_and_gamma_posteriors_add_up():
    beta = BetaThompson(3, 2.0, 5.0)
    beta.update([0, 1, 0], [1.0, 0.25, 0.0])
    assert_allclose(beta.a, [3, 2.25, 2])
    assert_allclose(beta.b, [6, 5.75, 5])
    gamma = GammaPoissonThompson(2, 2.0, 0.5)
    gamma.update([1, 1, 1], [3, 0, 7])
    assert_allclose([gamma.shape, gamma.rate], [[2, 12], [0.5, 3.5]])
    with pytest.raises(BadData, match=r"rewards\[0\]: -1.0"):
        gamma.update([0], [-1])


def test_beta_propensities_against_the_closed_form():
    """P(A > B) of uniform A and Beta(3, 1) B is 1/4."""
    policy = BetaThompson(2)
    policy.update([1, 1], [1, 1])
    assert_allclose(policy.propensities([0, 1]), [0.25, 0.75], rtol=1e-5)


def test_the_normal_posterior_by_hand():
    """Murphy (2007) for m = 1, kappa = 2, a = 3, b = 4 and rewards 2, 4, 6."""
    policy = NormalThompson(2, 1.0, 2.0, 3.0, 4.0)
    policy.update([1, 1, 1], [2, 4, 6])
    assert_allclose(policy.mean, [1, (2 * 1 + 12) / 5])
    assert_allclose(policy.kappa, [2, 5])
    assert_allclose(policy.a, [3, 4.5])
    assert_allclose(policy.b, [4, 4 + 8 / 2 + 2 * 3 * (4 - 1) ** 2 / (2 * 5)])


def test_rewards_one_by_one_are_a_batch():
    rng = np.random.default_rng(1)
    arms, rewards = rng.integers(3, size=50), 1e6 + rng.normal(size=50)
    batch, single = NormalThompson(3, mean=1e6), NormalThompson(3, mean=1e6)
    batch.update(arms, rewards)
    for arm, reward in zip(arms, rewards, strict=True):
        single.update([arm], [reward])
    for name in ("mean", "kappa", "a", "b"):
        assert_allclose(getattr(batch, name), getattr(single, name), rtol=1e-9)


def test_draws_have_the_posterior_of_the_mean():
    """The two-step draw of variance and mean is that of Student's t."""
    policy, rng = NormalThompson(1, 2.0, 3.0, 4.0, 5.0), np.random.default_rng(2)
    variance = 1 / rng.gamma(4.0, 1 / 5.0, size=20_000)
    two_steps = rng.normal(2.0, np.sqrt(variance / 3.0))
    arms, none = np.zeros(20_000, dtype=np.intp), np.empty((20_000, 0))
    one_step = policy._scores(arms, rng, none)
    assert stats.ks_2samp(two_steps, one_step).pvalue > 1e-3


def test_gamma_draws_have_the_posterior():
    policy, rng = GammaPoissonThompson(1, 0.5, 4.0), np.random.default_rng(2)
    draws = policy._scores(np.zeros(20_000, dtype=np.intp), rng, np.empty((20_000, 0)))
    assert stats.kstest(draws, stats.gamma(0.5, scale=1 / 4).cdf).pvalue > 1e-3


def test_top_two_propensities_against_its_definition():
    """Draw until a second arm is found, as the paper says."""
    policy, rng = BetaThompson(3, 1.0, 1.0), np.random.default_rng(3)
    policy.update([0] * 4 + [1] * 4 + [2] * 4, [1, 1, 1, 0, 1, 1, 0, 0, 1, 0, 0, 0])
    best = rng.beta(policy.a, policy.b, size=(60_000, 3)).argmax(axis=1)
    firsts, rest = best[:20_000], iter(best[20_000:])
    chosen = [
        first if rng.random() < 0.7 else next(other for other in rest if other != first)
        for first in firsts[:15_000]
    ]
    expected = TopTwoThompson(policy, 0.7).propensities([0, 1, 2])
    assert_allclose(np.bincount(chosen) / len(chosen), expected, atol=0.02)


def test_top_two_extremes():
    best = np.array([0.7, 0.2, 0.1])
    assert_allclose(top_two(best, 1.0), best)
    # Two arms: the second choice is the other one.
    assert_allclose(top_two(np.array([0.9, 0.1]), 0.0), [0.1, 0.9])
    assert_allclose(top_two(np.array([0.9, 0.1]), 0.5), [0.5, 0.5])
    # A second arm is tried also when no draw would ever find one.
    assert_allclose(top_two(np.array([1.0, 0.0, 0.0]), 0.5), [0.5, 0.25, 0.25])
    assert_allclose(top_two(np.array([1 - 3e-20, 1e-20, 2e-20]), 0.5), [0.5, 1 / 6, 1 / 3])


def test_far_rewards_keep_their_variance():
    policy = NormalThompson(1, mean=0.0)
    policy.update([0, 0], [1e9, 1e9 + 2])
    assert policy.b[0] > 0
    assert np.isfinite(policy.propensities([0])).all()


def test_more_successes_are_more_probable():
    policy = GammaPoissonThompson(4)
    policy.update([0, 1, 2, 3] * 5, [1, 2, 3, 4] * 5)
    found = policy.propensities([0, 1, 2, 3])
    assert all(a < b for a, b in pairwise(found))


def test_draws_of_beta_thompson_are_those_of_the_sampler():
    """The same bits on every machine: the seed of the stream comes from the generator."""
    policy = BetaThompson(400)
    first = policy.select(range(400), np.random.Generator(np.random.PCG64(9)), 5)
    again = policy.select(range(400), np.random.Generator(np.random.PCG64(9)), 5)
    assert_array_equal(first, again)
