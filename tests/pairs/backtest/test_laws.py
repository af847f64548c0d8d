"""Laws of the backtest: no look-ahead, one step, every unit of money, symmetries, no free lunch."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings as runs
from hypothesis import strategies as st
from pairs.backtests import (
    EXPENSIVE,
    FREE,
    SCHEMES,
    SETTINGS,
    SIGNALS,
    backtest,
    held,
    schemes,
)
from pairs.markets import cointegrated, prices

from mlkit.pairs import _pair_strategy as native
from mlkit.pairs.backtest.replay import run
from mlkit.pairs.settings import Signal, Sizing
from mlkit.pairs.strategy.strategy import Order, Strategy
from mlkit.pairs.windows import GivenPair, given, plan

SEEDS = st.integers(0, 2**32 - 1)


def cut(market, stop):
    return market.window(0, stop)


def changed_after(market, bar, rng):
    """Other prices and dividends after a bar."""
    factor = np.ones_like(market.close)
    factor[bar + 1 :] = np.exp(rng.normal(0, 0.1, (len(market) - bar - 1, 1)))
    factor[bar + 1 :, 0] *= 1.2
    return replace(
        market, close=market.close * factor, open=market.open * factor,
        dividends=market.dividends * factor,
    )  # fmt: skip


def delisted_after(market, bar):
    """One ticker less after a bar."""
    close, opens = market.close.copy(), market.open.copy()
    close[bar + 1 :, 0] = opens[bar + 1 :, 0] = np.nan
    return replace(market, close=close, open=opens)


def decisions(result, until):
    """Orders that were decided up to a bar, with all that was known at the time."""
    early = result.choices[result.choices["bar"] <= until]
    return [(int(each["bar"]), result.pair_names(int(each["pair"])), each.tobytes()[16:])
            for each in early]  # fmt: skip


def require_truncation(market, settings, pairs, bar, rng):
    """Nothing that happens after a bar changes what was decided up to it.

    The account at the last bar is left out where the data end: there the close is forced.
    """
    whole = backtest(market, settings, pairs=pairs)
    for other in (cut(market, bar + 1), cut(market, bar + 5), changed_after(market, bar, rng),
                  delisted_after(market, bar)):  # fmt: skip
        again = backtest(other, settings, pairs=pairs)
        assert decisions(again, bar) == decisions(whole, bar)
        known = bar if len(other) == bar + 1 else bar + 1
        np.testing.assert_array_equal(again.account[:known], whole.account[:known])


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("signal", SIGNALS, ids=lambda each: f"{each.zscore}-{each.hedge}")
def test_nothing_after_a_bar_changes_a_decision_up_to_it(scheme, signal):
    change, pairs = SCHEMES[scheme]
    if any(pair.beta for pair in pairs) and signal.zscore != "lookback":
        pairs = tuple(replace(pair, beta=None) for pair in pairs)
    for seed in range(2):
        rng = np.random.default_rng(seed)
        settings = replace(
            SETTINGS, signal=signal, same_bar=bool(seed % 2), bars_per_year=0.0, **change
        )
        market = cointegrated(seed, bars=300)
        require_truncation(market, settings, pairs, int(rng.integers(100, 290)), rng)


@forall(SEEDS)
@runs(max_examples=40, deadline=None)
def test_nothing_after_any_bar_changes_a_decision_up_to_it(seed):
    settings, pairs = schemes(seed)
    rng = np.random.default_rng(seed)
    bar = int(rng.integers(100, 290))
    require_truncation(cointegrated(seed, bars=300), settings, pairs, bar, rng)


class Prophet(Strategy):
    """Cheats: enters by the next close, which no strategy can know."""

    def __init__(self, market):
        y, x = market.close[:, 0], market.close[:, 1]
        self.rises = np.append(np.diff(np.log(y / x)) > 0.0, False)
        self.bar = 80

    def step(self, state, features, position):
        rises = self.rises[self.bar]
        self.bar += 1
        if position.side == 0:
            return state, Order.ENTER_LONG if rises else Order.ENTER_SHORT
        return state, Order.EXIT if (position.side > 0) != rises else Order.NONE


def test_a_planted_look_ahead_breaks_the_law():
    market, settings = cointegrated(4), SETTINGS
    pairs = given(market, [GivenPair("A", "B")], settings)
    changed = changed_after(market, 200, np.random.default_rng(0))
    results = [run(each, pairs, settings, Prophet(each)) for each in (market, changed)]
    assert decisions(results[0], 199) == decisions(results[1], 199)
    assert any(
        decisions(run(each, pairs, settings, Prophet(each)), 200) != decisions(results[0], 200)
        for each in (cut(market, 201), changed_after(market, 200, np.random.default_rng(1)),
                     changed_after(market, 200, np.random.default_rng(2)), changed)
    )  # fmt: skip


@forall(SEEDS)
@runs(max_examples=40, deadline=None)
def test_bar_by_bar_and_one_batch_are_bit_equal(seed):
    market = cointegrated(seed, bars=250)
    settings, pairs = schemes(seed)
    batch = backtest(market, settings, pairs=pairs)
    engine = native.Engine(len(market.tickers), settings.native(252.0))
    for bar in range(len(market)):
        for window in batch.windows:
            if window.start != bar:
                continue
            for pair in window.pairs:
                y, x = market.tickers.index(pair.y), market.tickers.index(pair.x)
                history = market.close[bar - pair.warm_up_bars : bar, [y, x]]
                engine.add(y=y, x=x, stop=window.stop, signal=pair.signal, history=history)
        rows = slice(bar, bar + 1)
        engine.take(market.close[rows], market.open[rows], market.dividends[rows])
    engine.finish()
    assert engine.rows().tobytes() == batch.account.tobytes()
    assert engine.trades().tobytes() == batch.trades.tobytes()
    assert engine.choices().tobytes() == batch.choices.tobytes()


@forall(SEEDS)
@runs(max_examples=40, deadline=None)
def test_every_unit_of_money_is_accounted_for(seed):
    (settings, pairs), market = schemes(seed), cointegrated(seed, bars=300)
    result = backtest(market, settings, pairs=pairs)
    account, capital = result.account, settings.sizing.capital
    equity = account["equity"]
    np.testing.assert_allclose(account["cash"] + account["positions"], equity, rtol=1e-9)
    value = np.sum(held(result) * market.close, axis=1)
    np.testing.assert_allclose(account["positions"], value, atol=1e-9 * capital)
    for bar in range(len(market)):
        closed = result.trades["closed"] <= bar
        ledger = account["ledger"][bar]
        costs = sum(ledger[name] for name in ("commission", "slippage", "half_spread", "borrow"))
        gross = result.results()[closed].sum() + open_result(result, bar)
        explained = gross - costs + ledger["dividends"] + account["interest"][bar]
        assert explained == pytest.approx(equity[bar] - capital, abs=1e-9 * capital)


def open_result(result, bar):
    """Moves of the open positions, from their unslipped entry prices to the close."""
    total = 0.0
    for trade in result.trades:
        if trade["entered"] <= bar < trade["closed"]:
            for leg, name in zip("yx", result.pair_names(trade["pair"]), strict=True):
                close = result.prices.close[bar, result.prices.tickers.index(name)]
                total += trade["shares"][leg] * (close - trade["entry_price"][leg])
    return total


@pytest.mark.parametrize("signal", SIGNALS)
def test_rescaling_a_leg_leaves_the_money_unchanged(signal):
    market = cointegrated(6)
    scale = np.array([1.0, 4096.0, 1.0, 1.0])
    other = replace(
        market, close=market.close * scale, open=market.open * scale,
        dividends=market.dividends * scale,
    )  # fmt: skip
    settings = replace(SETTINGS, signal=signal, costs=replace(EXPENSIVE, per_share=0.0))
    one, two = backtest(market, settings), backtest(other, settings)
    np.testing.assert_allclose(one.account["equity"], two.account["equity"], rtol=1e-9)
    ratio = one.windows[0].pairs[0].beta / two.windows[0].pairs[0].beta
    assert ratio == pytest.approx(1.0 if signal.log else 4096.0)


def test_mirroring_a_leg_swaps_its_side_only():
    market = cointegrated(6)
    mirrored = market.close.copy()
    mirrored[:, 1] = 1000.0 / mirrored[:, 1]
    other = replace(market, close=mirrored, open=None)
    one, two = backtest(replace(market, open=None), SETTINGS), backtest(other, SETTINGS)
    mine = [each.trades[each.trades["pair"] == 0] for each in (one, two)]
    np.testing.assert_array_equal(mine[0]["decided"], mine[1]["decided"])
    np.testing.assert_allclose(mine[0]["shares"]["y"], mine[1]["shares"]["y"])
    assert (np.sign(mine[0]["shares"]["x"]) == -np.sign(mine[1]["shares"]["x"])).all()


class Shifted(Strategy):
    """The built-in rule on z-scores of its own: those of a later bar, if they are shifted."""

    def __init__(self, z, rule):
        self.z, self.rule = z, rule

    def start(self):
        return native.State(), 0

    def step(self, state, features, position):
        known, bar = state
        known, order = native.step(known, self.z[bar], self.rule)
        return (known, bar + 1), order


MARTINGALE = replace(
    SETTINGS, costs=FREE, cash_rate=0.0, signal=Signal(lookback=10), formation=30,
    sizing=Sizing(gross=50_000.0), same_bar=True,
)  # fmt: skip


def martingales(seed, bars=120, sigma=0.02):
    """Two prices exp(W - sigma^2 t / 2), with opens between the closes."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(-(sigma**2) / 4, sigma / np.sqrt(2.0), (2 * bars, 2))
    path = 100.0 * np.exp(np.cumsum(steps, axis=0))
    return prices(path[1::2], opens=path[::2])


def profits(settings, later=0, *, sets):
    """Money made on each set of martingale prices, by z-scores of a later bar."""
    made = []
    for seed in range(sets):
        market = martingales(seed)
        windows = plan(market, [GivenPair("A", "B")], settings)
        pair, start = windows[0].pairs[0], windows[0].start
        strategy = None
        if later:
            _, _, z = native.features(*np.ascontiguousarray(market.close.T), pair.signal)
            shifted = np.append(z[start + later :], np.full(later, np.nan))
            strategy = Shifted(shifted, native.Rule(**vars(settings.rule)))
        made.append(run(market, windows, settings, strategy).equity[-1] - 100_000.0)
    return np.array(made)


def errors_from_zero(made):
    """The mean in its standard errors."""
    return made.mean() / (made.std(ddof=1) / np.sqrt(len(made)))


@pytest.mark.parametrize("same_bar", [True, False])
@pytest.mark.parametrize("sets", [500, pytest.param(2000, marks=pytest.mark.nightly)])
def test_nothing_is_earned_on_martingales(same_bar, sets):
    made = profits(replace(MARTINGALE, same_bar=same_bar), sets=sets)
    assert np.count_nonzero(made) > 0.95 * sets
    assert abs(errors_from_zero(made)) < 3.0


def test_a_look_ahead_of_one_bar_shows_on_martingales():
    assert abs(errors_from_zero(profits(MARTINGALE, later=1, sets=500))) > 10.0


@pytest.mark.parametrize("sets", [150, pytest.param(500, marks=pytest.mark.nightly)])
def test_nothing_is_earned_on_martingales_walking_forward(sets):
    settings = replace(
        MARTINGALE, trading=40, formation=40, same_bar=False,
        signal=Signal(lookback=10, hedge="rolling", hedge_window=15),
    )  # fmt: skip
    made = np.array([
        backtest(martingales(seed), settings).equity[-1] - 100_000.0 for seed in range(sets)
    ])  # fmt: skip
    assert abs(errors_from_zero(made)) < 3.0
