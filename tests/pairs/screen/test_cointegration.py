from __future__ import annotations

import os
import subprocess
import sys
import warnings

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit import _simd
from mlkit.errors import BadData
from mlkit.pairs import _pair_kernels
from mlkit.pairs.screen.cointegration import Panel, engle_granger, schwert

TRENDS = ("n", "c", "ct", "ctt")


def coint(y, x, trend="c", lags=None):
    from statsmodels.tsa.stattools import coint as peer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peer(y, x, trend=trend, maxlag=lags, autolag="aic" if lags is None else None)[0]


def panel(rng, length, count, noise=0.02):
    """Half random walks, half series that are cointegrated with one of them."""
    series = np.cumsum(rng.standard_normal((length, count)) * 0.01, axis=0) + 4
    half = count // 2  # an odd one out stays a random walk
    error = rng.standard_normal((length, half)) * noise
    for t in range(1, length):
        error[t] += 0.8 * error[t - 1]
    series[:, count - half :] = 0.5 + 1.3 * series[:, :half] + error
    return series


def assert_like_statsmodels(series, trend, lags, tolerance=1e-8, compared=None):
    """Compare pairs, all or so many of each series."""
    ours = engle_granger(series, trend=trend, lags=lags).statistic
    count = series.shape[1]
    for i in range(count):
        for j in [(i + each) % count for each in range(1, count)][:compared]:
            peer = coint(series[:, i], series[:, j], trend, lags)
            assert ours[i, j] == pytest.approx(peer, abs=tolerance), (i, j)


@pytest.mark.parametrize("trend", TRENDS)
@pytest.mark.parametrize("lags", [None, 0, 1, 5])
@pytest.mark.parametrize("length", [30, 47, 65, 252])
@pytest.mark.parametrize("compared", [2, pytest.param(5, marks=pytest.mark.nightly)])
def test_equals_statsmodels(length, lags, trend, compared):
    rng = np.random.default_rng([length, len(trend), lags or 99])
    assert_like_statsmodels(panel(rng, length, 6), trend, lags, compared=compared)


@pytest.mark.parametrize("length", [1260, pytest.param(3000, marks=pytest.mark.slow)])
def test_equals_statsmodels_on_long_series(length):
    assert_like_statsmodels(panel(np.random.default_rng(length), length, 2), "c", None)


SEEDS = st.integers(0, 2**32)
LENGTHS = st.integers(30, 150)


def powers_of_ten(most):
    return st.lists(st.integers(-most, most), min_size=4, max_size=4).map(
        lambda powers: 10.0 ** np.array(powers)
    )


@settings(max_examples=40, deadline=None)
@given(SEEDS, LENGTHS, powers_of_ten(100))
def test_scale_is_nothing(seed, length, scale):
    series = panel(np.random.default_rng(seed), length, 4)
    one, two = engle_granger(series), engle_granger(series * scale)
    np.testing.assert_allclose(two.statistic, one.statistic, rtol=1e-8)


@settings(max_examples=40, deadline=None)
@given(SEEDS, LENGTHS, powers_of_ten(3))  # wider, and statsmodels drops the constant as too small
def test_equals_statsmodels_when_scaled(seed, length, scale):
    series = panel(np.random.default_rng(seed), length, 4) * scale
    ours = engle_granger(series).statistic
    for i, j in ((0, 2), (1, 2), (3, 0)):
        assert ours[i, j] == pytest.approx(coint(series[:, i], series[:, j]), abs=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("trend", ["c", "ct"])
@pytest.mark.parametrize("panels", [10, pytest.param(40, marks=pytest.mark.nightly)])
def test_equals_statsmodels_over_many_pairs(trend, panels):
    for seed in range(panels):
        rng = np.random.default_rng(seed)
        length = int(rng.integers(30, 400))
        assert_like_statsmodels(panel(rng, length, 8), trend, None)


def by_mpmath(y, x, lags):
    """Engle-Granger with a constant in 50 digits."""
    with mpmath.workdps(50):
        y, x = mpmath.matrix(y.tolist()), mpmath.matrix(x.tolist())
        residual = residuals(y, mpmath.matrix([[v, 1] for v in x]))
        change = [residual[t + 1] - residual[t] for t in range(len(residual) - 1)]
        rows = range(lags, len(change))
        design = mpmath.matrix(
            [[residual[t], *(change[t - k] for k in range(1, lags + 1))] for t in rows]
        )
        target = mpmath.matrix([change[t] for t in rows])
        inverse = (design.T * design) ** -1
        beta = inverse * (design.T * target)
        rest = target - design * beta
        variance = (rest.T * rest)[0] / (len(rows) - lags - 1)
        return float(beta[0] / mpmath.sqrt(variance * inverse[0, 0]))


def residuals(y, design):
    beta = mpmath.lu_solve(design.T * design, design.T * y)
    return y - design * beta


@pytest.mark.parametrize("offset", [1e6, 1e8])
def test_a_large_offset_costs_no_digits(offset):
    rng = np.random.default_rng(5)
    series = rng.standard_normal((60, 2)).cumsum(axis=0) + offset
    ours = engle_granger(series, lags=2).statistic[0, 1]
    assert ours == pytest.approx(by_mpmath(series[:, 0], series[:, 1], 2), abs=1e-8)


def test_near_collinear_series_still_have_their_statistic():
    rng = np.random.default_rng(6)
    x = rng.standard_normal(80).cumsum()
    y = 2 * x + 1e-5 * rng.standard_normal(80)
    assert coint(y, x) == -np.inf
    result = engle_granger(np.column_stack([y, x]), lags=1)
    assert result.closeness[0, 1] < 1e-6
    assert result.statistic[0, 1] == pytest.approx(by_mpmath(y, x, 1), rel=1e-7)


def test_crude_oil():
    data = pytest.importorskip("arch.data.crude", reason="arch is not installed").load()
    series = np.log(data[["WTI", "Brent"]].to_numpy())
    result = engle_granger(series)
    assert result.statistic[0, 1] == pytest.approx(-5.539573, abs=5e-7)
    assert result.hedge_ratio[0, 1] == pytest.approx(0.90718, abs=5e-6)


def test_swapping_series_swaps_the_statistics():
    series = panel(np.random.default_rng(7), 300, 9)
    order = np.random.default_rng(8).permutation(9)
    one, two = engle_granger(series).statistic, engle_granger(series[:, order]).statistic
    np.testing.assert_allclose(two, one[np.ix_(order, order)], rtol=1e-11)


def test_hedge_ratios_are_in_the_units_of_the_series():
    series = panel(np.random.default_rng(9), 200, 4)
    one, two = engle_granger(series), engle_granger(series * [1, 1, 1000, 1])
    assert two.hedge_ratio[2, 0] == pytest.approx(1000 * one.hedge_ratio[2, 0])
    assert two.hedge_ratio[0, 2] == pytest.approx(one.hedge_ratio[0, 2] / 1000)
    slope = np.polyfit(series[:, 0], series[:, 2], 1)[0]
    assert one.hedge_ratio[2, 0] == pytest.approx(slope)


def test_threads_change_nothing():
    series = panel(np.random.default_rng(10), 150, 23)
    one, three = engle_granger(series), engle_granger(series, threads=3)
    np.testing.assert_array_equal(one.statistic, three.statistic)
    np.testing.assert_array_equal(one.lags, three.lags)


PRINT = """
import numpy as np
from mlkit.pairs.screen.cointegration import engle_granger
series = np.random.default_rng(1).standard_normal((400, 13)).cumsum(axis=0)
for trend in ("c", "ct"):
    print(engle_granger(series, trend=trend).statistic.ravel().tolist())
"""


def test_instruction_sets_agree():
    found = []
    for isa in _simd.available():
        environment = {**os.environ, "MLKIT_SIMD": isa}
        run = subprocess.run([sys.executable, "-c", PRINT], env=environment, capture_output=True)
        assert run.returncode == 0, run.stderr.decode()
        lines = run.stdout.decode().replace("nan", "0").splitlines()
        found.append(np.array([[float(v) for v in line[1:-1].split(",")] for line in lines]))
    for each in found[1:]:
        np.testing.assert_allclose(each, found[0], rtol=0, atol=1e-10)


def test_progress_may_stop_the_screen():
    series = np.random.default_rng(2).standard_normal((40, 3)).cumsum(axis=0)

    class Enough(Exception):
        pass

    def stop(done, total):
        assert done <= total == 3
        raise Enough

    with pytest.raises(Enough):
        engle_granger(series, progress=stop)


def test_progress_ends_with_all_pairs():
    reports = []
    series = np.random.default_rng(2).standard_normal((60, 30)).cumsum(axis=0)
    engle_granger(series, threads=2, progress=lambda *report: reports.append(report))
    assert reports[-1] == (30 * 29 // 2, 30 * 29 // 2)
    assert reports == sorted(reports)


@pytest.mark.parametrize("count", [2, 9, 17])
def test_portions_and_lists_of_pairs_give_the_statistics_of_the_whole(count):
    series = panel(np.random.default_rng(count), 80, count)
    whole, parts = engle_granger(series), Panel.of(series)
    first = np.maximum(np.arange(count) - 3, 0)
    for begin, end in ((0, count), (1, count - 1), (count // 2, count)):
        found = parts.band(first, begin, end)
        assert (found.i < found.j).all()
        assert len(found.i) == sum(j - first[j] for j in range(begin, end))
        np.testing.assert_array_equal(found.statistic[:, 0], whole.statistic[found.i, found.j])
        np.testing.assert_array_equal(found.statistic[:, 1], whole.statistic[found.j, found.i])
        np.testing.assert_array_equal(found.lags[:, 1], whole.lags[found.j, found.i])
        np.testing.assert_array_equal(found.hedge_ratio[:, 0], whole.hedge_ratio[found.i, found.j])
    listed = parts.pairs(np.array([1, 0]), np.array([0, count - 1]))
    expected = [whole.statistic[1, 0], whole.statistic[0, count - 1]]
    np.testing.assert_allclose(listed.statistic[:, 0], expected, rtol=1e-11)


def test_a_series_alone_has_the_dickey_fuller_statistic_of_its_residual():
    from statsmodels.tsa.stattools import adfuller

    series = np.random.default_rng(4).standard_normal((90, 11)).cumsum(axis=0)
    found = Panel.of(series, "c", 2).unit_roots()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peers = [adfuller(each - each.mean(), 2, "n", None)[0] for each in series.T]
    np.testing.assert_allclose(found, peers, atol=1e-9)


def test_a_constant_series_has_no_statistic():
    series = panel(np.random.default_rng(3), 60, 4)
    series[:, 2] = 5.0
    result = engle_granger(series).statistic
    assert np.isnan(result[2]).all()
    assert np.isnan(result[:, 2]).all()
    assert np.isfinite(result[0, 1])


def test_too_short_series_are_refused():
    with pytest.raises(BadData, match="29 bars are too few"):
        engle_granger(np.ones((29, 2)))
    with pytest.raises(BadData, match="with 20 lags: 44 needed"):
        engle_granger(np.ones((40, 2)), lags=20)


def test_the_kernel_names_what_is_wrong():
    bad = np.ones((2, 30))
    bad[1, 7] = np.inf
    with pytest.raises(ValueError, match=r"series\[1, 7\] is not finite"):
        _pair_kernels.Panel(bad)
    good, none = _pair_kernels.Panel(np.ones((2, 30))), np.zeros(2, int)
    with pytest.raises(ValueError, match="30 points do not fit 14 lags"):
        good.band(none, 0, 2, lags=14, choose=True)
    with pytest.raises(ValueError, match="lags: -1 is negative"):
        good.band(none, 0, 2, lags=-1, choose=True)
    with pytest.raises(ValueError, match="do not fit"):
        good.band(none, 0, 2, lags=2**31 - 1, choose=True)
    with pytest.raises(ValueError, match="begin and end: out of range"):
        good.band(none, 0, 3, lags=1, choose=True)
    with pytest.raises(ValueError, match=r"first\[1\] is out of range"):
        good.band(np.array([0, 2]), 0, 2, lags=1, choose=True)
    with pytest.raises(ValueError, match=r"second\[0\] is out of range"):
        good.pairs(np.array([0]), np.array([2]), lags=1, choose=True)


def test_schwert():
    assert [schwert(n) for n in (30, 252, 1260)] == [9, 16, 23]
