"""Guard rails: laws that hold for any probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose

from mlkit.bandit.policies import guard_rails
from mlkit.errors import BadData, UsageError

WEIGHTS = arrays(
    np.float64, st.integers(1, 8), elements=st.one_of(st.just(0.0), st.floats(1e-9, 1.0))
).filter(lambda weights: weights.sum() > 0)
UNIT = st.floats(0.0, 1.0)


def shares(weights):
    return weights / weights.sum()


def test_the_minimum_is_an_additive_mixture():
    found = guard_rails.with_minimum_share([0.9, 0.1, 0.0], 0.1)
    assert_allclose(found, [0.1 + 0.7 * 0.9, 0.1 + 0.7 * 0.1, 0.1])
    found = guard_rails.with_minimum_share([0.5, 0.5, 0.0], [0.0, 0.0, 0.4])
    assert_allclose(found, [0.3, 0.3, 0.4])


def test_the_maximum_passes_on_in_proportion():
    assert_allclose(guard_rails.with_maximum_share([0.8, 0.15, 0.05], 0.6), [0.6, 0.3, 0.1])
    # Passing on may bring another arm to its limit.
    found = guard_rails.with_maximum_share([0.7, 0.2, 0.1], [0.4, 0.3, 1.0])
    assert_allclose(found, [0.4, 0.3, 0.3])
    # Nobody to pass on to: equally.
    assert_allclose(guard_rails.with_maximum_share([1.0, 0.0, 0.0], 0.5), [0.5, 0.25, 0.25])
    found = guard_rails.with_maximum_share([1.0, 0.0, 0.0], [0.2, 0.1, 1.0])
    assert_allclose(found, [0.2, 0.1, 0.7])


def test_blocked_and_pinned_arms():
    p = [0.5, 0.3, 0.2]
    assert_allclose(guard_rails.restricted(p, [False, True, True]), [0, 0.6, 0.4])
    assert_allclose(guard_rails.restricted([1.0, 0, 0], [False, True, True]), [0, 0.5, 0.5])
    with pytest.raises(UsageError, match="all arms are blocked"):
        guard_rails.restricted(p, [False] * 3)


@settings(max_examples=40)
@given(WEIGHTS, UNIT, UNIT, UNIT, st.data())
def test_the_rails_together_keep_all_promises(weights, low, high, holdout, data):
    p = shares(weights)
    allowed = data.draw(arrays(np.bool_, p.size).filter(lambda mask: mask.any()))
    count = allowed.sum()
    least, most = low / count, 1 / count + high * (1 - 1 / count)
    found = guard_rails.limited(p, allowed=allowed, minimum=least, maximum=most, holdout=holdout)
    assert found.sum() == pytest.approx(1, abs=1e-12)
    assert not found[~allowed].any()
    assert found[allowed].min() >= max(least, holdout / count) - 1e-9
    assert found.max() <= most + 1e-9


def test_no_limits_change_nothing():
    assert_allclose(guard_rails.limited([0.5, 0.3, 0.2, 0.0]), [0.5, 0.3, 0.2, 0.0])
    found = guard_rails.limited([0.0, 0.4, 0.6], allowed=[True, True, False], minimum=[0.2, 0, 0.9])
    assert_allclose(found, [0.2, 0.8, 0.0])


@given(WEIGHTS, UNIT)
def test_the_maximum_keeps_the_order_and_what_is_within(weights, high):
    p = shares(weights)
    most = 1 / p.size + high * (1 - 1 / p.size)
    found = guard_rails.with_maximum_share(p, most)
    order = np.argsort(p, kind="stable")
    assert (np.diff(found[order]) >= -1e-9).all()
    if p.max() <= most:
        assert_allclose(found, p, atol=1e-12)


@given(WEIGHTS, st.data())
def test_different_maxima_are_kept(weights, data):
    p = shares(weights)
    most = data.draw(arrays(np.float64, p.size, elements=st.floats(0.0, 1.0)))
    if most.sum() < 1:
        with pytest.raises(UsageError, match="maximum shares sum to"):
            guard_rails.with_maximum_share(p, np.minimum(most, 0.9 / p.size))
        return
    found = guard_rails.with_maximum_share(p, most)
    assert (found <= most + 1e-9).all()
    assert found.sum() == pytest.approx(1, abs=1e-12)


def test_a_holdout_is_uniform():
    assert_allclose(guard_rails.with_holdout([1.0, 0.0], 0.02), [0.99, 0.01])


def test_draws_have_the_probabilities():
    rng, p = np.random.default_rng(1), np.array([0.0, 0.7, 0.0, 0.3, 0.0])
    found = np.bincount([guard_rails.draw(p, rng) for _ in range(5000)], minlength=5) / 5000
    assert_allclose(found, p, atol=0.03)
    assert not found[p == 0].any()


@pytest.mark.parametrize(
    ("p", "message"),
    [
        ([0.5, 0.4], "the sum is 0.9"),
        ([-0.5, 1.5], r"probabilities\[0\]: -0.5"),
        ([np.nan, 1], r"probabilities\[0\]: nan"),
        ([], "the sum is 0"),
        ([[1.0]], "shape"),
        (["x"], "probabilities: dtype is"),
    ],
)
def test_what_is_no_distribution_is_refused(p, message):
    with pytest.raises(BadData, match=message):
        guard_rails.with_holdout(p, 0.1)


@pytest.mark.parametrize(
    "call",
    [
        lambda: guard_rails.with_minimum_share([0.5, 0.5], 0.6),
        lambda: guard_rails.with_minimum_share([0.5, 0.5], -0.1),
        lambda: guard_rails.with_maximum_share([0.5, 0.5], 0.4),
        lambda: guard_rails.with_maximum_share([0.5, 0.5], np.nan),
        lambda: guard_rails.with_holdout([0.5, 0.5], 1.1),
        lambda: guard_rails.limited([0.5, 0.5], minimum=[0.3, 0.0], maximum=[0.2, 1.0]),
        lambda: guard_rails.limited([0.5, 0.5], allowed=[True, False], maximum=0.9),
    ],
)
def test_impossible_shares_are_refused(call):
    with pytest.raises(UsageError, match="share"):
        call()


def test_a_ranking_with_pinned_and_blocked_arms():
    ranking = [3, 1, 4, 0, 2]
    assert guard_rails.pinned_ranking(ranking, 3) == [3, 1, 4]
    assert guard_rails.pinned_ranking(ranking, 3, pinned=[2, 1], blocked={3}) == [2, 1, 4]
    assert guard_rails.pinned_ranking(ranking, 4, blocked={3, 1, 4}) == [0, 2]
    with pytest.raises(UsageError, match="arm 1 is pinned and blocked"):
        guard_rails.pinned_ranking(ranking, 2, pinned=[1], blocked=[1])
    with pytest.raises(UsageError, match="2 arms are pinned, more than k = 1"):
        guard_rails.pinned_ranking(ranking, 1, pinned=[1, 2])
    with pytest.raises(BadData, match="k: is 0"):
        guard_rails.pinned_ranking(ranking, 0)
