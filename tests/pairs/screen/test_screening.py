from __future__ import annotations

import numpy as np
import pytest

from mlkit.errors import BadData, UsageError
from mlkit.pairs.prices.prices import Prices, read
from mlkit.pairs.screen.cointegration import band_pairs
from mlkit.pairs.screen.criteria import Criteria, Filters
from mlkit.pairs.screen.power import expected_power
from mlkit.pairs.screen.prior import by_correlation, by_groups, count
from mlkit.pairs.screen.screening import screen, stationary
from mlkit.pairs.screen.universe import Universe

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
        for seed in range(60)
    )
    assert hits <= 3 + 3 * np.sqrt(3)


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


def test_stationary_tickers_are_named_and_left_out():
    series = walks(30, 504, 12)
    pegged = np.random.default_rng(31).standard_normal(504) * 1e-4
    prices = prices_of(np.column_stack([series, pegged]), [*"ABCDEFGHIJKL", "USDX"])
    found = screen(prices, Criteria())
    assert (list(found.left_out), found.pairs, found.tickers) == (["USDX"], (), 12)
    assert found.left_out["USDX"].startswith("stationary")
    kept = screen(prices, Criteria(keep_stationary=True))
    assert len(kept.pairs) == 12
    assert all(pair.hedges_little and "USDX" in (pair.y, pair.x) for pair in kept.pairs)


def test_a_universe_of_stationary_tickers_has_no_pairs():
    noise = np.random.default_rng(32).standard_normal((200, 4)) * 0.01
    found = screen(prices_of(noise), Criteria())
    assert (found.pairs, found.tickers, found.tested, len(found.left_out)) == ((), 0, 0, 4)


def test_few_random_walks_are_called_stationary():
    wrong = sum(bool(stationary(prices_of(walks([n, 6], 100, 10)), Criteria())) for n in range(200))
    assert wrong <= 10 + 3 * np.sqrt(10)


def test_pairs_within_groups_do_not_depend_on_the_order_of_the_tickers(planted):
    groups = {ticker: str(n % 3) for n, ticker in enumerate(planted.tickers)}
    criteria = Criteria(filters=Filters(groups=groups), fdr="none", top=8)
    one = screen(planted, criteria)
    two = screen(planted.select(planted.tickers[::-1]), criteria)
    alone = screen(
        planted.select([t for t in planted.tickers if groups[t] == "1"]), Criteria(fdr="none")
    )
    assert [(p.y, p.x) for p in one.pairs] == [(p.y, p.x) for p in two.pairs]
    assert one.tested == 21 + 21 + 15
    assert {(p.y, p.x) for p in alone.pairs} <= {(p.y, p.x) for p in one.pairs}


@pytest.mark.parametrize("fdr", ["by", "bh", "none"])
def test_adjusted_p_values_are_those_of_all_tests(planted, fdr):
    """A screen that keeps only what may pass adjusts as if it had kept everything."""
    from scipy.stats import false_discovery_control

    every = screen(planted, Criteria(fdr="none", alpha=1.0, prior="none")).pairs
    p = np.array([pair.p_value for pair in every])
    adjusted = p if fdr == "none" else false_discovery_control(p, method=fdr)
    found = screen(planted, Criteria(fdr=fdr, prior="none", alpha=0.2))
    wanted = {(pair.y, pair.x): a for pair, a in zip(every, adjusted, strict=True) if a <= 0.2}
    assert {(pair.y, pair.x): pair.adjusted_p for pair in found.pairs} == pytest.approx(wanted)
    assert found.best_adjusted_p == pytest.approx(adjusted.min(), rel=2e-3)
    missing = screen(planted, Criteria(fdr=fdr, prior="none", alpha=1e-12))
    assert missing.best_adjusted_p == pytest.approx(adjusted.min(), rel=5e-3)


def test_weights_have_a_mean_of_one(planted):
    for prior, groups in (("correlation", None), ("groups", dict.fromkeys(planted.tickers, "a"))):
        universe = Universe.of(planted, "log")
        weights = (
            by_correlation(count(universe, None, 0, 20))
            if groups is None
            else by_groups(universe, np.array([str(n % 4) for n in range(20)]))
        )
        i, j = band_pairs(universe.first, 0, 20)
        found = weights.of(universe, 0, 20, i, j)
        assert found.mean() == pytest.approx(1.0), prior
        assert found.min() >= 0.5


def universe_with_pairs(seed, count, pairs, bars, half_life):
    rng = np.random.default_rng(seed)
    series = rng.standard_normal((bars, count)).cumsum(axis=0) * 0.01
    kept = 0.5 ** (1 / half_life)
    shocks = rng.standard_normal((bars, pairs)) * 0.01
    for t in range(1, bars):
        shocks[t] += kept * shocks[t - 1]
    series[:, 1 : 2 * pairs : 2] = series[:, : 2 * pairs : 2] * 1.2 + shocks
    return prices_of(series, [f"T{n:04d}" for n in range(count)])


def test_a_prior_finds_more_without_more_false_discoveries():
    """Planted pairs among 120 tickers; half of their spreads' gap closes in 10 bars."""
    prices = universe_with_pairs(2, 120, 10, 700, 10)
    true = {(f"T{n:04d}", f"T{n + 1:04d}") for n in range(0, 20, 2)}
    hits = {}
    for prior in ("correlation", "none"):
        pairs = screen(prices, Criteria(prior=prior)).pairs
        hits[prior] = {tuple(sorted((pair.y, pair.x))) for pair in pairs}
    assert len(hits["none"] & true) < len(hits["correlation"] & true)
    assert len(hits["correlation"] & true) >= 5
    assert len(hits["correlation"] - true) <= 1


def test_groups_as_a_prior_find_pairs_within_and_across():
    prices = universe_with_pairs(2, 60, 5, 500, 5)
    groups = {ticker: str(n // 4) for n, ticker in enumerate(prices.tickers)}
    found = screen(prices, Criteria(prior="groups", filters=Filters(groups=groups)))
    assert found.tested == 60 * 59 // 2
    assert len(found.pairs) >= 4
    weights = {pair.weight for pair in found.pairs}
    assert max(weights) > 5
    with pytest.raises(UsageError, match="there are none"):
        Criteria(prior="groups")


def test_power_rises_with_bars_and_falls_with_the_half_life():
    short, long = (expected_power(bars, 1000) for bars in (252, 1000))
    assert all(a.plain <= b.plain for a, b in zip(short, long, strict=True))
    assert [each.plain for each in long] == sorted((each.plain for each in long), reverse=True)
    assert all(each.favoured >= each.plain for each in long)
    assert long[0].plain > 0.95


def test_a_stopped_screen_goes_on_from_its_checkpoint(tmp_path, monkeypatch, planted):
    monkeypatch.setattr("mlkit.pairs.screen.universe.PORTION", 40)
    criteria = Criteria(fdr="none")
    whole = screen(planted, criteria)

    class Stop(Exception):
        pass

    def stop(done, total):
        if done > 90:
            raise Stop

    with pytest.raises(Stop):
        screen(planted, criteria, checkpoint=tmp_path / "state", progress=stop)
    kept = sorted((tmp_path / "state").glob("*.npz"))
    assert kept
    times = [each.stat().st_mtime_ns for each in kept]
    kept[-1].write_bytes(b"damaged")
    again = screen(planted, criteria, checkpoint=tmp_path / "state")
    assert again == whole
    assert [each.stat().st_mtime_ns for each in kept[:-1]] == times[:-1]
    with pytest.raises(UsageError, match="a screen of other prices"):
        screen(planted, Criteria(fdr="bh"), checkpoint=tmp_path / "state")


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
