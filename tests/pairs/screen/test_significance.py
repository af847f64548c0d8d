from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlkit.pairs.screen.cointegration import engle_granger
from mlkit.pairs.screen.null import PROBABILITIES, Null, better, null_of, simulate
from mlkit.pairs.screen.significance import adjust, mackinnon


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
    statistic = np.linspace(-9, -4.3, 50)
    assert (null.p_value(statistic) >= ndtr(statistic)).all()
    assert (null.p_value(statistic) < 1e-5).all()


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
