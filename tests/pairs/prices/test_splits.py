"""Splits of a file are applied where its closes are as paid, and never overlooked."""

from __future__ import annotations

import numpy as np
import pytest

from mlkit.errors import BadData, UsageError
from mlkit.pairs import windows
from mlkit.pairs.backtest import records, replay
from mlkit.pairs.prices import read
from mlkit.pairs.settings import Costs, Rule, Settings, Signal, Sizing

BARS, SPLIT = 200, 120
DAYS = [str(np.datetime64("2024-01-01") + day) for day in range(BARS)]


def market(ratio=4.0, stated="4", adjusted=False, column=True):
    """Two cointegrated tickers; X is split before bar 120."""
    rng = np.random.default_rng(3)
    walk = 100 * np.exp(0.01 * rng.standard_normal(BARS).cumsum())
    y = walk * np.exp(0.02 * np.sin(np.arange(BARS) / 3))
    whole = {"X": walk, "Y": y}
    lines = ["date,ticker,close,dividend" + (",split" if column else "")]
    for bar, day in enumerate(DAYS):
        for name, prices in whole.items():
            apart = name == "X" and bar >= SPLIT and not adjusted
            price = prices[bar] / (ratio if apart else 1.0)
            cell = ("," + (stated if name == "X" and bar == SPLIT else "0")) if column else ""
            lines.append(f"{day},{name},{float(price)!r},0{cell}")
    return "\n".join(lines) + "\n", whole


@pytest.fixture
def write(tmp_path):
    def to(text):
        path = tmp_path / "prices.csv"
        path.write_text(text)
        return path

    return to


@pytest.mark.parametrize("stated", ["4", "4.0", "4:1", "4/1", "4.000/1.000"])
@pytest.mark.parametrize("raw", [True, False])
def test_prices_before_a_split_are_those_of_later_shares(write, stated, raw):
    text, whole = market(stated=stated)
    prices = read(write(text), raw=raw)
    np.testing.assert_allclose(prices.close[:, 0] * 4, whole["X"])
    assert prices.factor is not None
    assert prices.factor[[SPLIT - 1, SPLIT], 0].tolist() == [4.0, 1.0]
    assert "1 split applied (first: 4:1 of X on 2024-04-30)" in prices.notes[0]


def test_a_reverse_split(write):
    text, whole = market(ratio=0.1, stated="1:10")
    np.testing.assert_allclose(read(write(text), raw=True).close[:, 0], whole["X"] * 10)


def test_closes_that_are_adjusted_already_stay(write):
    text, whole = market(adjusted=True)
    prices = read(write(text), raw=True)
    np.testing.assert_allclose(prices.close[:, 0], whole["X"])
    assert prices.factor is None
    assert "adjusted for 1 split already" in prices.notes[0]


def test_a_ratio_upside_down_and_no_ratio_are_refused(write):
    with pytest.raises(BadData, match=r"row 242, X: the split is 0.25, and the close changes"):
        read(write(market(stated="0.25")[0]), raw=True)
    for cell in ("four", "-4", "4:0"):
        with pytest.raises(BadData, match=r"row 242: .* is not a split"):
            read(write(market(stated=cell)[0]), raw=True)


@pytest.mark.parametrize(
    ("ratio", "words"), [(4.0, "4:1"), (2.0, "2:1"), (1.5, "3:2"), (0.1, "1:10")]
)
def test_a_jump_of_a_known_ratio_is_named_with_its_date(write, ratio, words):
    path = write(market(ratio=ratio, column=False)[0])
    with pytest.raises(BadData, match=f"row 242, X, 2024-04-30: .* a split {words} ") as caught:
        read(path, raw=True)
    assert "--allow-jumps" in str(caught.value.hint)
    assert read(path, raw=True, allow_jumps=True).factor is None
    assert read(path).factor is None  # closes are taken as adjusted


def trade(prices, costs=None, sizing=None):
    settings = Settings(
        rule=Rule(entry=1.0, exit=0.0), signal=Signal(lookback=20),
        costs=costs or Costs(), sizing=sizing or Sizing(), formation=40,
    )  # fmt: skip
    planned = windows.given(prices, [windows.GivenPair("Y", "X")], settings)
    return replay.run(prices, planned, settings)


def test_a_backtest_over_a_split_earns_what_it_earns_without_one(write):
    split = trade(read(write(market()[0]), raw=True))
    plain = trade(read(write(market(adjusted=True)[0]), raw=True))
    np.testing.assert_allclose(split.equity, plain.equity)
    one, other = records.trades(split).to_pydict(), records.trades(plain).to_pydict()
    for shares, price, closed, of, at in zip(
        one["x_shares"], one["x_entry_price"], one["closed"],
        other["x_shares"], other["x_entry_price"], strict=True,
    ):  # fmt: skip
        ratio = 4.0 if closed >= DAYS[SPLIT] else 1.0
        assert shares == pytest.approx(of * ratio)
        assert price == pytest.approx(at / ratio)
    held = [
        (row["shares"], row["value"])
        for row in records.positions(split).to_pylist()
        if row["ticker"] == "X" and DAYS[SPLIT - 1] <= row["date"] <= DAYS[SPLIT]
    ]
    (before, value), (after, later) = held
    assert after == pytest.approx(4 * before)
    assert later == pytest.approx(value, rel=0.1)


def test_settings_that_count_shares_are_refused_over_a_split(write):
    prices = read(write(market()[0]), raw=True)
    with pytest.raises(UsageError, match="whole shares, and splits"):
        trade(prices, sizing=Sizing(whole_shares=True))
    with pytest.raises(UsageError, match="a commission per share, and splits"):
        trade(prices, costs=Costs(per_share=0.01))
