"""From a bar to its durable fills: a live run of 100 active pairs on the embedded log.

    python benchmarks/pairs/fills.py [--pairs 100] [--bars 2000] [--rate 50] [--json FILE]

Bars of all tickers come `--rate` times a second. What is measured is from the moment a feed hands
a bar over to the moment its decisions, orders, fills and account are on the disk, for all bars
and for those that filled something. A bar is two durable appends (the input, the results), so the
peer is a file that is appended to and synchronised twice per bar, with as many bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from mlkit.pairs.feeds.feed import Batch
from mlkit.pairs.feeds.records import PriceRecord, iso
from mlkit.pairs.live import plan as plans
from mlkit.pairs.live.folder import RunFolder
from mlkit.pairs.live.plan import RunPlan
from mlkit.pairs.live.run import Run
from mlkit.pairs.live.topics import Results
from mlkit.pairs.settings import Rule, Settings, Signal
from mlkit.pairs.windows import GivenPair

SECOND = 10**9


class PacedFeed:
    """Bars of random walks in pairs, each of which reverts, at a steady rate."""

    name, is_replay = "made up", True

    def __init__(self, pairs: int, bars: int, rate: float) -> None:
        draws = np.random.default_rng(1)
        trend = np.cumsum(draws.normal(0, 0.001, (bars, pairs)), axis=0)
        gaps = np.zeros((bars, pairs))
        for bar in range(1, bars):
            gaps[bar] = 0.9 * gaps[bar - 1] + draws.normal(0, 0.01, pairs)
        self.tickers = tuple(f"{leg}{n:03}" for n in range(pairs) for leg in "YX")
        self._closes = 100 * np.exp(np.stack([trend + gaps, trend], axis=2).reshape(bars, -1))
        self._rate = rate
        self.handed: dict[str, float] = {}

    def read(self, position: int | None) -> Iterator[Batch]:
        """Yield a bar after the other; see `Feed.read`."""
        begun = time.perf_counter()
        for bar, row in enumerate(self._closes.tolist()):
            time.sleep(max(0.0, begun + bar / self._rate - time.perf_counter()))
            at = bar * SECOND
            records = [
                PriceRecord(at, ticker, close, open=close)
                for ticker, close in zip(self.tickers, row, strict=True)
            ]
            self.handed[iso(at)] = time.perf_counter()
            yield Batch(records, bar + 1)


def measure(folder: Path, feed: PacedFeed, pairs: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return milliseconds of all bars, of those with fills, and the bytes that a bar wrote."""
    settings = Settings(rule=Rule(entry=1.5, exit=0.2), signal=Signal(lookback=20))
    given = [GivenPair(f"Y{n:03}", f"X{n:03}", 1.0) for n in range(pairs)]
    plan = RunPlan(feed=feed.name, tickers=feed.tickers, pairs=tuple(given), settings=settings,
                   bars_per_year=252.0)  # fmt: skip
    place = RunFolder(folder)
    place.create()
    plans.write(place.path, plan)
    took: dict[str, float] = {}
    filled: set[str] = set()

    def watch(results: Results) -> None:
        now = time.perf_counter()
        for message in results.messages.get("account", ()):
            took[msgspec.json.decode(message.value)["time"]] = now
        for message in results.messages.get("fills", ()):
            filled.add(msgspec.json.decode(message.value)["time"])

    run = Run(place, feed, watch=watch)
    try:
        run.go()
    finally:
        run.close()
    written = sum(each.stat().st_size for each in (folder / "log").glob("*.log"))
    known = {name: 1000 * (took[name] - feed.handed[name]) for name in took}
    every = np.array(list(known.values()))
    return every, np.array([known[each] for each in filled]), written // max(len(known), 1)


def floor(folder: Path, size: int, count: int) -> np.ndarray:
    """Return milliseconds of two synchronised appends of half as many bytes each."""
    took = []
    with (folder / "floor").open("wb", buffering=0) as file:
        for _ in range(count):
            begun = time.perf_counter()
            for _ in range(2):
                file.write(b"x" * (size // 2))
                os.fdatasync(file.fileno())
            took.append(1000 * (time.perf_counter() - begun))
    return np.array(took)


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--bars", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        feed = PacedFeed(asked.pairs, asked.bars, asked.rate)
        every, filled, size = measure(Path(folder) / "run", feed, asked.pairs)
        bare = floor(Path(folder), size, 200)
    if not len(filled):
        raise SystemExit("no bar filled anything")
    found = {"load": os.getloadavg()[0], "bytes per bar": size}
    rows = {"all bars": every, "bars with fills": filled, "fdatasync twice": bare}
    for name, some in rows.items():
        p50, p99 = np.percentile(some, [50, 99])
        ratio = p99 / np.percentile(bare, 99)
        found[name] = {"count": len(some), "p50 ms": p50, "p99 ms": p99, "ratio of p99": ratio}
        print(f"{name:16} {len(some):6,}: p50 {p50:6.2f} ms, p99 {p99:6.2f} ms, ratio {ratio:.2f}")
    print(f"{asked.pairs} pairs, {size:,} bytes per bar, load {found['load']:.1f}")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
