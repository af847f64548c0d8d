"""Pairs of securities: prices, the screen, fits, backtests and sweeps.

A strategy of your own is a subclass of `Strategy` that `backtest.run` takes.
"""

from mlkit.pairs.strategy.strategy import Features, Order, State, Strategy

__all__ = ["Features", "Order", "State", "Strategy"]
