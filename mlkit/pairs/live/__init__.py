"""Pairs traded bar by bar, by the engine that replays a backtest."""

from mlkit.pairs.live.engine import LiveEngine, Step

__all__ = ["LiveEngine", "Step"]
