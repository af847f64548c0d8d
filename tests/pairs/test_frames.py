"""pandas in and out of pairs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from mlkit.errors import BadData, UsageError
from mlkit.pairs import frames, windows
from mlkit.pairs.backtest import replay
from mlkit.pairs.backtest.sweep import Grid, sweep
from mlkit.pairs.screen.criteria import Criteria
from mlkit.pairs.screen.screening import screen
from mlkit.pairs.settings import Rule, Settings, Signal

BARS = 120
DATES = pd.date_range("2024-01-01", periods=BARS, name="Date")
WALK = 50 + np.random.default_rng(1).standard_normal(BARS).cumsum()
CLOSE = pd.DataFrame({"KO": WALK, "PEP": WALK + np.sin(np.arange(BARS))}, index=DATES)


def long() -> pd.DataFrame:
    return CLOSE.rename_axis(columns="ticker").stack().rename("close").reset_index()


FORMS = {
    "wide": CLOSE,
    "wide, no name": CLOSE.rename_axis(None),
    "wide, dates in a column": CLOSE.reset_index(),
    "periods": CLOSE.set_index(DATES.to_period("D")),
    "long": long(),
    "categories": long().astype({"ticker": "category"}),
    "MultiIndex": long().set_index(["Date", "ticker"]),
    "Series of a MultiIndex": long().set_index(["Date", "ticker"])["close"],
    "yfinance": pd.concat({"Close": CLOSE, "Open": CLOSE}, axis=1, names=["Price", "Ticker"]),
    "yfinance by ticker": pd.concat({"Close": CLOSE}, axis=1).swaplevel(axis=1),
    "Series a ticker": dict(CLOSE.items()),
    "frames a ticker": {
        name: each.to_frame("Close").assign(Open=1) for name, each in CLOSE.items()
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_every_layout_of_a_frame(form):
    data = frames.prices(FORMS[form])
    assert data.tickers == ("KO", "PEP")
    np.testing.assert_array_equal(data.close, CLOSE.to_numpy())
    assert data.zoned[0] == "2024-01-01"


def test_a_series_is_a_ticker():
    assert frames.prices(CLOSE["KO"]).tickers == ("KO",)
    with pytest.raises(UsageError, match="without a name"):
        frames.prices(CLOSE["KO"].rename(None))


def test_a_zone_is_kept_both_ways():
    zoned = CLOSE.tz_localize("America/New_York").rename_axis("date")
    data = frames.prices(zoned)
    assert data.timezone == "America/New_York"
    pd.testing.assert_frame_equal(
        frames.of_prices(data), zoned.rename_axis(columns="ticker"), check_freq=False,
        check_index_type=False,
    )  # fmt: skip


def test_what_is_wrong_names_its_row():
    holed = CLOSE.copy()
    holed.iloc[7, 1] = np.nan
    with pytest.raises(BadData, match="data frame: row 7, PEP: there is no price"):
        frames.prices(holed)
    assert frames.prices(holed, align="ffill").close[7, 1] == CLOSE.iloc[6, 1]
    with pytest.raises(UsageError, match="prices of type list"):
        frames.prices([1, 2])


def test_results_are_frames():
    data = frames.prices(CLOSE)
    settings = Settings(rule=Rule(entry=1.0), signal=Signal(lookback=20), formation=40)
    planned = windows.given(data, [windows.GivenPair("KO", "PEP")], settings)
    result = replay.run(data, planned, settings)
    trades = frames.trades(result)
    assert len(trades) == len(result.trades) > 0
    assert trades["net_result"].sum() == pytest.approx(result.net_results().sum())
    assert (trades["closed"] >= trades["entered"]).all()
    assert (trades["entered"] == DATES[result.trades["entered"]]).all()
    equity = frames.equity(result)
    assert equity["equity"].iloc[-1] == result.equity[-1]
    assert equity.index[-1] == DATES[-1]
    held = frames.positions(result)
    assert set(held["ticker"]) == {"KO", "PEP"}
    assert held["date"].dtype.kind == "M"
    grid = Grid(entry=(1.0, 2.0), exit=(0.5,), stop=(float("inf"),), lookback=(20,))
    tried = frames.configurations(sweep(data, planned, settings, grid))
    assert tried["entry"].tolist() == [1.0, 2.0]
    found = frames.pairs(screen(data, Criteria(method="distance")))
    assert found[["y", "x"]].to_numpy().tolist() == [["KO", "PEP"]]


def test_pandas_is_imported_only_where_it_is_used(tmp_path):
    CLOSE.to_csv(tmp_path / "p.csv")
    code = (
        "import sys\nfrom mlkit.pairs import frames\nfrom mlkit.pairs.prices import read\n"
        f"read({str(tmp_path / 'p.csv')!r})\nprint('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
