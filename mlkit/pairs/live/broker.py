"""Orders, and the broker that gets them.

An order has an identifier that follows from the decision, so that it is the same after a crash, and
a broker that has it already ignores it. `PaperBroker` is the broker of this release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mlkit.errors import UsageError

REMEMBERED = 100_000
"""Identifiers of orders that are done, for which a second submission changes nothing."""


@dataclass(frozen=True)
class PairOrder:
    """An order of two legs.

    Attributes:
        id: Its identifier: the bar of the decision, the pair's number, and `entry` or `exit`.
        pair: The pair's number.
        legs: Shares to buy of each ticker; below 0 to sell.
        time: Of the decision, in ISO 8601.
    """

    id: str
    pair: int
    legs: Mapping[str, float]
    time: str


@dataclass(frozen=True)
class Fill:
    """An order that was filled.

    Attributes:
        order: Its identifier.
        shares: That were bought of each ticker; below 0: sold.
        prices: What each was filled at.
        time: In ISO 8601.
    """

    order: str
    shares: Mapping[str, float]
    prices: Mapping[str, float]
    time: str


class Broker(Protocol):
    """Where orders go."""

    def submit(self, order: PairOrder) -> None:
        """Take an order; one with a known identifier changes nothing."""

    def cancel(self, order: str) -> None:
        """Withdraw an order that has not been filled; any other changes nothing."""

    def positions(self) -> Mapping[str, float]:
        """Return the shares of each ticker that is held."""


class PaperBroker:
    """Keeps orders and positions of money that nobody has.

    What an order fills at is decided by the engine, by the rules of the backtest; `settle` books
    it.
    """

    def __init__(self) -> None:
        self._working: dict[str, PairOrder] = {}
        self._done: dict[str, None] = {}  # in order, the oldest first
        self._shares: dict[str, float] = {}

    def submit(self, order: PairOrder) -> None:
        """Take an order; see `Broker.submit`."""
        if order.id not in self._done:
            self._working[order.id] = order

    def cancel(self, order: str) -> None:
        """Withdraw an order; see `Broker.cancel`."""
        if self._working.pop(order, None) is not None:
            self._finish(order)

    def _finish(self, order: str) -> None:
        self._done[order] = None
        if len(self._done) > REMEMBERED:
            del self._done[next(iter(self._done))]

    def settle(self, fill: Fill) -> None:
        """Book a fill.

        Raises:
            UsageError: No such order works.
        """
        if fill.order in self._done:
            return
        if self._working.pop(fill.order, None) is None:
            raise UsageError(f"a fill of the unknown order {fill.order}")
        self._finish(fill.order)
        for ticker, shares in fill.shares.items():
            self._shares[ticker] = self._shares.get(ticker, 0.0) + shares

    def positions(self) -> Mapping[str, float]:
        """Return the positions; see `Broker.positions`."""
        return {ticker: shares for ticker, shares in sorted(self._shares.items()) if shares}

    def working(self) -> Sequence[str]:
        """Return the identifiers of the orders that wait."""
        return sorted(self._working)

    def take_over(self, shares: Mapping[str, float]) -> None:
        """Begin with positions whose orders are not known."""
        self._shares = dict(shares)


def differences(
    broker: Mapping[str, float], engine: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """Return the tickers of which a broker holds other shares than the engine."""
    tickers = sorted(broker.keys() | engine.keys())
    pairs = {each: (broker.get(each, 0.0), engine.get(each, 0.0)) for each in tickers}
    return {
        ticker: {"broker": held, "engine": expected}
        for ticker, (held, expected) in pairs.items()
        if abs(held - expected) > 1e-9 * max(1.0, abs(held), abs(expected))
    }
