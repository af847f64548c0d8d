"""Backtests: replay prices through the strategy, measure, record, sweep over settings."""

from mlkit.pairs.backtest.replay import Backtest, run

__all__ = ["Backtest", "run"]
