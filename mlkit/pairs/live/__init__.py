"""Pairs watched and traded bar by bar, by the engine that replays a backtest."""

from mlkit.pairs.live.engine import LiveEngine, Step
from mlkit.pairs.live.monitor import Candidate, PairMonitor

__all__ = ["Candidate", "LiveEngine", "PairMonitor", "Step"]
