"""Strategies written in Python, run by the same engine as the built-in rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mlkit.errors import BadData
from mlkit.pairs._pair_strategy import Features, Order, State

__all__ = ["Features", "Order", "State", "Strategy", "strategy_callback"]


@dataclass(frozen=True)
class Reference:
    """Which strategy a run used.

    Attributes:
        name: Its class.
        file: Where it is written; None: it was given as an object and cannot be loaded.
        sha256: The file's hash.
    """

    name: str
    file: str | None = None
    sha256: str | None = None


class Strategy:
    """A strategy: override `step`, and give the object to `backtest.run`.

    The engine computes the features, sizes and fills the orders and keeps the account. The
    strategy keeps what it wants to remember of a pair in its state.

    Attributes:
        loaded_from: The file that `strategy_file.load` read it from.
    """

    loaded_from: Reference | None = None

    def start(self) -> Any:
        """Return the state of a pair that has just been added."""
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


class _Indexed(Protocol):
    def __getitem__(self, number: int, /) -> Any: ...


def strategy_callback(
    strategy: Strategy, names: _Indexed, times: _Indexed
) -> Callable[[int, int, Features, State], Order]:
    """Wrap a strategy for the engine, with a state for each pair.

    Args:
        strategy: It decides.
        names: Of the pairs, by their number.
        times: Of the bars.

    Raises:
        BadData: From the result, when `step` fails or gives an order that the position forbids;
            the message names the pair and the bar.
    """
    states: dict[int, Any] = {}

    def decide(bar: int, pair: int, features: Features, position: State) -> Order:
        try:
            state = states[pair] if pair in states else strategy.start()
            states[pair], order = strategy.step(state, features, position)
            return _check_order(Order(order), position)
        except (Exception, SystemExit) as error:
            what = f"{type(strategy).__name__}.step: {type(error).__name__}: {error}"
            raise BadData(f"{names[pair]} at {times[bar]} (bar {bar}): {what}",
                          hint="--debug shows the traceback") from error  # fmt: skip

    return decide


def _check_order(order: Order, position: State) -> Order:
    if order == Order.NONE:
        return order
    entry = order in {Order.ENTER_LONG, Order.ENTER_SHORT}
    if entry and position.side != 0:
        raise ValueError("it enters a pair that has a position")
    if not entry and position.side == 0:
        raise ValueError("it leaves a pair that has no position")
    return order
