"""Features of jobs equal the batch functions on the same bars, however these are divided."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit.errors import UsageError
from mlkit.pairs._pair_strategy import Signal, rolling_moments
from mlkit.pairs._pair_strategy import features as batch_features
from mlkit.pairs.feeds.assembly import Assembler
from mlkit.pairs.feeds.records import PriceRecord
from mlkit.pairs.fit import spread
from mlkit.pairs.jobs import features
from mlkit.pairs.jobs.states import decode, encode

COUNT = 120
TICKERS = ("A", "B", "C")


def walk():
    random = np.random.default_rng(7)
    return 100.0 * np.exp(np.cumsum(random.normal(0.0, 0.01, (COUNT, len(TICKERS))), axis=0))


CLOSE = walk()
DATA = pd.DataFrame(
    {
        "time": pd.to_datetime(np.repeat(np.arange(COUNT), 3) * 60 * 10**9, utc=True),
        "ticker": list(TICKERS) * COUNT,
        "close": CLOSE.ravel(),
    }
)


def divided(function, cuts, data=DATA):
    """Call a feature batch by batch, its state through a checkpoint each time."""
    state, parts = {}, []
    edges = [0, *sorted(cuts), len(data)]
    for start, stop in itertools.pairwise(edges):
        if stop > start:
            parts.append(function(state, data.iloc[start:stop]))
            state = decode(encode(state))
    return pd.concat(parts)


def by_ticker(values):
    return values.to_numpy().reshape(COUNT, len(TICKERS))


def of_windows(window, function):
    """Apply a batch function to each ticker's window that ends at a bar."""
    out = np.full(CLOSE.shape, np.nan)
    for bar in range(window - 1, COUNT):
        out[bar] = function(CLOSE[bar - window + 1 : bar + 1])
    return out


FEATURES = {
    "returns": lambda state, data: features.returns(state, data),
    "log returns": lambda state, data: features.returns(state, data, log=True),
    "mean": lambda state, data: features.rolling_mean(state, data, 20),
    "std": lambda state, data: features.rolling_std(state, data, 20),
    "zscore": lambda state, data: features.zscore(state, data, 20),
    "ewma": lambda state, data: features.ewma_volatility(state, data, 0.9),
    "half_life": lambda state, data: features.half_life(state, data, 30),
    "hurst": lambda state, data: features.hurst(state, data, 40),
}


@pytest.mark.parametrize("name", FEATURES)
@settings(max_examples=8)
@given(cuts=st.lists(st.integers(1, len(DATA) - 1), max_size=8))
def test_values_do_not_depend_on_how_records_are_divided(name, cuts):
    whole = FEATURES[name]({}, DATA)
    pd.testing.assert_series_equal(divided(FEATURES[name], cuts), whole, check_exact=True)


def near(found, expected):
    np.testing.assert_allclose(by_ticker(found), expected, rtol=1e-9, atol=1e-12)


def test_returns_are_changes_of_the_closes():
    first = np.full((1, 3), np.nan)
    near(features.returns({}, DATA), np.vstack([first, CLOSE[1:] / CLOSE[:-1] - 1.0]))
    near(features.returns({}, DATA, log=True), np.vstack([first, np.diff(np.log(CLOSE), axis=0)]))


def test_moments_equal_those_of_the_backtest():
    moments = [rolling_moments(column.copy(), 20) for column in CLOSE.T]
    mean = np.array([each[0] for each in moments]).T
    variance = np.array([each[1] for each in moments]).T
    known = slice(len(CLOSE) - len(mean), None)  # both kinds of result: full windows, or NaN before
    found = by_ticker(features.rolling_mean({}, DATA, 20))[known]
    np.testing.assert_allclose(found, mean, rtol=1e-9)
    found = by_ticker(features.rolling_std({}, DATA, 20))[known]
    np.testing.assert_allclose(found, np.sqrt(variance), rtol=1e-9)


def test_a_zscore_equals_the_one_that_a_backtest_trades_on():
    window = 20
    other = np.ones(COUNT)
    signal = Signal(beta=0.0, lookback=window, log=False)
    for column, ticker in enumerate(TICKERS):
        z = batch_features(CLOSE[:, column].copy(), other, signal)[2]
        alone = DATA[DATA["ticker"] == ticker]
        found = features.zscore({}, alone, window).to_numpy()
        known = ~np.isnan(found)
        assert known.sum() == COUNT - window + 1
        np.testing.assert_allclose(found[known], z[known], rtol=1e-9, atol=1e-12)


def test_volatility_equals_pandas_weighting_of_squares():
    squares = pd.DataFrame(np.diff(np.log(CLOSE), axis=0) ** 2)
    expected = np.sqrt(squares.ewm(alpha=0.1, adjust=False).mean().to_numpy())
    near(features.ewma_volatility({}, DATA, 0.9), np.vstack([np.full((1, 3), np.nan), expected]))


def test_half_life_and_hurst_equal_those_of_the_screen():
    half_life = of_windows(30, spread.half_life)
    near(features.half_life({}, DATA, 30), np.where(np.isfinite(half_life), half_life, np.nan))
    near(features.hurst({}, DATA, 40), of_windows(40, spread.hurst))


def test_missing_values_are_passed_over():
    data = DATA.copy()
    data.loc[data.index[10], "close"] = np.nan
    known = data.dropna(subset=["close"])
    found = features.zscore({}, data, 20)
    assert np.isnan(found.iloc[10])
    pd.testing.assert_series_equal(found[known.index], features.zscore({}, known, 20))
    assert features.zscore({}, data.drop(columns="close"), 20).isna().all()


def test_features_of_one_state_do_not_disturb_one_another():
    state = {}
    data = DATA.assign(other=DATA["close"] * 2.0 + 1.0)
    for start in range(0, len(data), 37):
        some = data.iloc[start : start + 37]
        found = {name: function(state, some) for name, function in FEATURES.items()}
        features.ewma_volatility(state, some, 0.9, column="other")
        features.zscore(state, some, 20, column="other")
        features.zscore(state, some, 21)
    for name, last in found.items():
        whole = FEATURES[name]({}, DATA)
        pd.testing.assert_series_equal(last, whole[last.index], check_exact=True)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FEATURES)
def test_hostile_values_make_nothing_infinite(name):
    data = DATA.copy()
    hostile = [np.inf, -np.inf, 1e308, -1e308, 0.0, 0.0, -5.0, 1e150, 1e-300, np.nan]
    data.loc[data.index[30:60:3], "close"] = hostile
    data.loc[data["ticker"] == "B", "close"] = 3.0  # does not move
    found = FEATURES[name]({}, data)
    assert not np.isinf(found).any()
    other = (data["ticker"] == "C").to_numpy()
    pd.testing.assert_series_equal(found[other], FEATURES[name]({}, DATA)[other])
    assert found[(data["ticker"] == "A").to_numpy()].iloc[-30:].notna().any()


def ticks(seed=3, count=400):
    random = np.random.default_rng(seed)
    seconds = np.cumsum(random.exponential(7.0, count))
    return pd.DataFrame(
        {
            "time": pd.to_datetime((seconds * 1e9).astype(np.int64), utc=True),
            "ticker": random.choice(TICKERS, count),
            "close": np.round(100.0 + np.cumsum(random.normal(0.0, 0.1, count)), 2),
            "volume": random.integers(1, 100, count),
        }
    )


@settings(max_examples=10)
@given(cuts=st.lists(st.integers(1, 399), max_size=5), seconds=st.sampled_from([0.5, 60.0, 300.0]))
def test_bars_equal_the_assembler_s_and_those_of_pandas(cuts, seconds):
    data = ticks()
    made = divided(lambda state, each: features.bars(state, each, seconds), cuts, data)
    length = round(seconds * 1e9)
    assembled = []
    for ticker, own in data.groupby("ticker"):
        assembler = Assembler([ticker], length=length)
        for row in own.itertuples():
            record = PriceRecord(row.time.value, ticker, row.close, volume=float(row.volume))
            assembled += [(bar.time, bar.records[0]) for bar in assembler.take(record)]
    found = {(row.time.value, row.ticker): row for row in made.itertuples()}
    assert len(found) == len(made) == len(assembled)
    for time, record in assembled:
        row = found[time, record.ticker]
        for name in ("open", "high", "low", "close", "volume"):
            assert getattr(row, name) == getattr(record, name)
    keys = [data["ticker"], data["time"].dt.floor(f"{length}ns")]
    grouped = data.groupby(keys).agg(
        open=("close", "first"), high=("close", "max"), low=("close", "min"),
        close=("close", "last"), volume=("volume", "sum"),
    )  # fmt: skip
    closed = grouped.groupby(level=0).apply(lambda each: each.droplevel(0).iloc[:-1])
    for (ticker, time), expected in closed.iterrows():
        row = found[time.value, ticker]
        assert (row.open, row.high, row.low, row.close, row.volume) == tuple(expected)
    assert len(closed) == len(made)


def test_late_ticks_and_impossible_prices_are_counted():
    rows = [(0, 1.0), (70, 2.0), (10, 3.0), (80, -1.0), (130, 4.0)]
    data = pd.DataFrame(
        [{"time": pd.Timestamp(s, unit="s", tz="UTC"), "ticker": "A", "price": p} for s, p in rows]
    )
    state = {}
    made = features.bars(state, data, 60)
    assert made["close"].tolist() == [1.0, 2.0]
    assert state["bars:60"]["counts"] == {"accepted": 3, "late": 1, "price": 1}


@pytest.mark.parametrize(
    "call",
    [
        lambda: features.rolling_mean({}, DATA, 0), lambda: features.zscore({}, DATA, 1),
        lambda: features.half_life({}, DATA, 2), lambda: features.hurst({}, DATA, 22),
        lambda: features.ewma_volatility({}, DATA, 1.0), lambda: features.bars({}, DATA, 0.0),
    ],
)  # fmt: skip
def test_parameters_without_meaning_are_refused(call):
    with pytest.raises(UsageError):
        call()
