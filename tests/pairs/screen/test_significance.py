from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlkit.pairs.screen.cointegration import Panel, engle_granger
from mlkit.pairs.screen.null import PROBABILITIES, Null, better, null_of, simulate
from mlkit.pairs.screen.significance import adjust, mackinnon
from mlkit.pairs.screen.splitting import merge, split


@pytest.mark.parametrize("trend", ["n", "c", "ct", "ctt"])
def test_mackinnon_is_what_statsmodels_reports(trend):
    from statsmodels.tsa.adfvalues import mackinnonp

    statistic = np.linspace(-25, 3, 400)
    peer = [mackinnonp(each, trend, 2) for each in statistic]
    np.testing.assert_allclose(mackinnon(statistic, trend), peer, atol=1e-12)


@given(st.lists(st.floats(0, 1), max_size=40))
def test_adjusted_p_values_are_scipys(values):
    from scipy.stats import false_discovery_control

    p = np.array(values)
    for method in ("by", "bh"):
        peer = false_discovery_control(p, method=method) if len(p) else p
        np.testing.assert_allclose(adjust(p, method), peer, atol=1e-15)
    assert adjust(p, "none").tolist() == values


@pytest.mark.parametrize("length", [30, 100, 252, 1000, 9000])
@pytest.mark.parametrize("trend", ["c", "ct", "ctt"])
def test_p_values_fall_with_the_statistic(length, trend):
    null = null_of(length, trend=trend)
    p = null.p_value(np.linspace(-30, 2, 2000))
    assert (np.diff(p) >= 0).all()
    assert p[0] < 1e-6
    assert p[-1] == 1.0
    assert null.p_value(np.array([np.nan])).tolist() == [1.0]


def test_the_tail_is_heavier_than_the_normal_one():
    """Of a statistic whose tail is known, the extrapolated p is never too small."""
    from scipy.special import ndtr, ndtri

    null = Null(ndtri(PROBABILITIES))
    statistic = np.linspace(-12, -6.1, 50)
    assert (null.p_value(statistic) >= ndtr(statistic)).all()
    assert (null.p_value(statistic) < 1e-9).all()
    p = np.geomspace(1e-15, 0.9, 60)
    np.testing.assert_allclose(null.p_value(null.statistic(p)), p, rtol=1e-9)


def test_splitting_finds_a_known_tail():
    """The sum of all steps, scaled, is a normal variable."""
    from scipy.special import log_ndtr

    def total(steps):
        return -np.abs(steps.sum(axis=(1, 2))) / np.sqrt(steps[0].size)

    tail = split(total, 20, 2, least=1e-9, particles=2000, seed=1)
    assert tail.log_p[-1] < np.log(1e-9)
    expected = log_ndtr(tail.statistic) + np.log(2.0)
    np.testing.assert_allclose(tail.log_p, expected, atol=0.6)


@pytest.mark.parametrize(("length", "statistic"), [(60, -5.5), (252, -5.0)])
def test_tabulated_tails_agree_with_sets_of_walks(length, statistic):
    below = []
    for seed in range(250):
        rng = np.random.default_rng([seed, length, 8])
        panel = Panel.of(rng.standard_normal((length, 48)).cumsum(axis=0))
        below.append((panel.band(panel.all_pairs(), 0, 48).better <= statistic).mean())
    ratio = null_of(length).p_value(np.array([statistic]))[0] / np.mean(below)
    assert 1 / 1.6 < ratio < 1.6


@pytest.mark.parametrize("correlation", [0.3, 0.9])
def test_correlated_walks_have_no_smaller_p_values(correlation):
    """The prior may look at correlation: the statistic of a direction does not depend on it."""
    rng = np.random.default_rng(5)
    one, two = rng.standard_normal((2, 100, 20_000)).cumsum(axis=1)
    other = correlation * one + np.sqrt(1 - correlation**2) * two
    panel = Panel.of(np.concatenate([one, other], axis=1))
    first = np.arange(20_000)
    p = null_of(100).p_value(panel.pairs(first, first + 20_000).better)
    for level in (0.05, 0.01, 0.002):
        assert (p <= level).mean() <= level + 4 * np.sqrt(level / 20_000)


def test_the_control_holds_on_unrelated_universes_and_fails_without_the_simulated_null():
    """A small part of `benchmarks/pairs/null_universes.py`; nothing is cointegrated here."""
    universes, wrong, asymptotic = 500, 0, 0
    for seed in range(universes):
        walks = np.random.default_rng([seed, 60, 21]).standard_normal((60, 24)).cumsum(axis=0)
        panel = Panel.of(walks)
        better = panel.band(panel.all_pairs(), 0, 24).better
        wrong += bool((adjust(null_of(60).p_value(better), "bh") <= 0.05).any())
        asymptotic += bool((adjust(mackinnon(better, "c"), "bh") <= 0.05).any())
    most = 0.05 * universes + 3 * np.sqrt(0.05 * 0.95 * universes)
    assert wrong <= most < asymptotic


@pytest.mark.parametrize(("length", "lags"), [(100, None), (300, None), (100, 1)])
def test_p_values_are_uniform_on_random_walks(length, lags):
    rng = np.random.default_rng([length, lags or 0])
    found = []
    for _ in range(40):
        walks = rng.standard_normal((length, 20)).cumsum(axis=0)
        found.append(better(engle_granger(walks, lags=lags).statistic)[np.triu_indices(20, 1)])
    p = null_of(length, lags=lags).p_value(np.concatenate(found))
    for level in (0.5, 0.1, 0.01):
        assert (p <= level).mean() == pytest.approx(level, abs=4 * np.sqrt(level / 2000))


def test_a_simulation_repeats_itself():
    one, two = (simulate(40, 3000, seed=3, threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one.quantiles, two.quantiles)
    assert one.pairs >= 3000


def test_the_mean_of_several_populations_is_closer_to_a_known_tail():
    from scipy.special import log_ndtr

    def total(steps):
        return -np.abs(steps.sum(axis=(1, 2))) / np.sqrt(steps[0].size)

    tails = [split(total, 20, 2, least=2e-10, particles=500, seed=seed) for seed in range(6)]
    found = merge(tails)
    assert found.log_p[-1] < np.log(1e-9)
    assert (np.diff(found.statistic) < 0).all()
    expected = log_ndtr(found.statistic) + np.log(2.0)
    np.testing.assert_allclose(found.log_p, expected, atol=0.6)
    assert (found.deviation < min(each.deviation[-1] for each in tails)).all()
