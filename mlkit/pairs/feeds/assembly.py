"""Bars of all tickers out of records of one ticker each, by event time.

The rules, in the order in which they are applied to a record:

- `unknown`: a ticker that the run does not know is dropped.
- impossible (`records.fault`): dropped, and so the ticker's bar is missing; of a `crossed` quote
  only bid and ask are.
- `late`: its bar has been closed. Dropped.
- `duplicate`: the ticker has this bar already. The first one counts; one that differs from it is
  `conflicting`. Of ticks all count.
- `out_of_order`: older than the ticker's last record, and its bar is open. It counts.

A bar closes when every ticker that is awaited has it, when a record comes that is later by more
than the lateness, or when somebody closes it by the clock. Bars close in the order of their times.
A ticker that lacks a closed bar has a `gap`; one that lacks several in a row is halted, and no
longer awaited until it comes back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from mlkit.pairs.defaults import HALTED_AFTER
from mlkit.pairs.feeds.records import PriceRecord, fault, without_quotes

RULES = (
    "accepted", "unknown", "price", "range", "amount", "crossed", "empty", "late", "duplicate",
    "conflicting", "out_of_order", "gap",
)  # fmt: skip
"""What is counted."""


class Bar(NamedTuple):
    """A closed bar.

    Attributes:
        time: Nanoseconds since 1970: the common time of its records, or its start.
        records: For each ticker its record, or None: a missing bar.
    """

    time: int
    records: tuple[PriceRecord | None, ...]


class Assembler:
    """Assembles bars; see the module.

    Args:
        tickers: Whose records make a bar.
        length: Nanoseconds of a bar of ticks; 0: records are bars, with one time for all.
        lateness: Nanoseconds that records may be late against the latest one.
        halted_after: Missing bars in a row after which a ticker is not awaited.
    """

    def __init__(
        self,
        tickers: Sequence[str],
        *,
        length: int = 0,
        lateness: int = 0,
        halted_after: int = HALTED_AFTER,
    ) -> None:
        self.tickers = tuple(tickers)
        self._columns = {ticker: n for n, ticker in enumerate(self.tickers)}
        self._length, self._lateness, self._halted_after = length, lateness, halted_after
        self._open: dict[int, list[PriceRecord | None]] = {}
        # How many tickers each open bar waits for: looking at all of them after each record would
        # take the square of their number.
        self._lacking: dict[int, int] = {}
        self._awaited = len(self.tickers)
        self._last = [-(2**63)] * len(self.tickers)
        self._missing = [0] * len(self.tickers)
        self._latest = self._closed = -(2**63)
        self.counts: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter()

    def take(self, record: PriceRecord) -> list[Bar]:
        """Take a record, and return the bars that it closes, in order."""
        column = self._columns.get(record.ticker)
        if column is None:
            self.counts["unknown"] += 1
            return []
        wrong = fault(record)
        if wrong is not None:
            self.counts[wrong] += 1
            if wrong != "crossed":
                return []
            record = without_quotes(record)
        self._place(record, column)
        return self._complete()

    def _place(self, record: PriceRecord, column: int) -> None:
        time = record.time - (record.time % self._length if self._length else 0)
        if time <= self._closed:
            self.counts["late"] += 1
            return
        bar = self._open.get(time)
        if bar is None:
            bar = self._open[time] = [None] * len(self.tickers)
            self._lacking[time] = self._awaited
        before = bar[column]
        if record.time < self._last[column]:
            self.counts["out_of_order"] += 1
        if before is None:
            bar[column] = _open_bar(record) if self._length else record
            self._lacking[time] -= self._is_awaited(column)
        elif self._length:
            bar[column] = _merge(before, record, self._last[column])
        else:
            self.counts["duplicate" if before == record else "conflicting"] += 1
            return
        self.counts["accepted"] += 1
        self._last[column] = max(self._last[column], record.time)
        self._latest = max(self._latest, record.time)

    def _complete(self) -> list[Bar]:
        closed = []
        while self._open and self._is_over(first := min(self._open)):
            closed.append(self._close(first))
        return closed

    def _is_over(self, time: int) -> bool:
        watermark = self._latest - self._lateness
        if self._length:
            return time + self._length <= watermark
        return time < watermark or not self._lacking[time]

    def _is_awaited(self, column: int) -> bool:
        return self._missing[column] < self._halted_after

    def _count_awaited(self) -> None:
        """Count again whom the open bars wait for, after somebody was halted or came back."""
        awaited = [self._is_awaited(column) for column in range(len(self.tickers))]
        self._awaited = sum(awaited)
        for time, bar in self._open.items():
            cells = zip(bar, awaited, strict=True)
            self._lacking[time] = sum(record is None and waits for record, waits in cells)

    def _close(self, time: int) -> Bar:
        records = self._open.pop(time)
        del self._lacking[time]
        for n, record in enumerate(records):
            missing = record is None or record.close is None
            self._missing[n] = self._missing[n] + 1 if missing else 0
            if missing:
                self.counts["gap"] += 1
                self.gaps[self.tickers[n]] += 1
        self._closed = time
        self._count_awaited()
        return Bar(time, tuple(records))

    def close_until(self, time: int) -> list[Bar]:
        """Close the open bars up to a time, as the clock demands."""
        return [self._close(each) for each in sorted(self._open) if each <= time]

    def finish(self) -> list[Bar]:
        """Close all open bars: no record comes any more."""
        return self.close_until(2**63)

    @property
    def oldest(self) -> int | None:
        """The time of the oldest open bar."""
        return min(self._open, default=None)

    @property
    def newest(self) -> int | None:
        """The time of the newest open bar."""
        return max(self._open, default=None)

    @property
    def halted(self) -> list[str]:
        """The tickers that are not awaited."""
        return [
            ticker
            for ticker, missing in zip(self.tickers, self._missing, strict=True)
            if missing >= self._halted_after
        ]

    def lags(self) -> dict[str, float]:
        """Return by how many seconds each ticker's last record is older than the latest one."""
        return {
            ticker: (self._latest - last) / 1e9
            for ticker, last in zip(self.tickers, self._last, strict=True)
            if last > -(2**63)
        }

    def save(self) -> dict[str, Any]:
        """Return the state; equal states are equal."""
        return {
            "open": {str(time): bar for time, bar in sorted(self._open.items())},
            "last": self._last, "missing": self._missing,
            "latest": self._latest, "closed": self._closed,
            "counts": dict(sorted(self.counts.items())), "gaps": dict(sorted(self.gaps.items())),
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> None:
        """Restore what `save` returned."""
        self._open = {
            int(time): msgspec.convert(bar, list[PriceRecord | None])
            for time, bar in state["open"].items()
        }
        self._last, self._missing = list(state["last"]), list(state["missing"])
        self._latest, self._closed = state["latest"], state["closed"]
        self._count_awaited()
        self.counts, self.gaps = Counter(state["counts"]), Counter(state["gaps"])


def _open_bar(tick: PriceRecord) -> PriceRecord:
    """Return the bar of one tick."""
    prices = {name: getattr(tick, name) for name in ("open", "high", "low")}
    known = {name: tick.close if each is None else each for name, each in prices.items()}
    return msgspec.structs.replace(tick, **known)


def _merge(bar: PriceRecord, tick: PriceRecord, last: int) -> PriceRecord:
    """Add a tick to a bar of ticks; the latest one gives close and quotes."""
    first = bar if tick.time >= bar.time else tick
    latest = tick if tick.time >= last else bar
    highs = [each for each in (bar.high, bar.close, tick.high, tick.close) if each is not None]
    lows = [each for each in (bar.low, bar.close, tick.low, tick.close) if each is not None]
    opened = first.open if first.open is not None else first.close
    return PriceRecord(
        time=min(bar.time, tick.time),
        ticker=bar.ticker,
        close=latest.close if latest.close is not None else bar.close,
        open=opened,
        high=max(highs, default=None),
        low=min(lows, default=None),
        volume=_total(bar.volume, tick.volume),
        dividend=_total(bar.dividend, tick.dividend),
        bid=latest.bid,
        ask=latest.ask,
    )


def _total(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else one + other
