"""The strategy step: features, the rule, and the arithmetic below them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit.pairs import _pair_strategy as native
from mlkit.pairs.fit.formation import fit
from mlkit.pairs.settings import Signal

SEEDS = st.integers(0, 2**32 - 1)


def two_passes(values, length):
    """Mean and variance of each window by the corrected two-pass algorithm."""
    each = np.lib.stride_tricks.sliding_window_view(values, length)
    mean = each.mean(axis=1)
    gaps = each - mean[:, None]
    squares = np.sum(gaps**2, axis=1) - np.sum(gaps, axis=1) ** 2 / length
    return mean, squares / (length - 1)


@given(SEEDS, st.integers(2, 80), st.sampled_from([1e-6, 1.0, 1e6, 1e9]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_rolling_moments_equal_two_passes_at_any_level(seed, length, level, jump):
    rng = np.random.default_rng(seed)
    values = level + np.cumsum(rng.normal(size=3000)) * 10.0 ** rng.integers(-3, 2)
    if jump:
        values[1000:1400] += level * 1e3
        values[2000] *= 1e5
    mean, variance = native.rolling_moments(values, length)
    means, variances = two_passes(values, length)
    error = np.abs(mean[length - 1 :] - means)
    assert (error <= 1e-10 * (np.abs(means) + np.sqrt(variances))).all()
    np.testing.assert_allclose(variance[length - 1 :], variances, rtol=1e-10)


def test_rolling_moments_hold_over_a_million_values():
    rng = np.random.default_rng(3)
    values = 1e5 + np.cumsum(rng.normal(size=1_000_000))
    _, variance = native.rolling_moments(values, 50)
    np.testing.assert_allclose(variance[-1000:], two_passes(values[-1049:], 50)[1], rtol=1e-10)


def test_a_constant_window_has_no_deviation():
    values = np.concatenate([[0.1, 7e7, 0.3], np.full(50, 0.1)])
    mean, variance = native.rolling_moments(values, 20)
    assert (mean[-10:] == 0.1).all()
    assert (variance[-10:] == 0.0).all()


@given(SEEDS, st.sampled_from([1e-300, 1e-3, 1.0, 1e9, 1e300]))
@settings(max_examples=25, deadline=None)
def test_spreads_are_those_of_exact_logarithms(seed, level):
    rng = np.random.default_rng(seed)
    y, x = level * np.exp(rng.normal(0, 0.5, (2, 300)))
    signal = native.Signal(alpha=0.3, beta=0.7, lookback=10)
    beta, spread, _ = native.features(y, x, signal)
    exact = np.log(y) - 0.3 - 0.7 * np.log(x)
    scale = np.abs(np.log(y)) + np.abs(np.log(x)) + 1.0
    assert (np.abs(spread - exact) <= 3e-16 * scale).all()
    assert (beta == 0.7).all()


@given(SEEDS, st.sampled_from([1.0, 1e5]))
@settings(max_examples=25, deadline=None)
def test_rolling_hedge_ratio_equals_a_regression_on_each_window(seed, level):
    rng = np.random.default_rng(seed)
    x = level * np.exp(np.cumsum(rng.normal(0, 0.02, 300)))
    y = 3.0 * x + level * np.exp(rng.normal(0, 0.1, 300))
    signal = native.Signal(hedge="rolling", hedge_window=40, lookback=10, log=False)
    beta, spread, _ = native.features(y, x, signal)
    for t in (39, 40, 150, 299):
        slope, intercept = np.polyfit(x[t - 39 : t + 1] / level, y[t - 39 : t + 1] / level, 1)
        assert beta[t] == pytest.approx(slope, rel=1e-8)
        assert spread[t] / level == pytest.approx(
            y[t] / level - intercept - slope * x[t] / level, abs=1e-7
        )
    assert np.isnan(beta[:39]).all()


def kalman_oracle(y, x, state, covariance, drift, noise):
    """The textbook filter in matrices."""
    out = []
    for observed, regressor in zip(y, x, strict=True):
        covariance = covariance + drift
        row = np.array([1.0, regressor])
        innovation = observed - row @ state
        variance = row @ covariance @ row + noise
        gain = covariance @ row / variance
        state = state + gain * innovation
        covariance = covariance - np.outer(gain, row) @ covariance
        out.append((state[1], innovation, innovation / np.sqrt(variance)))
    return np.array(out)


def test_kalman_hedge_ratio_equals_the_textbook_filter():
    rng = np.random.default_rng(5)
    x = rng.normal(4.0, 0.3, 200)
    y = 0.2 + 0.8 * x + rng.normal(0, 0.02, 200)
    signal = native.Signal(
        hedge="kalman", log=True, alpha=0.1, beta=0.9,
        covariance=[0.02, -0.004, 0.003], drift=[1e-4, 0.0, 1e-5], noise=4e-4,
    )  # fmt: skip
    got = np.column_stack(native.features(np.exp(y), np.exp(x), signal))
    want = kalman_oracle(
        y, x, np.array([0.1, 0.9]),
        np.array([[0.02, -0.004], [-0.004, 0.003]]), np.diag([1e-4, 1e-5]), 4e-4,
    )  # fmt: skip
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


@given(SEEDS, st.sampled_from(["fixed", "rolling", "kalman"]), st.booleans())
@settings(max_examples=30, deadline=None)
def test_features_up_to_a_bar_do_not_know_what_follows(seed, hedge, log):
    rng = np.random.default_rng(seed)
    y, x = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (2, 150)), axis=1))
    zscore = "filter" if hedge == "kalman" else "lookback"
    chosen = Signal(zscore=zscore, lookback=12, hedge=hedge, hedge_window=20, log=log)
    signal = fit(y[:60], x[:60], ("Y", "X"), chosen).signal
    cut = int(rng.integers(61, 150))
    whole = native.features(y, x, signal)
    y2, x2 = y.copy(), x.copy()
    y2[cut:] *= 1.3
    x2[cut:] *= 0.8
    for other in (native.features(y2, x2, signal), native.features(y[:cut], x[:cut], signal)):
        for before, after in zip(whole, other, strict=True):
            np.testing.assert_array_equal(before[:cut], after[:cut])


def walk(zs, **thresholds):
    """Run the rule over z-scores; return the orders' names."""
    rule, state, orders = native.Rule(**thresholds), native.State(), []
    for z in zs:
        state, order = native.step(state, z, rule)
        orders.append(order.name)
    return orders


def test_rule_enters_against_the_spread_and_leaves_when_it_reverts():
    orders = walk([1.9, 2.1, 1.0, 0.4, -2.0, -0.6, -0.5], entry=2.0, exit=0.5)
    assert orders == ["NONE", "ENTER_SHORT", "NONE", "EXIT", "ENTER_LONG", "NONE", "EXIT"]


def test_after_a_stop_the_spread_must_revert_before_the_next_entry():
    orders = walk([2.5, 4.0, 3.0, 2.5, 0.0, 2.5], entry=2.0, exit=0.5, stop=3.5)
    assert orders == ["ENTER_SHORT", "STOP", "NONE", "NONE", "NONE", "ENTER_SHORT"]


def test_time_stop_counts_bars_since_the_decision():
    orders = walk([2.5, 2.5, 2.5, 2.5], entry=2.0, exit=0.5, max_bars=2)
    assert orders == ["ENTER_SHORT", "NONE", "TIME_STOP", "NONE"]


def test_rule_does_not_enter_beyond_the_stop_nor_without_a_score():
    assert set(walk([5.0, np.nan, -5.0], entry=2.0, exit=0.5, stop=4.0)) == {"NONE"}


def test_step_is_pure():
    state, rule = native.State(side=1, locked=1, held=4), native.Rule(entry=2.0, exit=0.5)
    first = native.step(state, -1.0, rule)
    second = native.step(state, -1.0, rule)
    assert (state.side, state.held) == (1, 4)
    assert first[0].held == second[0].held == 5


def test_bad_prices_are_named_by_their_index():
    good, bad = np.ones(5), np.array([1.0, 2.0, -3.0, 4.0, 5.0])
    with pytest.raises(ValueError, match=r"x\[2\]"):
        native.features(good, bad, native.Signal(lookback=3))
