"""A price file replayed as if it were live."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from mlkit.errors import BadData
from mlkit.pairs.feeds.feed import Batch, Position
from mlkit.pairs.feeds.records import PriceRecord
from mlkit.pairs.prices.prices import Prices

RECORDS = 2000
"""Records of a batch, where nobody waits for them."""


class ReplayFeed:
    """Replays prices, a number of bars a second.

    Args:
        prices: What is replayed.
        speed: Bars a second; infinity: as fast as they are taken.
    """

    is_replay = True

    def __init__(self, prices: Prices, speed: float = math.inf) -> None:
        self.name, self._prices, self._speed = prices.source, prices, speed

    def read(self, position: Position) -> Iterator[Batch]:
        """Yield the bars from a position on; see `Feed.read`.

        Raises:
            BadData: The position is behind the end: this is another file.
        """
        first = 0 if position is None else int(position)
        if first > len(self._prices):
            raise BadData(f"{self.name}: {len(self._prices)} bars, and the run has taken {first}")
        started = time.monotonic()
        size = self._bars_of_a_batch()
        for start in range(first, len(self._prices), size):
            stop = min(start + size, len(self._prices))
            due = started + (start - first) / self._speed
            time.sleep(max(0.0, due - time.monotonic()))
            yield Batch([each for bar in range(start, stop) for each in self._bar(bar)], stop)

    def _bars_of_a_batch(self) -> int:
        """Return one bar, or more where they come faster than one could tell them apart."""
        if math.isinf(self._speed):
            return max(1, RECORDS // max(1, len(self._prices.tickers)))
        return max(1, int(self._speed / 200.0))

    def _bar(self, bar: int) -> Iterator[PriceRecord]:
        prices = self._prices
        moment = int(prices.timestamps[bar].astype("datetime64[ns]").astype("int64"))
        fields = {
            "close": prices.close, "open": prices.open, "high": prices.high, "low": prices.low,
            "volume": prices.volume, "dividend": prices.dividends,
        }  # fmt: skip
        known = {name: each[bar].tolist() for name, each in fields.items() if each is not None}
        for column, ticker in enumerate(prices.tickers):
            cells = {
                name: row[column] for name, row in known.items() if not math.isnan(row[column])
            }
            if not cells.get("dividend"):
                cells.pop("dividend", None)
            if cells.keys() & {"close", "dividend"}:
                yield PriceRecord(moment, ticker, **cells)
