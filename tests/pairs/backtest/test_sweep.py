"""The sweep uses the engine's arithmetic, whatever the number of threads."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings as runs
from hypothesis import strategies as st
from pairs.markets import cointegrated

from mlkit import _simd
from mlkit.errors import BadData, UsageError
from mlkit.pairs import _pair_strategy as native
from mlkit.pairs.backtest.replay import run
from mlkit.pairs.backtest.sweep import Grid, sweep
from mlkit.pairs.settings import Costs, Limits, Rule, Selection, Settings, Signal, Sizing
from mlkit.pairs.windows import GivenPair, plan

SETTINGS = Settings(
    costs=Costs(0.01, 1.0, 2.0, 3.0, 4.0, borrow_rate=0.05),
    signal=Signal(lookback=15),
    formation=80,
    cash_rate=0.03,
    bars_per_year=252.0,
)


def on_one_pair(market, settings, grid, **options):
    """Sweep the pair A, B."""
    longest = replace(settings.signal, lookback=max(grid.lookback))
    planned = plan(market, [GivenPair("A", "B")], replace(settings, signal=longest))
    return sweep(market, planned, settings, grid, **options)


GRID = Grid((1.0, 1.5, 2.0), (-0.5, 0.0, 0.5), (3.0, float("inf")), (10, 25))


@forall(
    st.integers(0, 2**32 - 1), st.booleans(), st.booleans(), st.booleans(),
    st.sampled_from([1e4, 3e5]), st.sampled_from([0, 4]), st.sampled_from([0.0, 0.03]),
)  # fmt: skip
@runs(max_examples=30, deadline=None)
def test_each_configuration_equals_its_backtest_bit_for_bit(
    seed, same_bar, opens, dividends, gross, max_bars, cash_rate
):
    market = cointegrated(seed, bars=250, tickers=2)
    market = replace(
        market, open=market.open if opens else None,
        dividends=market.dividends if dividends else None,
    )  # fmt: skip
    settings = replace(
        SETTINGS, same_bar=same_bar, sizing=Sizing(gross=gross), cash_rate=cash_rate,
        limits=Limits(initial_margin=0.3, maintenance_margin=0.3), rule=Rule(max_bars=max_bars),
    )  # fmt: skip
    swept = on_one_pair(market, settings, GRID)
    for (rule, lookback), score in zip(swept.configurations, swept.scores, strict=True):
        one = replace(settings, rule=rule, signal=Signal(lookback=lookback))
        result = run(market, plan(market, [GivenPair("A", "B")], one), one)
        assert score["equity"] == result.account["equity"][-1]
        assert score["trades"] == len(result.trades)
        assert score["turnover"] == pytest.approx(result.trades["turnover"].sum())
        assert score["sharpe"] * np.sqrt(252.0) == pytest.approx(
            result.performance.sharpe or 0.0, abs=1e-9
        )
        assert score["drawdown"] == pytest.approx(result.performance.max_drawdown, abs=1e-12)


def test_threads_change_nothing():
    market = cointegrated(3, tickers=2)
    one, two = (on_one_pair(market, SETTINGS, GRID, threads=n) for n in (1, 2))
    assert one.scores.tobytes() == two.scores.tobytes()
    assert one.deflated == two.deflated


@pytest.mark.parametrize("cash_rate", [0.0, 0.03])
def test_instruction_sets_give_equal_bits(monkeypatch, cash_rate):
    market = cointegrated(3, bars=1003, tickers=2)
    settings = replace(
        SETTINGS, cash_rate=cash_rate, costs=Costs(0.01, 1.0, 2.0, 3.0, 4.0, cash_rate)
    )
    found = []
    for name in _simd.available():
        monkeypatch.setenv("MLKIT_SIMD", name)
        swept = on_one_pair(market, settings, GRID)
        found.append((swept.scores.tobytes(), swept.deflated))
    assert all(each == found[0] for each in found)


def test_the_best_of_a_sweep_of_noise_is_deflated():
    rng = np.random.default_rng(7)
    market = cointegrated(7, bars=1000, tickers=2)
    noise = 50.0 * np.exp(np.cumsum(rng.normal(0, 0.01, (1000, 2)), axis=0))
    free = replace(SETTINGS, costs=Costs(0, 0, 0, 0, 0, 0), cash_rate=0.0)
    swept = on_one_pair(replace(market, close=noise, open=None, dividends=None), free, GRID)
    assert swept.deflated.trials == len(swept.configurations)
    assert swept.scores["sharpe"][swept.best] == swept.scores["sharpe"].max()
    assert swept.deflated.probability < 0.95


def test_impossible_grids_and_signals_are_refused():
    market = cointegrated(1, tickers=2)
    with pytest.raises(UsageError, match="no combination"):
        on_one_pair(market, SETTINGS, Grid((1.0,), (2.0,), (9.0,), (20,)))
    with pytest.raises(UsageError, match="has no lookback"):
        on_one_pair(market, replace(SETTINGS, signal=Signal(zscore="ou")), GRID)
    with pytest.raises(UsageError, match="combinations"):
        on_one_pair(market, SETTINGS, Grid((1.0,) * 2000, (0.0,) * 2000, (9.0,), (20,)))
    with pytest.raises(UsageError, match="there is one window"):
        on_one_pair(market, SETTINGS, GRID, walk_forward=True)


def test_a_configuration_that_loses_the_account_stops_the_sweep():
    market = cointegrated(1, tickers=2)
    ruinous = replace(
        SETTINGS,
        sizing=Sizing(gross=5e6),
        limits=Limits(initial_margin=0.0, maintenance_margin=0.0),
    )
    with pytest.raises(BadData, match="the account is lost"):
        on_one_pair(market, ruinous, GRID)


def test_bad_arrays_are_named():
    closes = np.array([[1.0, -2.0, 3.0], [1.0, 2.0, 3.0]])
    common = {"trade": 1, "signals": [native.Signal(lookback=2)], "settings": native.Settings()}
    with pytest.raises(ValueError, match=r"closes\[1\]"):
        native.sweep(closes=closes, grid=np.array([[2.0, 0.5, 9.0, 0.0]]), **common)
    with pytest.raises(ValueError, match=r"grid\[0\]: its signal"):
        native.sweep(closes=abs(closes), grid=np.array([[2.0, 0.5, 9.0, 1.0]]), **common)


WALKING = replace(SETTINGS, formation=80, trading=50, selection=Selection(method="distance", top=2))
COARSE = Grid((1.0, 2.0), (0.0, 0.5), (float("inf"),), (10, 25))


def walking(market, settings=WALKING, **options):
    """Sweep over windows whose pairs are chosen by distance."""
    longest = replace(settings, signal=replace(settings.signal, lookback=25))
    return sweep(market, plan(market, [], longest), settings, COARSE, **options)


@forall(st.integers(0, 2**32 - 1))
@runs(max_examples=5, deadline=None)
def test_each_configuration_over_windows_equals_its_backtest(seed):
    market = cointegrated(seed, bars=300)
    swept = walking(market, threads=2)
    for (rule, lookback), score in zip(swept.configurations, swept.scores, strict=True):
        one = replace(WALKING, rule=rule, signal=Signal(lookback=lookback))
        result = run(market, plan(market, [], one), one)
        assert score["equity"] == result.account["equity"][-1]
        assert score["trades"] == len(result.trades)
        sharpe = result.performance.sharpe or 0.0
        assert score["sharpe"] * np.sqrt(252.0) == pytest.approx(sharpe, abs=1e-9)
        assert score["drawdown"] == pytest.approx(result.performance.max_drawdown, abs=1e-12)


def test_a_walk_forward_chooses_by_the_window_before_and_trades_in_the_next():
    market = cointegrated(5, bars=400)
    swept = walking(market, walk_forward=True)
    walk = swept.walk
    assert len(walk.chosen) == len(swept.windows) - 1
    assert len(set(walk.chosen)) > 1
    assert walk.backtest.first == swept.windows[1].start
    for window, number, promised in zip(swept.windows, walk.chosen, walk.promised, strict=False):
        seen = market.window(0, window.stop)
        scores = []
        for rule, lookback in swept.configurations:
            one = replace(WALKING, rule=rule, signal=Signal(lookback=lookback))
            equity = run(seen, plan(seen, [], one), one).account["equity"][window.start - 1 :]
            excess = np.diff(equity) / equity[:-1] - 0.03 / 252.0
            scores.append(excess.mean() / excess.std(ddof=1))
        assert number == int(np.argmax(scores))
        assert promised == pytest.approx(max(scores))
    rules = [window.rule for window in walk.backtest.windows]
    assert rules == [swept.configurations[number][0] for number in walk.chosen]


@forall(st.integers(0, 2**32 - 1))
@runs(max_examples=10, deadline=None)
def test_what_a_walk_forward_trades_does_not_know_the_future(seed):
    market = cointegrated(seed, bars=330)
    whole = walking(market, walk_forward=True).walk.backtest
    cut = int(np.random.default_rng(seed).integers(200, 330))
    short = walking(market.window(0, cut), walk_forward=True).walk.backtest
    early = whole.choices[whole.choices["bar"] < cut]
    np.testing.assert_array_equal(short.choices, early)
    np.testing.assert_array_equal(short.account[: cut - 1], whole.account[: cut - 1])


@pytest.mark.parametrize("trade", [9, 2**63, 2**64 - 3, 2**64 - 2, 2**64 - 1])
def test_a_first_bar_beyond_the_series_is_refused_however_large(trade):
    closes = np.linspace(1.0, 2.0, 20).reshape(2, 10)
    signal, settings = native.Signal(lookback=2), native.Settings()
    with pytest.raises(ValueError, match="trade must leave at least two bars"):
        native.equity(closes=closes, trade=trade, signal=signal, settings=settings)
    with pytest.raises(ValueError, match="trade must leave at least two bars"):
        native.sweep(closes=closes, grid=np.array([[2.0, 0.5, 9.0, 0.0]]), trade=trade,
                     signals=[signal], settings=settings)  # fmt: skip
