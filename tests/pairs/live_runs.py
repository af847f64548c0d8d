"""Live runs that tests start in a folder of theirs, with a feed of records they made up."""

from __future__ import annotations

import math

import numpy as np

from mlkit.pairs.feeds.feed import Batch
from mlkit.pairs.feeds.records import PriceRecord
from mlkit.pairs.live import plan as plans
from mlkit.pairs.live.folder import RunFolder
from mlkit.pairs.live.plan import RunPlan
from mlkit.pairs.live.run import Run
from mlkit.pairs.live.topics import RESULTS, read_values
from mlkit.pairs.live.verify import verify


class RecordsFeed:
    """Records in batches of some size; a replay, unless it is said to go on."""

    def __init__(self, records, size=50, *, is_replay=True, tail=()):
        self.name, self.is_replay = "made up", is_replay
        self._records, self._size, self._tail = records, size, tail

    def read(self, position):
        for start in range(position or 0, len(self._records), self._size):
            some = self._records[start : start + self._size]
            yield Batch(some, start + len(some))
        yield from self._tail


def records_of(market, *, missing=(), quotes=None):
    """Return a market's bars as records, without some (bar, column)s."""
    found = []
    for bar in range(len(market)):
        time = int(market.timestamps[bar].astype("datetime64[ns]").astype(np.int64))
        for column, ticker in enumerate(market.tickers):
            close = float(market.close[bar, column])
            if (bar, column) in missing or math.isnan(close):
                continue
            cells = {"open": float(market.open[bar, column])} if market.open is not None else {}
            if market.dividends is not None and market.dividends[bar, column]:
                cells["dividend"] = float(market.dividends[bar, column])
            if quotes is not None:
                cells |= {"bid": close * (1 - quotes), "ask": close * (1 + quotes)}
            found.append(PriceRecord(time, ticker, close, **cells))
    return found


def plan_of(market, settings, pairs, **options):
    return RunPlan(feed="made up", tickers=market.tickers, pairs=tuple(pairs), settings=settings,
                   bars_per_year=252.0, **options)  # fmt: skip


def begin(path, plan):
    folder = RunFolder(path)
    folder.create()
    plans.write(folder.path, plan)
    return folder


def go(folder, feed, strategy=None, until=lambda: False):
    run = Run(folder, feed, strategy)
    try:
        return run.go(until), run.trader.save()
    finally:
        run.close()


def recorded(folder):
    """Return all results of a run: the values, keys and times of each topic."""
    log = folder.open_log()
    try:
        return {topic: list(read_values(log, topic)) for topic in RESULTS}
    finally:
        log.close()


def verdict(folder, strategy=None):
    log = folder.open_log()
    try:
        return verify(log, folder.plan(), strategy)
    finally:
        log.close()
