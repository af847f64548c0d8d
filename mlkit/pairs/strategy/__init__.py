"""Strategies written in Python: their base class, and files that hold one."""

from mlkit.pairs.strategy.strategy import Features, Order, State, Strategy

__all__ = ["Features", "Order", "State", "Strategy"]
