"""The rolling correlation of a job equals that of pandas, and of the monitor of all pairs."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlkit.errors import UsageError
from mlkit.pairs.jobs import correlation, features
from mlkit.pairs.jobs.states import decode, encode
from mlkit.pairs.live.monitor import PairMonitor

COUNT, WINDOW = 90, 15
TICKERS = ["A", "B", "C"]
PAIRS = [("A", "B"), ("C", "A")]
TIMES = pd.date_range("2024-01-01", periods=COUNT, freq="1min", tz="UTC", name="time")


def walks():
    draws = np.random.default_rng(5)
    common = draws.normal(0.0, 0.01, (COUNT, 1))
    return 100.0 * np.exp(np.cumsum(common + draws.normal(0.0, 0.01, (COUNT, 3)), axis=0))


CLOSE = pd.DataFrame(walks(), index=TIMES, columns=pd.Index(TICKERS, name="ticker"))
DATA = CLOSE.stack().rename("close").reset_index()


def of(data, cuts=(), pairs=PAIRS, window=WINDOW):
    """Correlations of a job that is stopped and started again between batches."""
    state, parts = {}, []
    for first, last in itertools.pairwise([0, *sorted(cuts), len(data)]):
        parts.append(features.correlation(state, data.iloc[first:last], window, pairs))
        state = decode(encode(state))
    made = pd.concat(parts, ignore_index=True).astype({"ticker": "str"})
    return made.sort_values(["time", "ticker"], ignore_index=True)


def by_pandas(close, y, x):
    both = close[[y, x]].dropna()
    returns = np.log(both).diff()
    found = returns[y].rolling(WINDOW).corr(returns[x]).dropna()
    return pd.DataFrame(
        {"time": found.index, "ticker": f"{y}/{x}", "correlation": found.to_numpy()}
    )


def expected(close):
    parts = [by_pandas(close, y, x) for y, x in PAIRS]
    return pd.concat(parts).sort_values(["time", "ticker"], ignore_index=True)


def test_values_are_those_of_pandas():
    made = of(DATA)
    assert len(made) == 2 * (COUNT - WINDOW)
    pd.testing.assert_frame_equal(made, expected(CLOSE), rtol=1e-9, check_dtype=False)


def test_the_last_values_are_those_of_the_monitor_of_all_pairs():
    monitor = PairMonitor(TICKERS, window=WINDOW + 1, min_bars=2)
    for row in CLOSE.to_numpy()[-WINDOW - 1 :]:
        monitor.step(row)
    figures = {(each.y, each.x): each.correlation for each in monitor.top("correlation", 3)}
    last = of(DATA).groupby("ticker")["correlation"].last()
    assert last["A/B"] == pytest.approx(figures["A", "B"], rel=1e-9)
    assert last["C/A"] == pytest.approx(figures["A", "C"], rel=1e-9)


@settings(max_examples=6, deadline=None)
@given(cuts=st.lists(st.integers(1, len(DATA) - 1), max_size=8), seed=st.integers(0, 100))
def test_neither_batches_nor_gaps_nor_the_order_of_tickers_matter(cuts, seed):
    draws = np.random.default_rng(seed)
    holes = CLOSE.mask(pd.DataFrame(draws.random(CLOSE.shape) < 0.2, CLOSE.index, CLOSE.columns))
    rows = holes.stack().dropna().rename("close").reset_index()
    ahead = (
        rows["time"].astype("int64") + rows["ticker"].map({"A": 0, "B": 7, "C": -3}) * 60 * 10**9
    )
    rows = rows.iloc[np.argsort(ahead.to_numpy(), kind="stable")]
    made = of(rows, [each for each in cuts if each < len(rows)])
    pd.testing.assert_frame_equal(made, of(rows), check_exact=True)
    pd.testing.assert_frame_equal(made, expected(holes), rtol=1e-9, check_dtype=False)


def test_what_goes_back_or_is_no_price_is_passed_over():
    bad = pd.DataFrame(
        {
            "time": [TIMES[3], TIMES[30], TIMES[30]],
            "ticker": ["A", "A", "B"],
            "close": [9.0, -1.0, np.inf],
        }
    )
    data = pd.concat([DATA.iloc[:90], bad, DATA.iloc[90:]])
    pd.testing.assert_frame_equal(of(data), of(DATA), check_exact=True)


@pytest.mark.filterwarnings("error")
def test_a_ticker_that_does_not_move_has_no_correlation():
    data = DATA.assign(close=DATA["close"].where(DATA["ticker"] != "B", 3.0))
    assert set(of(data)["ticker"]) == {"C/A"}
    hostile = DATA.assign(close=DATA["close"].where(DATA["ticker"] != "C", 1e-300))
    hostile.loc[hostile.index[5::9], "close"] = 1e150
    made = of(hostile)
    assert made["correlation"].between(-1.0, 1.0).all()


def test_a_halted_ticker_does_not_let_the_state_grow(monkeypatch):
    monkeypatch.setattr(correlation, "MOST_WAITING", 10)
    state = {}
    for first in range(0, len(DATA), 6):
        some = DATA.iloc[first : first + 6]
        features.correlation(state, some[some["ticker"] == "A"], WINDOW, PAIRS)
    (memory,) = state.values()
    assert len(memory["pairs"]["A/B"]["y"][0]) == 10
    late = features.correlation(state, DATA[DATA["ticker"] == "B"], 2, PAIRS)
    assert len(late) == 0


def test_an_empty_batch_and_no_pairs_make_an_empty_frame():
    for made in (of(DATA.iloc[:0]), of(DATA, pairs=[])):
        assert list(made.columns) == ["time", "ticker", "correlation"]
        assert len(made) == 0


@pytest.mark.parametrize("pairs", [["KO"], ["AB"], [("A", "A")], [("A", "B", "C")]])
def test_what_is_no_pair_is_refused(pairs):
    with pytest.raises(UsageError):
        features.correlation({}, DATA, WINDOW, pairs)
    with pytest.raises(UsageError):
        features.correlation({}, DATA, 1, PAIRS)
