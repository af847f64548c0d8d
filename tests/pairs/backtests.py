"""Settings and runs that the tests of backtests share."""

from dataclasses import replace

import numpy as np

from mlkit.pairs.backtest.replay import run
from mlkit.pairs.settings import Costs, Rule, Selection, Settings, Signal
from mlkit.pairs.windows import GivenPair, plan

SIGNALS = [
    Signal(lookback=15),
    Signal(lookback=15, log=False),
    Signal(zscore="formation"),
    Signal(zscore="ou"),
    Signal(lookback=15, hedge="rolling", hedge_window=30),
    Signal(zscore="filter", hedge="kalman", drift=1e-3),
    Signal(zscore="filter", hedge="kalman", log=False, drift=1e-3),
]
EXPENSIVE = Costs(0.01, 1.0, 2.0, 3.0, 4.0, borrow_rate=0.05)
FREE = Costs(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
SETTINGS = Settings(
    rule=Rule(entry=1.2, exit=0.2, stop=4.0, max_bars=25),
    costs=EXPENSIVE,
    formation=80,
    cash_rate=0.03,
    selection=Selection(method="distance", top=2),
    bars_per_year=252.0,
)
PAIRS = (GivenPair("A", "B"), GivenPair("C", "D"))
SCHEMES = {
    "given": ({}, PAIRS),
    "with a beta": ({}, (GivenPair("A", "B", 0.9), GivenPair("C", "D", -1.1))),
    "windows by distance": ({"trading": 60}, ()),
    "windows by correlation": (
        {"trading": 60, "selection": Selection(method="correlation", top=2)}, ()),
    "windows by cointegration": (
        {"trading": 60, "selection": Selection(fdr="none", alpha=0.5, top=2)}, ()),
    "windows of given pairs": ({"trading": 60}, PAIRS),
    "windows, carried": ({"trading": 60, "carry": True}, ()),
}  # fmt: skip
"""Ways to come to pairs: what they change in the settings, and the pairs that are given."""


def backtest(market, settings, strategy=None, pairs=None):
    """Run settings; pairs are chosen by the screen if there is a trading period."""
    named = pairs if pairs is not None else () if settings.trading else PAIRS
    return run(market, plan(market, named, settings), settings, strategy)


def held(result):
    """Shares of each ticker after each bar, rebuilt from the trades alone."""
    shares = np.zeros(result.prices.close.shape)
    for trade in result.trades:
        for leg, name in zip("yx", result.pair_names(trade["pair"]), strict=True):
            column = result.prices.tickers.index(name)
            shares[trade["entered"] : trade["closed"], column] += trade["shares"][leg]
    return shares


def schemes(seed):
    """A signal and a way to pairs that go together, and the pairs."""
    rng = np.random.default_rng(seed)
    change, pairs = list(SCHEMES.values())[rng.integers(len(SCHEMES))]
    signal = SIGNALS[rng.integers(len(SIGNALS))]
    if any(pair.beta for pair in pairs) and signal.zscore != "lookback":
        signal = SIGNALS[0]
    chosen = replace(SETTINGS, signal=signal, same_bar=bool(rng.integers(2)), **change)
    return chosen, pairs
