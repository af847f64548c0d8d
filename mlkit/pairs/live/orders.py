"""The orders of an engine: which are new, filled or cancelled after a bar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlkit.pairs.backtest.replay import REASONS
from mlkit.pairs.feeds.records import iso
from mlkit.pairs.live.broker import Fill, PairOrder

KINDS = ("exit", "entry")
Names = Mapping[int, tuple[str, str]]


class Change(NamedTuple):
    """What became of an order; one of the three is set.

    Attributes:
        order: An order that is new.
        fill: One that was filled.
        cancelled: The identifier of one that was cancelled.
        pair: The pair's number.
        reason: Why it exits; empty for entries.
    """

    pair: int
    order: PairOrder | None = None
    fill: Fill | None = None
    cancelled: str = ""
    reason: str = ""


class OrderBook:
    """Follows an engine's orders from bar to bar, and gives them their identifiers."""

    def __init__(self) -> None:
        self._working: dict[tuple[int, int], str] = {}

    def take(
        self,
        bar: int,
        time: int,
        positions: NDArray[np.void],
        pending: NDArray[np.void],
        closed: NDArray[np.void],
        names: Names,
    ) -> Iterator[Change]:
        """Yield what a bar changed, in the order in which it happened.

        Args:
            bar: The bar's number.
            time: Its time, nanoseconds since 1970.
            positions: The open trades after it.
            pending: The orders that wait after it.
            closed: The trades that it closed.
            names: The pairs' tickers.
        """
        moment = iso(time)
        for trade in [*closed, *positions]:
            if trade["entered"] == bar:
                yield from self._fill(bar, moment, trade, 1, names)
        for trade in closed:
            yield from self._fill(bar, moment, trade, 0, names)
        waiting = {(int(each["pair"]), int(each["entry"])): each for each in pending}
        for key in [key for key in self._working if key not in waiting]:
            yield Change(key[0], cancelled=self._working.pop(key))
        for key, each in waiting.items():
            if key not in self._working:
                reason = "" if key[1] else REASONS[each["reason"]]
                yield self._new(bar, moment, key, each["shares"], reason, names)

    def _fill(
        self, bar: int, moment: str, trade: np.void, entry: int, names: Names
    ) -> Iterator[Change]:
        key = int(trade["pair"]), entry
        reason = "" if entry else REASONS[trade["reason"]]
        if key not in self._working:  # decided and filled in the same bar
            decided = int(trade["decided"]) if entry else bar
            yield self._new(decided, moment, key, trade["shares"], reason, names)
        prices = trade["entry_price" if entry else "exit_price"]
        fill = Fill(
            self._working.pop(key),
            _legs(key, trade["shares"], names),
            {name: float(prices[leg]) for leg, name in zip("yx", names[key[0]], strict=True)},
            moment,
        )
        yield Change(key[0], fill=fill, reason=reason)

    def _new(
        self, bar: int, moment: str, key: tuple[int, int], shares: np.void, reason: str,
        names: Names,
    ) -> Change:  # fmt: skip
        number, entry = key
        self._working[key] = f"{bar}-{number}-{KINDS[entry]}"
        order = PairOrder(self._working[key], number, _legs(key, shares, names), moment)
        return Change(number, order=order, reason=reason)

    def save(self) -> list[list[Any]]:
        """Return the state."""
        return [[*key, name] for key, name in sorted(self._working.items())]

    def load(self, state: Sequence[Sequence[Any]]) -> None:
        """Restore what `save` returned."""
        self._working = {(number, entry): name for number, entry, name in state}


def _legs(key: tuple[int, int], shares: np.void, names: Names) -> dict[str, float]:
    way = 1.0 if key[1] else -1.0
    return {name: way * float(shares[leg]) for leg, name in zip("yx", names[key[0]], strict=True)}
