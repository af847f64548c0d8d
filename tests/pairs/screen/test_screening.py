from __future__ import annotations

import numpy as np
import pytest

from mlkit.errors import BadData
from mlkit.pairs.prices.prices import Prices, read
from mlkit.pairs.screen.screening import Criteria, Filters, screen

EXAMPLE = "examples/pairs/us_large_caps.csv.gz"


def prices_of(series, tickers=None) -> Prices:
    """Prices whose logs are given, shape (length, n)."""
    length, count = series.shape
    days = np.datetime64("2020-01-01", "ns") + np.arange(length).astype("timedelta64[D]")
    names = tickers or tuple(f"T{n:02d}" for n in range(count))
    return Prices(tuple(names), days, None, np.exp(series), source="test")


def walks(seed, length=252, count=20, scale=0.01):
    return np.random.default_rng(seed).standard_normal((length, count)).cumsum(axis=0) * scale + 3


@pytest.fixture(scope="module")
def planted() -> Prices:
    """Random walks; T19 is 0.3 + 1.5 * T03 and an error with a half-life of 3 bars."""
    series, rng = walks(1), np.random.default_rng(2)
    error = np.zeros(252)
    for t in range(1, 252):
        error[t] = 0.8 * error[t - 1] + 0.01 * rng.standard_normal()
    series[:, 19] = 0.3 + 1.5 * series[:, 3] + error
    return prices_of(series)


def test_a_planted_pair_is_found(planted):
    found = screen(planted, Criteria())
    assert [{pair.y, pair.x} for pair in found.pairs] == [{"T03", "T19"}]
    pair = found.pairs[0]
    ratio = pair.hedge_ratio if pair.y == "T19" else 1 / pair.hedge_ratio
    assert ratio == pytest.approx(1.5, abs=0.1)
    assert 1.5 < pair.half_life < 6
    assert pair.hurst < 0.4
    assert (found.considered, found.tested, found.tickers) == (190, 190, 20)
    assert pair.adjusted_p == found.best_adjusted_p <= 0.05


def test_nothing_passes_on_random_walks():
    found = screen(prices_of(walks(3)), Criteria())
    assert found.pairs == ()
    assert found.best_adjusted_p > 0.05


@pytest.mark.parametrize("fdr", ["by", "bh"])
def test_few_sets_of_random_walks_have_a_discovery(fdr):
    hits = sum(
        bool(screen(prices_of(walks([seed, 4], 60, 12)), Criteria(fdr=fdr)).pairs)
        for seed in range(200)
    )
    assert hits <= 10 + 3 * np.sqrt(10)


@pytest.mark.slow
@pytest.mark.parametrize("length", [60, 252])
@pytest.mark.parametrize("fdr", ["by", "bh"])
def test_false_discoveries_stay_below_the_rate(length, fdr):
    sets = 400
    hits = sum(
        bool(screen(prices_of(walks([seed, 5], length, 40)), Criteria(fdr=fdr)).pairs)
        for seed in range(sets)
    )
    assert hits <= 0.05 * sets + 3 * np.sqrt(0.05 * sets)


@pytest.mark.parametrize("method", ["cointegration", "correlation", "distance"])
@pytest.mark.parametrize("scale", ["log", "levels"])
def test_the_order_of_the_columns_is_nothing(planted, method, scale):
    criteria = Criteria(method=method, scale=scale, fdr="none", top=10)
    one = screen(planted, criteria).pairs
    two = screen(planted.select(planted.tickers[::-1]), criteria).pairs
    assert [(pair.y, pair.x) for pair in one] == [(pair.y, pair.x) for pair in two]
    for a, b in zip(one, two, strict=True):
        assert a.hedge_ratio == pytest.approx(b.hedge_ratio, rel=1e-9)


def test_rescaling_a_ticker_changes_no_statistic_and_no_money(planted):
    factor = np.ones(20)
    factor[3] = 100.0
    other = prices_of(np.log(planted.close * factor))
    for scale in ("log", "levels"):
        one = screen(planted, Criteria(scale=scale)).pairs[0]
        two = screen(other, Criteria(scale=scale)).pairs[0]
        assert two.statistic == pytest.approx(one.statistic, abs=1e-9)
        by = 1.0 if scale == "log" else (100.0 if one.y == "T03" else 0.01)
        assert two.hedge_ratio == pytest.approx(one.hedge_ratio * by)


@pytest.mark.parametrize("method", ["cointegration", "correlation"])
def test_mirroring_a_ticker_turns_its_hedge_ratio(planted, method):
    mirrored = np.log(planted.close)
    mirrored[:, 3] = 6 - mirrored[:, 3]
    one = screen(planted, Criteria(method=method, top=1)).pairs[0]
    two = screen(prices_of(mirrored), Criteria(method=method, top=1)).pairs[0]
    assert (two.y, two.x) == (one.y, one.x)
    assert two.hedge_ratio == pytest.approx(-one.hedge_ratio, rel=1e-9)
    assert two.correlation == pytest.approx(-one.correlation)
    assert two.half_life == pytest.approx(one.half_life)
    if one.statistic is not None:
        assert two.statistic == pytest.approx(one.statistic, abs=1e-9)


def test_correlation_ranks_both_signs():
    steps = np.random.default_rng(6).standard_normal((100, 4)) * 0.01
    steps[:, 1] = -steps[:, 0] + 0.001 * steps[:, 1]
    steps[:, 3] = steps[:, 2] + 0.01 * steps[:, 3]
    found = screen(prices_of(steps.cumsum(axis=0)), Criteria(method="correlation", top=2)).pairs
    assert {(pair.y, pair.x): round(pair.correlation) for pair in found} == {
        ("T00", "T01"): -1,
        ("T02", "T03"): 1,
    }


def test_distance_is_gatevs():
    prices = read(EXAMPLE).window("2019-01-01", "2020-01-01").select(["KO", "PEP", "XOM"])
    found = screen(prices, Criteria(method="distance")).pairs
    normalised = prices.close / prices.close[0]
    distance = ((normalised[:, 0] - normalised[:, 1]) ** 2).sum()
    assert (found[0].y, found[0].x, found[0].distance) == ("KO", "PEP", pytest.approx(distance))
    assert [pair.distance for pair in found] == sorted(pair.distance for pair in found)
    assert found[0].hedge_ratio == 1.0
    assert found[0].p_value is None


def test_filters_before_the_tests_lower_their_number(planted):
    groups = {ticker: str(n % 2) for n, ticker in enumerate(planted.tickers)}
    found = screen(planted, Criteria(filters=Filters(groups=groups)))
    assert (found.tested, found.filtered) == (90, 100)
    assert [{pair.y, pair.x} for pair in found.pairs] == [{"T03", "T19"}]
    close = screen(planted, Criteria(filters=Filters(min_correlation=0.5)))
    assert close.tested < 10
    dear = screen(planted, Criteria(filters=Filters(min_price=1e9)))
    assert (dear.tested, dear.pairs, dear.best_adjusted_p) == (0, (), None)
    with pytest.raises(BadData, match="no group for ticker 'T00'"):
        screen(planted, Criteria(filters=Filters(groups={"T01": "a"})))


def test_filters_of_the_spread_do_not_change_the_tests(planted):
    plain = screen(planted, Criteria())
    for filters in (Filters(half_life=(50, 60)), Filters(max_hurst=0.01)):
        found = screen(planted, Criteria(filters=filters))
        assert found.pairs == ()
        assert (found.tested, found.best_adjusted_p) == (plain.tested, plain.best_adjusted_p)


def test_near_collinear_pairs_are_named_and_not_tested(planted):
    series = np.log(planted.close)
    series[:, 7] = series[:, 5] + 1e-7 * np.arange(252) % 3
    found = screen(prices_of(series), Criteria())
    assert found.near_collinear == (("T05", "T07"),)
    assert found.tested == 189


def test_tickers_without_complete_bars_are_left_out(planted):
    close = planted.close.copy()
    close[:10, 4] = np.nan
    found = screen(prices_of(np.log(close)), Criteria())
    assert found.left_out == {"T04": "10 bars without a price"}
    assert found.considered == 19 * 18 // 2


def test_what_cannot_be_screened(planted):
    with pytest.raises(BadData, match="29 bars in the window"):
        screen(planted.window(0, 29), Criteria())
    with pytest.raises(BadData, match="needs 2 tickers with complete bars, and finds 1"):
        screen(planted.select(["T01"]), Criteria())


def test_coca_cola_and_pepsi_do_not_pass():
    whole = read(EXAMPLE, tickers=["KO", "PEP"])
    for start, stop, statistic in (("2010", "2015", -1.66), ("2015", "2020", -3.03)):
        window = whole.window(f"{start}-01-01", f"{stop}-01-01")
        from mlkit.pairs.screen.cointegration import engle_granger

        found = engle_granger(np.log(window.close)).statistic[0, 1]
        assert found == pytest.approx(statistic, abs=0.005)
        assert screen(window, Criteria()).pairs == ()
