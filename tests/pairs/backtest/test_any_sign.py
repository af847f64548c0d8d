"""Backtests of spreads and futures, whose prices may be zero or negative."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings as runs
from hypothesis import strategies as st
from pairs.backtests import PAIRS, SETTINGS, backtest, held
from pairs.markets import cointegrated, prices

from mlkit import _simd
from mlkit.errors import BadData
from mlkit.pairs import LiveEngine
from mlkit.pairs.backtest.replay import run
from mlkit.pairs.backtest.summary import warnings
from mlkit.pairs.backtest.sweep import Grid, sweep
from mlkit.pairs.screen.criteria import Criteria
from mlkit.pairs.screen.screening import screen
from mlkit.pairs.settings import Costs, Limits, Selection, Settings, Signal, Sizing
from mlkit.pairs.strategy.strategy import Order, Strategy
from mlkit.pairs.windows import GivenPair, plan

LEVELS = Signal(lookback=15, log=False)
ANY_SIGN = replace(SETTINGS, signal=LEVELS, sizing=Sizing(1e9, gross=2_000.0))


def spreads(seed, bars=300):
    """Tickers that revert to a common trend; about half of all closes are negative."""
    market = cointegrated(seed, bars=bars)
    middle = np.median(market.close, axis=0)
    return replace(market, close=market.close - middle, open=market.open - middle)


class Scripted(Strategy):
    """Enters long at one bar and leaves at another."""

    def __init__(self, entry, leave):
        self.entry, self.leave = entry, leave

    def start(self):
        return 0

    def step(self, bar, features, position):
        order = {self.entry: Order.ENTER_LONG, self.leave: Order.EXIT}.get(bar, Order.NONE)
        return bar + 1, order


def test_one_trade_through_negative_prices_by_hand():
    y = [1.0, 2.0, -2.0, -1.0, 0.5, 1.0, 1.0]
    x = [1.0, 2.0, 3.0, 4.0, -2.0, -1.0, 1.0]
    settings = Settings(
        signal=Signal(lookback=2, log=False),
        sizing=Sizing(capital=10_000.0, gross=3_500.0),
        costs=Costs(0.01, 1.0, 4.0, 3.0, 3.0, borrow_rate=0.252),
        limits=Limits(initial_margin=0.0, maintenance_margin=0.0),
        bars_per_year=252.0,
    )
    market = prices(np.array([y, x]).T)
    planned = plan(market, [GivenPair("A", "B", 0.5)], settings)
    result = run(market, planned, settings, Scripted(0, 2))
    (trade,) = result.trades
    # Decided at -2 and 3: 3,500 / (2 + 0.5 * 3) units, one short half a share for each.
    assert (trade["decided"], trade["entered"], trade["closed"]) == (2, 3, 5)
    assert (trade["shares"]["y"], trade["shares"]["x"]) == (1000.0, -500.0)
    # Filled at -1 and 4: 1,000 come in for y, 2,000 for x; 3,000 of money at 10 basis points,
    # 1,500 shares at 0.01, two fills at 1.
    cash = 10_000.0 + 1_000.0 + 2_000.0 - 3.0 - 15.0 - 2.0
    assert result.account["cash"][3] == pytest.approx(cash)
    assert result.account["positions"][3] == pytest.approx(-3_000.0)
    assert result.account["gross"][3] == pytest.approx(3_000.0)
    # A night's fee of 0.001 on 500 short shares of 4; then y is worth 500, and x, short, 1,000.
    cash -= 2.0
    assert result.account["cash"][4] == pytest.approx(cash)
    assert result.account["equity"][4] == pytest.approx(cash + 500.0 + 1_000.0)
    assert result.account["gross"][4] == pytest.approx(1_500.0)
    # A night's fee on 500 short shares of -2, sold at 1 and -1 for as much money.
    cash += -1.0 + 1_000.0 + 500.0 - 1.5 - 15.0 - 2.0
    assert result.account["equity"][5] == pytest.approx(cash)
    assert trade["ledger"]["borrow"] == pytest.approx(3.0)
    assert trade["turnover"] == pytest.approx(4_500.0)
    assert result.net_results()[0] == pytest.approx(cash - 10_000.0)
    (said,) = [each for each in warnings(result) if "zero or negative" in each][:1]
    assert said.startswith("A: 2 closes")


@forall(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3]))
@runs(max_examples=25, deadline=None)
def test_the_books_of_any_sign(seed, margin):
    market = spreads(seed)
    limits = Limits(initial_margin=margin, maintenance_margin=margin)
    result = backtest(market, replace(ANY_SIGN, limits=limits), pairs=PAIRS)
    shares, account = held(result), result.account
    value = shares * market.close
    np.testing.assert_allclose(account["positions"], value.sum(axis=1), atol=1e-3)
    for trade in result.trades:
        y, x = (market.tickers.index(name) for name in result.pair_names(trade["pair"]))
        close = market.close[trade["decided"]]
        units = 2_000.0 / (abs(close[y]) + abs(trade["beta"] * close[x]))
        assert trade["shares"]["y"] == pytest.approx(trade["side"] * units)
        assert trade["shares"]["x"] == pytest.approx(-trade["beta"] * trade["side"] * units)
        money = sum(
            abs(trade["shares"][leg] * trade[price][leg])
            for leg in "yx"
            for price in ("entry_price", "exit_price")
        )
        assert trade["turnover"] == pytest.approx(money)
        assert trade["ledger"]["slippage"] == pytest.approx(3e-4 * money)
        nights = np.arange(trade["entered"], trade["closed"])
        short = sum(
            np.abs(trade["shares"][leg] * market.close[nights, column]).sum()
            for leg, column in (("y", y), ("x", x))
            if trade["shares"][leg] < 0.0
        )
        assert trade["ledger"]["borrow"] == pytest.approx(0.05 / 252.0 * short)


def test_the_opposite_prices_make_the_same_money():
    """Selling what costs -p is buying what costs p, but for fees on what is lent."""
    market = spreads(3)
    settings = replace(ANY_SIGN, costs=replace(ANY_SIGN.costs, borrow_rate=0.0))
    turned = replace(market, close=-market.close, open=-market.open, dividends=-market.dividends)
    one, two = (backtest(each, settings, pairs=PAIRS) for each in (market, turned))
    assert len(one.trades) > 2
    np.testing.assert_array_equal(one.trades["side"], -two.trades["side"])
    np.testing.assert_allclose(one.account["equity"], two.account["equity"], rtol=1e-12)


def test_sweep_and_live_engine_have_the_bits_of_the_backtest(monkeypatch):
    market = spreads(5).select(["A", "B"])
    longest = replace(ANY_SIGN, signal=replace(LEVELS, lookback=25), carry=True)
    planned = plan(market, [GivenPair("A", "B")], longest)
    grid = Grid((1.0, 1.5), (0.0, 0.5), (float("inf"),), (10, 25))
    for free in (True, False):
        costs = Costs(0.0, 0.0, 0.0, 0.0, 0.0, 0.0) if free else ANY_SIGN.costs
        settings = replace(longest, costs=costs, cash_rate=0.0)
        plain = replace(market, dividends=None) if free else market
        found = set()
        for name in _simd.available():
            monkeypatch.setenv("MLKIT_SIMD", name)
            swept = sweep(plain, planned, settings, grid)
            found.add(swept.scores.tobytes())
        assert len(found) == 1
        for (rule, lookback), score in zip(swept.configurations, swept.scores, strict=True):
            one = replace(settings, rule=rule, signal=replace(LEVELS, lookback=lookback))
            result = run(plain, plan(plain, [GivenPair("A", "B")], one), one)
            assert score["equity"] == result.account["equity"][-1]
            assert score["trades"] == len(result.trades) > 0

    settings = replace(ANY_SIGN, cash_rate=0.0)  # the live account begins with the window
    (window,) = plan(market, [GivenPair("A", "B")], settings)
    batch = run(market, [window], settings)
    engine = LiveEngine(market.tickers, settings, bars_per_year=252.0)
    (pair,) = window.pairs
    engine.add(pair, market.close[window.start - pair.warm_up_bars : window.start])
    for bar in range(window.start, len(market)):
        step = engine.step(market.close[bar], market.open[bar], market.dividends[bar])
        if bar + 1 < len(market):
            assert step.account["equity"] == batch.account["equity"][bar]
    assert engine.finish().account["equity"] == batch.account["equity"][-1]


def test_logarithms_refuse_prices_that_are_not_positive():
    market = spreads(1)
    planned = plan(market, PAIRS, ANY_SIGN)
    with pytest.raises(BadData, match="must be positive and finite"):
        run(market, planned, replace(ANY_SIGN, signal=Signal(lookback=15)))


def test_which_settings_take_any_sign():
    assert ANY_SIGN.takes_any_sign(given=True)
    walking = replace(ANY_SIGN, selection=Selection())
    assert walking.takes_any_sign(given=False)
    for chosen in (Selection(method="distance"), Selection(min_correlation=0.1)):
        assert not replace(walking, selection=chosen).takes_any_sign(given=False)
    assert not SETTINGS.takes_any_sign(given=True)


def test_traits_that_need_positive_prices_are_left_open():
    market = spreads(2)
    pair = screen(market, Criteria(scale="levels", alpha=1.0, fdr="none", top=1)).pairs[0]
    assert np.isnan([pair.correlation, pair.distance]).all()
