"""Made-up markets that the tests of backtests trade in."""

import numpy as np

from mlkit.pairs.prices.prices import Prices


def prices(close, *, opens=None, dividends=None, tickers=None):
    """Daily prices from a matrix of closes."""
    count = close.shape[1]
    names = tickers or tuple("ABCDEFGHIJKLMNOP"[:count])
    days = np.datetime64("2001-01-01", "ns") + np.arange(len(close)) * np.timedelta64(1, "D")
    return Prices(names, days, None, close, open=opens, dividends=dividends, source="made up")


def cointegrated(seed, bars=400, tickers=4, noise=0.03):
    """Tickers that revert to a common trend, with opens between closes and some dividends."""
    rng = np.random.default_rng(seed)
    trend = np.cumsum(rng.normal(0, 0.01, bars))
    gaps = np.zeros((bars, tickers))
    shocks = rng.normal(0, noise, (bars, tickers))
    for t in range(1, bars):
        gaps[t] = 0.85 * gaps[t - 1] + shocks[t]
    close = np.exp(rng.uniform(2, 5, tickers) + trend[:, None] * rng.uniform(0.6, 1.4) + gaps)
    opens = close * np.exp(rng.normal(0, 0.005, close.shape))
    paid = np.where(rng.random(close.shape) < 0.02, 0.01 * close, 0.0)
    return prices(close, opens=opens, dividends=paid)
