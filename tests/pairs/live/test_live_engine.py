from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pairs.backtests import PAIRS, SETTINGS, SIGNALS
from pairs.markets import cointegrated

from mlkit.errors import BadData, UsageError
from mlkit.pairs import LiveEngine
from mlkit.pairs.backtest.replay import run
from mlkit.pairs.fit.formation import build_formation
from mlkit.pairs.windows import plan

FIELDS = ("account", "trades", "choices")


def live(market, windows, settings, restart=0, missing=(), **options):
    """Feed a market bar by bar, and replace the engine by its saved self every `restart` bars."""
    engine = LiveEngine(market.tickers, settings, **options)
    columns = {name: n for n, name in enumerate(market.tickers)}
    steps = []
    for t in range(len(market)):
        for window in windows:
            if window.start != t:
                continue
            for pair in window.pairs:
                legs = [columns[pair.y], columns[pair.x]]
                warm_up = min(pair.warm_up_bars, window.start - window.formation)
                engine.add(pair, market.close[t - warm_up : t][:, legs].copy(), stop=window.stop)
        close = market.close[t].copy()
        for bar, ticker in missing:
            if bar == t:
                close[columns[ticker]] = np.nan
        steps.append(engine.step(close, market.open[t], market.dividends[t]))
        if restart and t % restart == 0:
            state = engine.save()
            engine = LiveEngine.load(state)
            assert engine.save() == state
    end = engine.finish()
    account = [*(step.account for step in steps[:-1]), end.account]
    return {
        "account": np.array(account),
        "trades": np.concatenate([step.trades for step in [*steps, end]]),
        "choices": np.concatenate([step.choices for step in steps]),
    }, engine


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda each: f"{each.zscore}-{each.hedge}")
@pytest.mark.parametrize("restart", [0, 7])
def test_live_bars_have_the_bits_of_the_backtest(signal, restart):
    market = cointegrated(3, bars=260)
    settings = replace(SETTINGS, signal=signal)
    windows = plan(market, PAIRS, settings)
    expected = run(market, windows, settings)
    found, _ = live(market, windows, settings, restart)
    assert len(expected.trades) > 0
    for name in FIELDS:
        assert found[name].tobytes() == getattr(expected, name).tobytes(), name


def test_windows_that_end_have_the_bits_of_the_backtest():
    market = cointegrated(4, bars=300)
    for carry in (False, True):
        settings = replace(SETTINGS, trading=60, carry=carry)
        windows = plan(market, (), settings)
        expected = run(market, windows, settings)
        found, engine = live(market, windows, settings, restart=20)
        assert all(found[name].tobytes() == getattr(expected, name).tobytes() for name in FIELDS)
        assert len(engine.pairs) <= 4  # pairs of earlier windows are forgotten


def test_a_missing_close_is_a_missing_bar():
    market = cointegrated(5, bars=260)
    settings = replace(SETTINGS, signal=SIGNALS[0])
    windows = plan(market, PAIRS, settings)
    whole, _ = live(market, windows, settings)
    at = int(whole["trades"]["entered"][2]) + 1
    gapped, _ = live(market, windows, settings, missing=[(at, "A"), (at, "B"), (at, "C")])
    assert abs(len(gapped["trades"]) - len(whole["trades"])) <= 2
    assert 4 not in gapped["trades"]["reason"]
    strict, _ = live(market, windows, settings, missing=[(at, "A")], delisted_after=1)
    assert 4 in strict["trades"]["reason"] or len(strict["trades"]) < len(whole["trades"])


def test_delisting_closes_at_the_last_price_and_ends_the_pairs():
    market = cointegrated(6, bars=260)
    settings = replace(SETTINGS, signal=SIGNALS[0])
    window = plan(market, PAIRS, settings)[0]
    engine = LiveEngine(market.tickers, settings)
    number = engine.add(window.pairs[0])
    other = engine.add(replace(window.pairs[0], y="C", x="D"))
    t = 0
    while len(engine.positions()) == 0 or engine.positions()["pair"][0] != number:
        engine.step(market.close[t])
        t += 1
    engine.delist("A")
    step = engine.step(dict(zip("BCD", market.close[t, 1:], strict=True)))
    assert (step.trades["pair"][0], step.trades["reason"][0]) == (number, 4)
    assert step.trades["exit_price"]["y"][0] == market.close[t - 1, 0]
    assert engine.pairs == {other: ("C", "D")}


def test_a_removed_pair_closes_with_the_next_bar():
    market = cointegrated(6, bars=260)
    settings = replace(SETTINGS, signal=SIGNALS[0])
    engine = LiveEngine(market.tickers, settings)
    number = engine.add(plan(market, PAIRS, settings)[0].pairs[0])
    t = 0
    while len(engine.positions()) == 0:
        waits = engine.step(market.close[t]).choices
        t += 1
        if len(waits) and waits["accepted"][-1]:
            assert engine.pending_orders()["entry"].tolist() == [1]
    engine.remove(number)
    step = engine.step(market.close[t])
    assert step.trades["exit_price"]["x"][0] == market.close[t, 1]
    assert (len(engine.features()), engine.pairs) == (0, {})
    with pytest.raises(UsageError, match="no pair 0"):
        engine.remove(number)


def test_the_state_does_not_grow_with_time():
    market = cointegrated(7, bars=300)
    settings = replace(SETTINGS, signal=SIGNALS[0])
    engine = LiveEngine(market.tickers, settings)
    engine.add(plan(market, PAIRS, settings)[0].pairs[0])
    sizes = set()
    for bar in market.close:
        engine.step(bar)
        sizes.add(len(engine.save()))
    assert len(sizes) == 1


def test_bars_taken_without_objects_leave_the_same_books():
    market = cointegrated(3, bars=260)
    settings = replace(SETTINGS, signal=SIGNALS[0])
    windows = plan(market, PAIRS, settings)
    expected, _ = live(market, windows, settings)
    engine = LiveEngine(market.tickers, settings)
    account, books, accounts = engine.account, [], []
    for t in range(len(market)):
        for pair in (pair for window in windows if window.start == t for pair in window.pairs):
            legs = [market.tickers.index(name) for name in (pair.y, pair.x)]
            engine.add(pair, market.close[t - pair.warm_up_bars : t][:, legs].copy())
        waiting = engine.take(market.close[t], market.open[t], market.dividends[t])
        accounts.append(account.tobytes())
        if waiting > 3:
            books.append(engine.books())
            assert sum(map(len, books[-1])) == waiting
    end = engine.finish()
    assert b"".join([*accounts[:-1], account.tobytes()]) == expected["account"].tobytes()
    for name in ("trades", "choices"):
        found = np.concatenate([getattr(each, name) for each in [*books, end]])
        assert found.tobytes() == expected[name].tobytes()


@pytest.mark.parametrize(
    ("closes", "message"),
    [
        (np.array([1.0, -1.0]), r"bar 1: closes\[1\] is -1"),
        (np.ones(3), "bar 1: closes: expected a value for each ticker"),
        (np.ones((1, 2)), "bar 1: closes: expected a value for each ticker"),
        (np.ones(4)[::2], "bar 1: closes: expected a value for each ticker, in a row"),
        (np.ones(2, dtype=np.float32), "bar 1: closes: expected an array of doubles"),
        (np.ones(2, dtype=">f8"), "bar 1: closes: expected an array of doubles"),
        ([1.0, 2.0], "bar 1: closes: expected an array of doubles"),
        (None, "bar 1: closes: expected an array"),
    ],
)
def test_a_bar_of_another_form_is_refused_and_changes_nothing(closes, message):
    engine = LiveEngine(("A", "B"), SETTINGS)
    assert engine.take(np.array([10.0, 20.0])) == 0
    before = engine.save()
    with pytest.raises(BadData, match=message):
        engine.take(closes)
    assert engine.save() == before
    with pytest.raises(ValueError, match="read-only"):
        engine.account["equity"] = 0.0


def test_damaged_states_are_refused():
    engine = LiveEngine(("A", "B"), SETTINGS)
    engine.step({"A": 10.0, "B": 20.0})
    state = engine.save()
    for damaged in (b"", state[:40], state[:-1], state + b"x", b"x" + state):
        with pytest.raises(BadData, match="a saved engine cannot be read"):
            LiveEngine.load(damaged)
    for place in range(60, len(state), 37):
        changed = bytearray(state)
        changed[place] ^= 4
        try:
            LiveEngine.load(bytes(changed))
        except BadData:
            continue
        assert place < 150  # a changed letter of a ticker


def test_what_a_live_engine_refuses():
    engine = LiveEngine(("A", "B"), SETTINGS)
    with pytest.raises(UsageError, match="no ticker 'C'"):
        engine.step({"C": 1.0})
    with pytest.raises(BadData, match="bar 0: closes"):
        engine.step({"A": -1.0})
    with pytest.raises(UsageError, match="shape"):
        engine.step(np.ones(3))
    with pytest.raises(UsageError, match="appears twice"):
        LiveEngine(("A", "A"), SETTINGS)
    with pytest.raises(UsageError, match="bars per year"):
        LiveEngine(("A", "B"), replace(SETTINGS, bars_per_year=0.0))


def test_many_pairs_are_limited_as_few_are():
    """Caps on pairs and on a ticker's pairs hold at every bar, counted from the open trades."""
    market = cointegrated(8, bars=120, tickers=12)
    limits = replace(SETTINGS.limits, pairs=9, pairs_per_ticker=2, initial_margin=0.0)
    limits = replace(limits, maintenance_margin=0.0)
    settings = replace(SETTINGS, signal=SIGNALS[0], limits=limits)
    engine = LiveEngine(market.tickers, settings)
    for y in range(12):
        for x in range(y):
            names = market.tickers[y], market.tickers[x]
            engine.add(build_formation(names, settings.signal, alpha=0.0, beta=1.0))
    busiest = 0
    for bar in market.close:
        engine.step(bar)
        held = engine.positions()["pair"].tolist()
        leaving = [each["pair"] for each in engine.pending_orders() if each["entry"] == 0]
        entering = [each["pair"] for each in engine.pending_orders() if each["entry"] == 1]
        counted = [each for each in held if each not in leaving] + entering
        tickers = [name for each in counted for name in engine.pairs[each]]
        assert len(counted) <= 9
        assert all(tickers.count(name) <= 2 for name in tickers)
        busiest = max(busiest, len(counted))
    assert busiest == 9
