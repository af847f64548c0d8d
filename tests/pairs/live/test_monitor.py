from __future__ import annotations

import hashlib
import threading

import numpy as np
import pandas as pd
import pytest

from mlkit import _simd
from mlkit.errors import BadData, UsageError
from mlkit.pairs import PairMonitor
from mlkit.pairs.live.monitor import FIGURES

CLOSE = {"rtol": 1e-9, "atol": 1e-12}


def market(tickers=11, bars=160, seed=1, gaps=0.0):
    """Return prices with a common factor, shape (bars, tickers), some of them missing."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((bars, 1)) * 0.01
    own = rng.standard_normal((bars, tickers)) * 0.01
    prices = np.exp((common + own).cumsum(axis=0)) * rng.uniform(1, 500, tickers)
    prices[rng.random(prices.shape) < gaps] = np.nan
    return prices


def watched(prices, threads=1, **options):
    monitor = PairMonitor(names(prices.shape[1]), threads=threads, **options)
    for bar in prices:
        monitor.step(bar)
    return monitor


def names(count):
    return [f"T{n:04d}" for n in range(count)]


def by_pandas(y, x, first, half_life, beta, min_bars):
    """Return the figures of a pair of two columns of prices, by batch functions alone."""
    weights = {"halflife": half_life, "ignore_na": True}
    if half_life == np.inf:
        weights = {"alpha": 1e-300, "ignore_na": True}
    log_y, log_x = np.log(pd.Series(y)), np.log(pd.Series(x))
    returns = pd.DataFrame({"y": log_y.diff(), "x": log_x.diff()}).dropna()
    correlation = last(returns.y.ewm(**weights).corr(returns.x))
    spread = (log_y - beta * log_x).dropna()
    mean = spread.ewm(**weights).mean()
    zscore = last((spread - mean) / spread.ewm(**weights).std(bias=True))
    apart = (pd.Series(y / first[0] - x / first[1]).dropna() ** 2).ewm(**weights).mean()
    side, age = np.sign(spread - mean), np.arange(len(spread))[::-1]
    crossed = (side * side.shift() < 0) * 0.5 ** (age / half_life)
    with_price = [last(apart), np.nan if np.isnan(y[-1] + x[-1]) else zscore, crossed.sum()]
    return [
        correlation if len(returns) >= min_bars else np.nan,
        *(with_price if len(spread) >= min_bars else [np.nan] * 3),
    ]


def by_rolling(prices, window, beta, min_bars=20):
    """Return the figures of all pairs over the last bars, by pandas' rolling functions."""
    prices = pd.DataFrame(prices)
    log, normalised = np.log(prices), prices / prices.bfill().iloc[0]
    found = []
    for y, x in zip(*np.triu_indices(prices.shape[1], 1), strict=True):
        spread = log[y] - beta[y, x] * log[x]
        mean = spread.rolling(window, 1).mean()
        # Where the spread is its mean (one bar in the window), it stays on its side.
        off = (spread - mean).where(lambda each: each.abs() > 1e-12)
        side = np.sign(off.dropna())
        crossed = (side != side.shift()).iloc[1:].reindex(prices.index, fill_value=False)
        recent = spread.iloc[-window:]  # rolling() would keep traces of what has left
        zscore = (recent.iloc[-1] - recent.mean()) / recent.std(ddof=0)
        enough = recent.count() >= min_bars
        returns = log[[y, x]].iloc[-window - 1 :].diff().iloc[1:].dropna()
        if len(prices) <= window:
            returns = log[[y, x]].diff().dropna()
        apart = (normalised[y] - normalised[x]).iloc[-window:] ** 2
        with_price = [apart.mean(), zscore]
        found.append(
            [
                returns[y].corr(returns[x]) if len(returns) >= min_bars else np.nan,
                *(with_price if enough else [np.nan] * 2),
                crossed.iloc[-window:].sum() if enough else np.nan,
            ]
        )
    return found


def last(series):
    return series.iloc[-1] if len(series) else np.nan


def by_pandas_for_all(prices, half_life, beta, min_bars=20):
    first = [column[~np.isnan(column)][0] for column in prices.T]
    return [
        by_pandas(prices[:, y], prices[:, x], (first[y], first[x]), half_life, beta[y, x], min_bars)
        for y, x in zip(*np.triu_indices(len(first), 1), strict=True)
    ]


def betas(count):
    return np.random.default_rng(2).uniform(0.5, 1.5, (count, count))


def table_of(monitor):
    return np.column_stack([monitor.figure(name) for name in FIGURES])


@pytest.mark.parametrize("gaps", [0.0, 0.2])
@pytest.mark.parametrize("half_life", [5.0, 60.0, np.inf])
def test_the_figures_are_those_of_pandas(gaps, half_life):
    prices = market(gaps=gaps)
    found = table_of(watched(prices, half_life=half_life, beta=betas(11)))
    assert np.isfinite(found[:, [0, 1, 3]]).all()
    np.testing.assert_allclose(found, by_pandas_for_all(prices, half_life, betas(11)), **CLOSE)


@pytest.mark.parametrize("gaps", [0.0, 0.2])
@pytest.mark.parametrize("window", [30, 31, 64, 160, 500])
def test_the_figures_of_a_window_are_those_of_pandas(gaps, window):
    prices = market(gaps=gaps)
    found = table_of(watched(prices, window=window, beta=betas(11)))
    assert np.isfinite(found[:, [1, 3]]).any(axis=0).all()
    np.testing.assert_allclose(found, by_rolling(prices, window, betas(11)), **CLOSE)


def test_what_has_left_the_window_leaves_no_trace():
    """A wrong tick, a halt and a time without any prices, and then bars enough to forget them."""
    prices = market(tickers=9, bars=400)
    prices[60, 2] *= 1e140
    prices[70, 3] *= 1e-140
    prices[90:130] = np.nan
    prices[150:200, 5] = np.nan
    for end in (112, 135, 190, 260, 400):
        found = table_of(watched(prices[:end], window=50, min_bars=10))
        expected = by_rolling(prices[:end], 50, np.ones((9, 9)), 10)
        if end != 112:  # the ticks are still in the window
            np.testing.assert_allclose(found, expected, **CLOSE)
        assert (np.isnan(found) == np.isnan(expected)).all()


def test_closed_markets_halts_and_late_listings():
    prices = market(tickers=6)
    prices[30:45] = np.nan  # no ticker has a price
    prices[60:, 1] = np.nan  # delisted
    prices[:70, 2] = np.nan  # listed late, after the end of another
    prices[80:140, 3] = np.nan  # halted
    prices[::2, 4] = np.nan  # has no two prices in a row, and so no return
    found = table_of(watched(prices, beta=betas(6)))
    np.testing.assert_allclose(found, by_pandas_for_all(prices, 60.0, betas(6)), **CLOSE)
    assert np.isnan(found).any(axis=0).all()


@pytest.mark.parametrize("count", [2, 7, 8, 9, 16, 17])
def test_any_number_of_tickers(count):
    prices = market(tickers=count, bars=40, gaps=0.05)
    monitor = watched(prices, beta=betas(count))
    found = table_of(monitor)
    np.testing.assert_allclose(found, by_pandas_for_all(prices, 60.0, betas(count)), **CLOSE)
    upper = zip(*np.triu_indices(count, 1), strict=True)
    listed = monitor.pairs([(monitor.tickers[y], monitor.tickers[x]) for y, x in upper])
    np.testing.assert_array_equal([each[2:] for each in listed], found)


def test_without_decay_the_figures_are_those_of_the_screen():
    """Correlation of log returns and summed squared gaps, as `screen --method` ranks by."""
    prices = market(bars=90)
    monitor = watched(prices, half_life=np.inf)
    upper = np.triu_indices(11, 1)
    correlation = np.corrcoef(np.diff(np.log(prices), axis=0).T)[upper]
    np.testing.assert_allclose(monitor.figure("correlation"), correlation, **CLOSE)
    normalised = prices / prices[0]
    gaps = ((normalised[:, upper[0]] - normalised[:, upper[1]]) ** 2).sum(axis=0)
    np.testing.assert_allclose(monitor.figure("distance") * 90, gaps, **CLOSE)


def test_a_missing_price_is_no_bar_of_its_pairs():
    """Bars in which one of two has no price change nothing but the next return."""
    prices = market(tickers=3, bars=60)
    monitor = watched(prices[:50])
    before = monitor.pairs([("T0000", "T0001")])[0]
    for bar in prices[50:60]:
        monitor.step({"T0000": bar[0], "T0002": bar[2]})
    after = monitor.pairs([("T0000", "T0001")])[0]
    assert after[:4] + after[5:] == before[:4] + before[5:]
    assert np.isnan(after.zscore)
    assert monitor.pairs([("T0000", "T0002")])[0].crossings != before.crossings
    assert monitor.bars == 60


def test_figures_wait_for_their_bars():
    prices = market(tickers=2, bars=12)
    monitor = PairMonitor(["A", "B"], min_bars=10, half_life=3)
    for n, bar in enumerate(prices, start=1):
        monitor.step(bar)
        (pair,) = monitor.pairs([("A", "B")])
        assert np.isfinite([pair.distance, pair.zscore, pair.crossings]).all() == (n >= 10)
        assert np.isfinite(pair.correlation) == (n >= 11)  # its first return is of the second bar


@pytest.mark.parametrize("name", FIGURES)
def test_the_best_pairs_are_those_of_the_whole_table(name):
    monitor = watched(market(tickers=23, bars=70, gaps=0.02))
    monitor.step(market(tickers=23, bars=71)[-1])
    table = table_of(monitor)
    value = monitor.figure(name)
    score = {"distance": value, "zscore": -np.abs(value)}.get(name, -value)
    kept = (table[:, 0] >= 0.3) & (table[:, 3] >= 2.0) & (table[:, 3] <= 30.0)
    upper = np.transpose(np.triu_indices(23, 1))
    for mask, within in (
        (~np.isnan(value), None),
        (kept & ~np.isnan(value), {"correlation": (0.3, np.inf), "crossings": (2.0, 30.0)}),
    ):
        places = np.flatnonzero(mask)
        order = places[np.argsort(score[places], kind="stable")]
        for count in (0, 7, len(places), 10_000):
            found = monitor.top(name, count, within)
            assert [(each.y, each.x) for each in found] == [
                (monitor.tickers[y], monitor.tickers[x]) for y, x in upper[order[:count]]
            ]
            values = np.array([each[2:] for each in found]).reshape(-1, 4)
            np.testing.assert_array_equal(values, table[order[:count]])
        assert len(places) < 253 or within is None


def test_ties_go_in_the_order_of_the_tickers():
    prices = np.repeat(market(tickers=1, bars=40), 9, axis=1)
    found = watched(prices, min_bars=5).top("distance", 4)
    assert [(each.y[-1], each.x[-1]) for each in found] == [("0", str(x)) for x in (1, 2, 3, 4)]


@pytest.mark.parametrize("options", [{"half_life": 9.0}, {"window": 25}], ids=str)
def test_the_bits_do_not_depend_on_instruction_sets_and_threads(monkeypatch, options):
    prices = market(tickers=131, bars=45, gaps=0.05)
    states, bests = set(), set()
    for isa in _simd.available():
        for threads in (1, 2, 5):
            monkeypatch.setenv("MLKIT_SIMD", isa)
            monitor = watched(prices, threads=threads, beta=0.9, **options)
            states.add(hashlib.sha256(monitor.save() + table_of(monitor).tobytes()).digest())
            bests.add(str([monitor.top(name, 20) for name in FIGURES]))
    assert (len(states), len(bests)) == (1, 1)


@pytest.mark.parametrize("options", [{"half_life": 12.0}, {"window": 16}], ids=str)
def test_a_restored_monitor_goes_on_with_the_same_bits(options):
    prices = market(tickers=20, bars=80, gaps=0.1)
    whole = watched(prices, min_bars=7, **options)
    first = watched(prices[:33], min_bars=7, **options)
    second = PairMonitor.load(first.save(), threads=2)
    assert second.save() == first.save()
    for bar in prices[33:]:
        second.step(bar)
    assert second.save() == whole.save()
    assert (second.tickers, second.bars) == (whole.tickers, 80)
    assert (second.half_life, second.window) == (
        pytest.approx(options.get("half_life", np.inf)),
        options.get("window"),
    )
    assert len(whole.save()) == len(first.save())  # it does not grow with time


@pytest.mark.parametrize("options", [{}, {"window": 2, "min_bars": 2}], ids=str)
def test_damaged_states_are_refused(options):
    state = watched(market(tickers=3, bars=4), **options).save()
    for damaged in (b"", state[:25], state[:40], state[:-1], state + b"x", b"x" + state):
        with pytest.raises(BadData, match="a saved pair monitor cannot be read"):
            PairMonitor.load(damaged)
    for place in range(len(state)):
        changed = bytearray(state)
        changed[place] ^= 4
        with pytest.raises(BadData, match="a saved pair monitor cannot be read"):
            PairMonitor.load(bytes(changed))


@pytest.mark.parametrize("price", [0.0, -1.0, np.inf, -np.inf, 5e-324, 1e308])
def test_a_bar_with_an_impossible_price_is_not_taken(price):
    prices = market(tickers=4, bars=30)
    monitor = watched(prices)
    state = monitor.save()
    with pytest.raises(BadData, match=r"bar 30: closes\[2\]"):
        monitor.step(np.array([10.0, 10.0, price, 10.0]))
    assert monitor.save() == state
    monitor.step(np.array([10.0, 10.0, np.nan, 10.0]))


def test_prices_of_any_size_and_outliers_keep_figures_finite():
    prices = market(tickers=4, bars=200)
    prices[:, 0] *= 1e300
    prices[:, 1] *= 1e-300
    prices[60, 2] *= 1e140  # a wrong tick, which is forgotten
    monitor = watched(prices, half_life=3.0)
    table = table_of(monitor).T
    assert np.isfinite(table).all()
    clean = watched(market(tickers=4, bars=200)[100:], half_life=3.0)
    np.testing.assert_allclose(table[0], clean.figure("correlation"), rtol=1e-4)
    np.testing.assert_allclose(table[2], clean.figure("zscore"), rtol=1e-4)


def test_no_digits_are_lost_over_many_bars():
    """A spread that hardly moves, far from 0, after 20,000 bars."""
    rng = np.random.default_rng(5)
    x = np.exp(5 + rng.standard_normal(20_000).cumsum() * 1e-3)
    prices = np.column_stack([x * np.exp(3 + rng.standard_normal(20_000) * 1e-7), x])
    (found,) = watched(prices, half_life=250.0).pairs([("T0000", "T0001")])
    expected = by_pandas(*prices.T, prices[0], 250.0, 1.0, 20)
    np.testing.assert_allclose(found[2:], expected, rtol=1e-7)


def test_what_does_not_vary_has_no_correlation_and_no_zscore():
    bars = np.arange(40)
    prices = np.column_stack([np.full(40, 7.0), 3 * 1.01**bars, market(tickers=1, bars=40)[:, 0]])
    monitor = watched(prices)
    assert np.isnan(monitor.figure("correlation")).all()
    assert np.isnan(watched(prices[:, [0, 0]]).figure("zscore")).all()
    assert monitor.top("correlation", 5) == []


def test_reading_while_bars_arrive():
    monitor = watched(market(tickers=40, bars=25), min_bars=2)
    ended = threading.Event()
    seen = []

    def read():
        while not ended.is_set() or not seen:
            seen.append(len(monitor.top("distance", 5)))

    reader = threading.Thread(target=read)
    reader.start()
    for bar in market(tickers=40, bars=200)[25:]:
        monitor.step(bar)
    ended.set()
    reader.join()
    assert set(seen) == {5}


def test_what_a_monitor_refuses():
    for options, message in (
        ({"half_life": 0.0}, "half_life"),
        ({"half_life": np.nan}, "half_life"),
        ({"half_life": 1e-9}, "half_life"),
        ({"min_bars": 1}, "min_bars"),
        ({"window": 0}, "window"),
        ({"window": 19}, "window"),
        ({"window": 2**40}, "window"),
        ({"min_bars": 2**70}, "cannot be made"),
        ({"beta": np.nan}, "beta"),
        ({"beta": np.inf}, "beta"),
        ({"beta": "much"}, "cannot be made"),
        ({"beta": np.ones(2)}, "beta"),
        ({"beta": np.array([[1.0, np.nan], [1.0, 1.0]])}, r"beta\[0, 1\]"),
        ({"threads": 0}, "threads"),
    ):
        with pytest.raises(UsageError, match=message):
            PairMonitor(["A", "B"], **options)
    with pytest.raises(UsageError, match="tickers: from 2"):
        PairMonitor(["A"])
    with pytest.raises(UsageError, match="tickers: from 2 to 65,536"):
        PairMonitor(range(65_537))
    with pytest.raises(UsageError, match="appears twice"):
        PairMonitor(["A", "A"])
    monitor = PairMonitor(["A", "B"])
    with pytest.raises(UsageError, match="no ticker 'C'"):
        monitor.step({"C": 1.0})
    with pytest.raises(BadData, match="bar 0: could not convert"):
        monitor.step({"A": 1.0, "B": "two"})
    with pytest.raises(UsageError, match="shape"):
        monitor.step(np.ones(3))
    with pytest.raises(UsageError, match="no pair B/A") as raised:
        monitor.pairs([("B", "A")])
    assert "A/B" in raised.value.hint
    with pytest.raises(UsageError, match="no figure 'beta'"):
        monitor.figure("beta")
    with pytest.raises(UsageError, match="negative"):
        monitor.top("distance", -1)
    with pytest.raises(UsageError, match="lower one"):
        monitor.top("distance", 1, {"crossings": (2.0, 1.0)})
