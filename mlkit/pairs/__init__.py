"""Pairs of securities: prices, the screen, fits, backtests and sweeps.

A strategy of your own is a subclass of `Strategy` that `backtest.run` takes.
`LiveEngine` trades bar by bar, `PairMonitor` watches all pairs.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlkit.pairs.live.engine import LiveEngine
    from mlkit.pairs.live.monitor import PairMonitor
    from mlkit.pairs.strategy.strategy import Features, Order, State, Strategy

__all__ = ["Features", "LiveEngine", "Order", "PairMonitor", "State", "Strategy"]


def __getattr__(name: str) -> Any:
    """Import what is public when it is asked for: help and settings need no NumPy."""
    if name not in __all__:
        raise AttributeError(f"module 'mlkit.pairs' has no attribute '{name}'")
    if name in ("LiveEngine", "PairMonitor"):
        from mlkit.pairs import live

        return getattr(live, name)
    from mlkit.pairs.strategy import strategy

    return getattr(strategy, name)
