"""Strategies written in Python, run by the same engine as the built-in rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlkit.pairs._pair_strategy import Features, Order, State

__all__ = ["Features", "Order", "State", "Strategy", "decider"]


class Strategy:
    """A strategy: override `step`, and give the object to `backtest.run`.

    The engine computes the features, sizes and fills the orders and keeps the account. The
    strategy keeps what it wants to remember of a pair in its state.
    """

    def start(self) -> Any:
        """Give the state of a pair that has just been added."""
        return None

    def step(self, state: Any, features: Features, position: State) -> tuple[Any, Order]:
        """Decide at a bar's close.

        Args:
            state: What this method returned for the pair at the bar before.
            features: `beta`, `spread` and `z` at this close; NaN while a window fills.
            position: `side` (1 long the spread, -1 short, 0 flat) and `held`, the bars since
                the decision to enter.

        Returns:
            The new state, and what to do. To enter a pair that has a position, or to leave
            one that has none, is an error.
        """
        raise NotImplementedError


def decider(strategy: Strategy) -> Callable[[int, Features, State], Order]:
    """Wrap a strategy for the engine, with a state for each pair."""
    states: dict[int, Any] = {}

    def decide(pair: int, features: Features, position: State) -> Order:
        state = states[pair] if pair in states else strategy.start()
        states[pair], order = strategy.step(state, features, position)
        return order

    return decide
