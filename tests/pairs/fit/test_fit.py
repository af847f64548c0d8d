from __future__ import annotations

import numpy as np
import pytest

from mlkit.errors import BadData, UsageError
from mlkit.pairs.fit import hedging, ornstein_uhlenbeck
from mlkit.pairs.fit.johansen import johansen
from mlkit.pairs.fit.ornstein_uhlenbeck import bertram
from mlkit.pairs.fit.pair import fit_pair
from mlkit.pairs.fit.spread import half_life, hurst
from mlkit.pairs.prices.prices import read

EXAMPLE = "examples/pairs/us_large_caps.csv.gz"


def process(rng, length, speed=0.05, mean=2.0, volatility=0.1):
    keep = np.exp(-speed)
    deviation = volatility * np.sqrt((1 - keep**2) / (2 * speed))
    noise = rng.standard_normal(length) * deviation
    values = np.empty(length)
    values[0] = volatility / np.sqrt(2 * speed) * rng.standard_normal()
    for t in range(1, length):
        values[t] = keep * values[t - 1] + noise[t]
    return values + mean


def coverage(simulations, seed):
    rng = np.random.default_rng(seed)
    truth = {"speed": 0.05, "mean": 2.0, "volatility": 0.1, "half_life": np.log(2) / 0.05}
    hits = dict.fromkeys(truth, 0)
    for _ in range(simulations):
        found = ornstein_uhlenbeck.fit(process(rng, 5000))
        assert found is not None
        for name, value in truth.items():
            low, high = getattr(found, name).interval()
            hits[name] += low <= value <= high
    return {name: count / simulations for name, count in hits.items()}


def test_intervals_cover_the_truth():
    for name, share in coverage(200, 1).items():
        assert 0.89 <= share <= 0.99, name


@pytest.mark.slow
def test_intervals_cover_the_truth_in_a_thousand_simulations():
    for name, share in coverage(1000, 2).items():
        assert 0.92 <= share <= 0.98, name


def test_a_random_walk_that_trends_has_no_process():
    assert ornstein_uhlenbeck.fit(np.exp(np.linspace(0, 3, 100))) is None


def test_bertram_thresholds():
    best = bertram(180.9670, 0.1538, 0.001)
    assert best.return_rate == pytest.approx(0.492358, abs=5e-7)
    assert best.cycle_time == pytest.approx(0.017122, abs=5e-7)


def test_bertram_thresholds_agree_with_a_simulation():
    best = bertram(0.1, 0.05, 0.02)
    rng, level, side, cycles, step = np.random.default_rng(3), 0.0, 1, 0, 0.02
    bars = 60_000
    for noise in rng.standard_normal(int(bars / step)) * 0.05 * np.sqrt(step):
        level += -0.1 * level * step + noise
        if side * level >= best.distance:
            side, cycles = -side, cycles + 1
    earned = cycles * (best.distance - 0.01)
    assert earned / bars == pytest.approx(best.return_rate, rel=0.08)


def test_danish_money_demand():
    data = pytest.importorskip("statsmodels.datasets.danish_data").load().data
    series = data[["lrm", "lry", "ibo", "ide"]].to_numpy()
    found = johansen(series, 1, restricted=True, season=4)
    assert [round(each.eigenvalue, 4) for each in found] == [0.4332, 0.1776, 0.1128, 0.0434]
    assert [round(each.maximum, 2) for each in found] == [30.09, 10.36, 6.34, 2.35]
    assert [round(each.trace, 2) for each in found] == [49.14, 19.06, 8.69, 2.35]


@pytest.mark.parametrize("lags", [1, 4])  # without lags statsmodels aligns its levels wrongly
@pytest.mark.parametrize(("trend", "order"), [("n", -1), ("c", 0), ("ct", 1)])
def test_johansen_is_what_statsmodels_reports(lags, trend, order):
    from statsmodels.tsa.vector_ar.vecm import coint_johansen

    rng = np.random.default_rng(9)
    series = rng.standard_normal((200, 3)).cumsum(axis=0)
    series[:, 2] = series[:, 0] + rng.standard_normal(200)
    ours, peer = johansen(series, lags, trend=trend), coint_johansen(series, order, lags)
    for rank, each in enumerate(ours):
        assert each.eigenvalue == pytest.approx(peer.eig[rank], rel=1e-8)
        assert each.trace == pytest.approx(peer.trace_stat[rank], rel=1e-8)
        assert each.maximum == pytest.approx(peer.max_eig_stat[rank], rel=1e-8)
        assert each.trace_critical == tuple(peer.trace_stat_crit_vals[rank])
        assert each.maximum_critical == tuple(peer.max_eig_stat_crit_vals[rank])


def test_johansen_with_a_restricted_constant_has_critical_values():
    series = np.random.default_rng(9).standard_normal((200, 2)).cumsum(axis=0)
    none, one = johansen(series, 1, restricted=True)
    assert none.trace_critical == (17.98, 20.26, 25.08)
    assert one.maximum_critical == (7.56, 9.16, 12.76)
    assert none.trace != johansen(series, 1)[0].trace
    with pytest.raises(UsageError, match="restricted constant has no trend 'ct'"):
        johansen(series, 1, trend="ct", restricted=True)


def test_the_fit_makes_the_johansen_test_that_is_asked_for():
    prices = read("examples/pairs/us_large_caps.csv.gz", tickers=["KO", "PEP"]).window(
        "2019-01-01", None
    )
    usual = fit_pair(prices, "KO", "PEP").johansen
    for options in ({"trend": "ct"}, {"johansen_lags": 3}, {"restricted_constant": True}):
        assert fit_pair(prices, "KO", "PEP", **options).johansen[0].trace != usual[0].trace


def test_half_life_and_hurst():
    rng = np.random.default_rng(4)
    reverting, walk = process(rng, 20_000), rng.standard_normal(20_000).cumsum()
    spreads = np.column_stack([reverting, walk, rng.standard_normal(20_000), np.arange(20_000.0)])
    lives = half_life(spreads)
    assert lives[0] == pytest.approx(np.log(2) / 0.05, rel=0.15)
    assert lives[1] > 1000
    assert lives[2] < 0.3
    assert lives[3] == np.inf
    exponents = hurst(spreads[:, :3])
    assert exponents[1] == pytest.approx(0.5, abs=0.05)
    assert exponents[2] == pytest.approx(0.0, abs=0.02)
    assert exponents[2] < exponents[0] < exponents[1]


@pytest.fixture(scope="module")
def series():
    rng = np.random.default_rng(5)
    x = rng.standard_normal(500).cumsum() + 50
    return 3 + 1.2 * x + process(rng, 500), x


def test_least_squares(series):
    from scipy.stats import linregress

    y, x = series
    ours, peer = hedging.least_squares(y, x), linregress(x, y)
    assert ours.hedge_ratio == pytest.approx(peer.slope)
    assert ours.hedge_ratio_error == pytest.approx(peer.stderr)
    assert ours.intercept == pytest.approx(peer.intercept)
    assert ours.r_squared == pytest.approx(peer.rvalue**2)


def test_rolling_least_squares(series):
    y, x = series
    ours = hedging.rolling(y, x, 40)
    assert np.isnan(ours[:39]).all()
    for t in (39, 123, 499):
        window = slice(t - 39, t + 1)
        assert ours[t] == pytest.approx(hedging.least_squares(y[window], x[window]).hedge_ratio)
    with pytest.raises(UsageError, match="a window of 501 bars does not fit 500 bars"):
        hedging.rolling(y, x, 501)


def test_the_kalman_filter_follows_a_hedge_ratio_that_moves():
    rng = np.random.default_rng(6)
    x = rng.standard_normal(2000).cumsum() + 80
    truth = np.where(np.arange(2000) < 1000, 1.0, 2.0)
    found = hedging.kalman(truth * x + rng.standard_normal(2000), x, drift=1e-3)
    assert found.hedge_ratio[990] == pytest.approx(1.0, abs=0.15)
    assert found.hedge_ratio[1990] == pytest.approx(2.0, abs=0.15)


def test_the_kalman_filter_knows_no_units(series):
    y, x = series
    one, two = hedging.kalman(y, x), hedging.kalman(1000 * y + 5, x / 7)
    np.testing.assert_allclose(two.hedge_ratio[5:], 7000 * one.hedge_ratio[5:], rtol=1e-6)
    np.testing.assert_allclose(two.deviation[5:], 7000 * one.deviation[5:], rtol=1e-6)


def test_the_kalman_filter_without_drift_is_least_squares(series):
    y, x = series
    found = hedging.kalman(y, x, drift=1e-15)
    assert found.hedge_ratio[-1] == pytest.approx(hedging.least_squares(y, x).hedge_ratio, rel=1e-5)


def test_a_real_pair():
    prices = read(EXAMPLE).window("2015-01-01", "2020-01-01")
    found = fit_pair(prices, "KO", "PEP")
    assert found.bars == 1258
    assert found.engle_granger[0].statistic == pytest.approx(-3.03, abs=0.005)
    assert found.engle_granger[0].critical[1] == pytest.approx(-3.34, abs=0.005)
    assert found.process is not None
    assert found.process.half_life.value == pytest.approx(
        half_life(found.spread[:, None])[0], rel=0.02
    )
    assert found.p_value > 0.05
    assert len(found.johansen) == 2


def test_a_multiple_of_a_series_has_no_spread(tmp_path):
    prices = read(EXAMPLE).window("2015-01-01", "2016-01-01").select(["KO", "PEP"])
    prices.close[:, 1] = 2 * prices.close[:, 0]
    with pytest.raises(BadData, match="KO is a multiple of PEP"):
        fit_pair(prices, "KO", "PEP", levels=True)
