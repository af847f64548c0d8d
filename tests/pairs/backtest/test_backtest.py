"""The backtest: fills, sizes, costs, caps, margin calls, windows, strategies in Python."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings as runs
from hypothesis import strategies as st
from pairs.backtests import SETTINGS, SIGNALS, backtest, held, schemes
from pairs.markets import cointegrated, prices

from mlkit.errors import BadData, UsageError
from mlkit.pairs.backtest.replay import REASONS, run
from mlkit.pairs.settings import (
    Costs,
    Limits,
    Rule,
    Selection,
    Signal,
    Sizing,
    from_document,
)
from mlkit.pairs.strategy.strategy import Order, Strategy
from mlkit.pairs.windows import GivenPair, by_screen, given, rolling

SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("signal", SIGNALS)
def test_every_signal_trades(signal):
    assert len(backtest(cointegrated(1), replace(SETTINGS, signal=signal)).trades) > 2


def test_orders_fill_at_the_next_open_or_close_or_at_once_if_told_so():
    market = cointegrated(2)
    closed = replace(market, open=None)
    for each, same_bar, field, delay in (
        (market, False, market.open, 1),
        (closed, False, market.close, 1),
        (market, True, market.close, 0),
    ):
        result = backtest(each, replace(SETTINGS, same_bar=same_bar))
        for trade in result.trades:
            y, _ = result.pair_names(trade["pair"])
            assert trade["entered"] == trade["decided"] + delay
            column = market.tickers.index(y)
            assert trade["entry_price"]["y"] == field[trade["entered"], column]


def test_costs_interest_and_dividends_are_what_they_say():
    market = cointegrated(9)
    result = backtest(market, SETTINGS)
    costs, ledger = SETTINGS.costs, result.account["ledger"][-1]
    turnover = result.trades["turnover"].sum()
    count = 2 * sum(np.abs(result.trades["shares"][leg]).sum() for leg in "yx")
    assert ledger["slippage"] == pytest.approx(3e-4 * turnover)
    assert ledger["half_spread"] == pytest.approx(4e-4 * turnover)
    commission = 0.01 * count + 4 * len(result.trades) + 2e-4 * turnover
    assert ledger["commission"] == pytest.approx(commission)
    shares = np.vstack([np.zeros(4), held(result)[:-1]])
    assert ledger["dividends"] == pytest.approx((shares * market.dividends).sum())
    last = np.vstack([market.close[:1], market.close[:-1]])
    per_pair = [
        np.minimum(each["shares"][leg], 0.0)
        * last[each["entered"] + 1 : each["closed"] + 1, market.tickers.index(name)].sum()
        for each in result.trades
        for leg, name in zip("yx", result.pair_names(each["pair"]), strict=True)
    ]
    assert ledger["borrow"] == pytest.approx(-sum(per_pair) * costs.borrow_rate / 252)
    cash = result.account["cash"]
    interest = np.diff(result.account["interest"])
    np.testing.assert_allclose(interest, cash[:-1] * 0.03 / 252, rtol=1e-9)


def test_sizes_put_the_gross_money_into_beta_weighted_legs():
    result = backtest(cointegrated(3), replace(SETTINGS, same_bar=True))
    for trade in result.trades:
        y, x = (abs(trade["shares"][leg] * trade["entry_price"][leg]) for leg in "yx")
        assert y + x == pytest.approx(10_000.0)
        assert x / y == pytest.approx(abs(trade["beta"]))


def test_whole_shares_are_whole_and_never_exceed_the_gross_money():
    sizing = Sizing(gross=2_000.0, whole_shares=True)
    result = backtest(cointegrated(3), replace(SETTINGS, sizing=sizing, same_bar=True))
    shares = np.array([result.trades["shares"][leg] for leg in "yx"])
    assert (shares == np.trunc(shares)).all()
    assert (shares != 0.0).all()


def concurrent(result):
    """Pairs that are held after each bar."""
    count = np.zeros(len(result.prices), dtype=int)
    for trade in result.trades:
        count[trade["entered"] : trade["closed"]] += 1
    return count


def test_caps_hold_at_every_bar():
    market = cointegrated(8, tickers=6)
    pairs = [GivenPair(a, b) for a, b in ("AB", "AC", "AD", "BC", "EF")]

    def go(**limits):
        settings = replace(SETTINGS, limits=replace(Limits(), **limits))
        return run(market, given(market, pairs, settings), settings)  # fmt: skip

    assert concurrent(go()).max() > 2
    assert concurrent(go(pairs=2)).max() == 2
    with_a = go(pairs_per_ticker=1)
    assert not with_a.choices["accepted"].all()
    shares = [(t["entered"], t["closed"]) for t in with_a.trades
              if "A" in with_a.pair_names(t["pair"])]  # fmt: skip
    shares.sort()
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(shares))
    levered = go(leverage=0.15)
    decided = levered.choices[levered.choices["accepted"] == 1]
    assert len(decided)
    assert levered.account["gross"].max() < 0.17 * 100_000


def test_a_margin_call_closes_positions():
    market = cointegrated(5, noise=0.06)
    settings = replace(
        SETTINGS,
        rule=Rule(entry=1.0, exit=0.0),
        sizing=Sizing(capital=10_000.0, gross=30_000.0),
        limits=Limits(initial_margin=0.3, maintenance_margin=0.3),
    )
    pairs = given(market, [GivenPair("A", "B")], settings)
    result = run(market, pairs, settings)
    reasons = [REASONS[each] for each in result.trades["reason"]]
    assert "margin_call" in reasons
    account = result.account
    short = (account["gross"] > 0) & (account["equity"] < 0.3 * account["gross"])
    assert (account["gross"][np.flatnonzero(short)[:-1] + 1] == 0).all()


def test_a_delisted_ticker_closes_its_pair_at_the_last_price():
    market = cointegrated(7)
    trades = backtest(market, SETTINGS).trades
    first = trades[trades["pair"] == 0][0]
    gone = first["entered"] + 1
    close, opens = market.close.copy(), market.open.copy()
    column = market.tickers.index("A")
    close[gone:, column] = opens[gone:, column] = np.nan
    result = backtest(replace(market, close=close, open=opens), SETTINGS)
    mine = [t for t in result.trades if result.pair_names(t["pair"])[0] == "A"]
    assert REASONS[mine[-1]["reason"]] == "delisted"
    assert mine[-1]["closed"] == gone
    assert mine[-1]["exit_price"]["y"] == close[gone - 1, column]


def test_windows_close_what_they_opened_unless_it_is_carried():
    market = cointegrated(10)
    windowed = replace(SETTINGS, trading=30, rule=Rule(entry=1.5, exit=-1.0))
    result = backtest(market, windowed)
    stops = {window.stop - 1 for window in result.windows}
    ended = result.trades["reason"] == REASONS.index("window_end")
    assert ended.any()
    assert set(result.trades["closed"][ended].tolist()) <= stops
    carried = backtest(market, replace(windowed, carry=True))
    assert REASONS.index("window_end") not in carried.trades["reason"]
    spans = [(carried.windows[carried.numbers[t["pair"]][0]].stop, t) for t in carried.trades]
    assert any(t["closed"] >= stop for stop, t in spans)
    assert all(t["decided"] < stop for stop, t in spans)


class WrittenRule(Strategy):
    """The built-in rule in Python."""

    def __init__(self, rule):
        self.rule = rule

    def start(self):
        return 0

    def step(self, lock, features, position):
        rule, z, side = self.rule, features.z, position.side
        if side == 0:
            if lock * z >= -rule.exit:
                lock = 0
            if lock == 0 and rule.entry <= abs(z) < rule.stop:
                side = -1 if z > 0 else 1
                return side, Order.ENTER_LONG if side > 0 else Order.ENTER_SHORT
            return lock, Order.NONE
        if side * z >= -rule.exit:
            return 0, Order.EXIT
        if side * z <= -rule.stop:
            return side, Order.STOP
        if 0 < rule.max_bars <= position.held:
            return side, Order.TIME_STOP
        return lock, Order.NONE


@forall(SEEDS)
@runs(max_examples=25, deadline=None)
def test_the_rule_written_in_python_makes_identical_trades(seed):
    (settings, pairs), market = schemes(seed), cointegrated(seed, bars=250)
    settings = replace(settings, limits=replace(settings.limits, pairs=1))
    built_in = backtest(market, settings, pairs=pairs)
    written = backtest(market, settings, WrittenRule(settings.rule), pairs=pairs)
    assert written.trades.tobytes() == built_in.trades.tobytes()
    assert written.account.tobytes() == built_in.account.tobytes()


class Confused(Strategy):
    def step(self, state, features, position):
        return state, Order.EXIT


def test_an_order_that_the_position_forbids_is_an_error():
    with pytest.raises(BadData, match="leaves a pair that has no position"):
        backtest(cointegrated(1), SETTINGS, Confused())


def test_settings_survive_their_document():
    settings = replace(SETTINGS, rule=Rule(entry=1.0), trading=9)
    assert from_document(settings.document()) == settings
    with pytest.raises(BadData, match="unknown rule setting 'entyr'"):
        from_document({"rule": {"entyr": 1.0}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": Rule(entry=0.5, exit=0.5)}, "entry"),
        ({"rule": Rule(entry=2.0, stop=1.0)}, "stop"),
        ({"signal": Signal(hedge="kalman")}, "kalman"),
        ({"signal": Signal(hedge="rolling", zscore="ou")}, "rolling"),
        ({"costs": Costs(slippage_bps=-1.0)}, "costs"),
    ],
)
def test_contradictory_settings_are_refused(change, message):
    with pytest.raises(UsageError, match=message):
        replace(SETTINGS, **change)


def test_a_pair_with_its_own_beta_needs_no_formation():
    market = cointegrated(1)
    settings = replace(SETTINGS, signal=Signal(lookback=15))
    windows = given(market, [GivenPair("A", "B", beta=0.9)], settings)
    assert windows[0].start == 15
    assert (run(market, windows, settings).trades["beta"] == 0.9).all()


def test_a_late_ticker_joins_when_its_formation_bars_are_complete():
    market = cointegrated(1)
    close = market.close.copy()
    close[:100, 0] = np.nan
    late = replace(market, close=close)
    windows = given(late, [GivenPair("A", "B")], SETTINGS)
    assert windows[0].formation == 100
    walked = rolling(late, replace(SETTINGS, trading=40), by_screen)
    for window in walked:
        names = {name for pair in window.pairs for name in (pair.y, pair.x)}
        assert ("A" in names) <= (window.formation >= 100)


def test_a_period_without_a_fitting_pair_is_said():
    flat = prices(np.ones((100, 2)))
    with pytest.raises(BadData, match="constant in the formation period"):
        given(flat, [GivenPair("A", "B")], SETTINGS)


def test_a_negatively_correlated_pair_keeps_its_sign_whatever_its_prices_trend_to():
    rng = np.random.default_rng(0)
    moves = rng.normal(0, 0.01, 200)
    against = -moves + rng.normal(0, 0.002, 200)
    drift = np.full(200, 0.02)  # which makes least squares find a positive hedge ratio
    market = prices(50 * np.exp(np.cumsum([moves + drift, against + drift], axis=1)).T)
    chosen = Selection(method="correlation", top=1)
    settings = replace(SETTINGS, trading=40, signal=Signal(lookback=15), selection=chosen)
    result = backtest(market, settings)
    assert all(window.pairs[0].beta < 0.0 for window in result.windows)
    shares = result.trades["shares"]
    assert len(shares)
    assert (np.sign(shares["y"]) == np.sign(shares["x"])).all()


def test_the_filters_of_the_screen_hold_in_every_window():
    market = cointegrated(3, tickers=6)
    groups = {"A": "1", "B": "2", "C": "1", "D": "2", "E": "1", "F": "2"}
    for change in ({"groups": groups}, {"min_correlation": 0.1}, {"max_half_life": 4.0}):
        chosen = Selection(method="distance", top=20, **change)
        settings = replace(SETTINGS, trading=60, selection=chosen)
        counts = [len(window.pairs) for window in backtest(market, settings).windows]
        assert 0 < sum(counts) < 15 * len(counts)
        assert from_document(settings.document()) == settings
    settings = replace(SETTINGS, trading=60, selection=Selection(method="distance", groups=groups))
    for window in backtest(market, settings).windows:
        assert all(groups[pair.y] == groups[pair.x] for pair in window.pairs)
