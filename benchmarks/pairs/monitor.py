"""Times the pair monitor against the same figures in NumPy, in the same run.

    python benchmarks/pairs/monitor.py [--tickers 1000] [--bars 40] [--threads 1] [--window BARS]
        [--json FILE.json]

Both take the same bars in turn, with decaying weights, and the figures are compared. The NumPy
version works in place on one array per sum, over all pairs. One price in a hundred is missing. With
--window, the monitor's window is timed as well.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlkit import _simd
from mlkit.pairs import PairMonitor
from mlkit.pairs.live.monitor import FIGURES

HALF_LIFE = 60.0
Array = NDArray[np.float64]


class NumpyMonitor:
    """The running figures of all pairs, by the same rules, in NumPy."""

    def __init__(self, first: Array, beta: Array) -> None:
        self.y, self.x = np.triu_indices(len(first), 1)
        self.first, self.beta = first, beta[self.y, self.x]
        self.decay = 2.0 ** (-1.0 / HALF_LIFE)
        pairs = len(self.y)
        self.log = np.full(len(first), np.nan)
        self.bars, self.spread, self.square, self.distance = np.zeros((4, pairs))
        self.crossings, self.side = np.zeros((2, pairs))
        self.returns, self.mean_y, self.mean_x = np.zeros((3, pairs))
        self.square_y, self.square_x, self.product = np.zeros((3, pairs))

    def step(self, close: Array) -> None:
        log = np.log(close)
        self._step_prices(log, close / self.first)
        self._step_returns(log - self.log)
        self.log = log

    def _weights(self, known: NDArray[np.bool_], weight: Array) -> tuple[Array, Array]:
        """Return the decay of each pair, and the share of this bar."""
        decay = np.where(known, self.decay, 1.0)
        weight *= decay
        weight += known
        return decay, known / np.maximum(weight, 1.0)

    def _step_prices(self, log: Array, normalised: Array) -> None:
        self.now = log[self.y] - self.beta * log[self.x]
        known = ~np.isnan(self.now)
        decay, share = self._weights(known, self.bars)
        gap = np.where(known, self.now - self.spread, 0.0)
        self.spread += gap * share
        deviation = np.where(known, self.now - self.spread, 0.0)
        self.square *= decay
        self.square += gap * deviation
        apart = normalised[self.y] - normalised[self.x]
        self.distance += np.where(known, (apart * apart - self.distance) * share, 0.0)
        side = np.where(deviation == 0.0, self.side, np.sign(deviation))
        self.crossings *= decay
        self.crossings += side * self.side < 0.0
        self.side = side

    def _step_returns(self, change: Array) -> None:
        y, x = change[self.y], change[self.x]
        known = ~np.isnan(y + x)
        decay, share = self._weights(known, self.returns)
        gap_y = np.where(known, y - self.mean_y, 0.0)
        gap_x = np.where(known, x - self.mean_x, 0.0)
        self.mean_y += gap_y * share
        self.mean_x += gap_x * share
        off_y = np.where(known, y - self.mean_y, 0.0)
        off_x = np.where(known, x - self.mean_x, 0.0)
        for total, addend in (
            (self.square_y, gap_y * off_y),
            (self.square_x, gap_x * off_x),
            (self.product, gap_y * off_x),
        ):
            total *= decay
            total += addend

    def figures(self) -> dict[str, Array]:
        return {
            "correlation": self.product / np.sqrt(self.square_y * self.square_x),
            "distance": self.distance,
            "zscore": (self.now - self.spread) / np.sqrt(self.square / self.bars),
            "crossings": self.crossings,
        }

    def top(self, count: int) -> NDArray[np.intp]:
        correlation = self.figures()["correlation"]
        best = np.argpartition(-correlation, count)[:count]
        return best[np.argsort(-correlation[best], kind="stable")]


def milliseconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1e3


def summary(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    return {
        name: {"best_ms": min(each), "median_ms": float(np.median(each)), "worst_ms": max(each)}
        for name, each in times.items()
    }


def measure(tickers: int, bars: int, threads: int) -> dict[str, object]:
    rng = np.random.default_rng(1)
    prices = np.exp((rng.standard_normal((bars, tickers)) * 0.01).cumsum(axis=0)) * 50
    prices[1:-1][rng.random((bars - 2, tickers)) < 0.01] = np.nan
    beta = rng.uniform(0.5, 1.5, (tickers, tickers))
    names = [str(n) for n in range(tickers)]
    ours = PairMonitor(names, half_life=HALF_LIFE, beta=beta, min_bars=2, threads=threads)
    peer = NumpyMonitor(prices[0], beta)
    times: dict[str, list[float]] = {"step": [], "numpy_step": [], "top": [], "numpy_top": []}
    for bar in prices:
        times["step"].append(milliseconds(lambda bar=bar: ours.step(bar)))
        times["top"].append(milliseconds(lambda: ours.top("correlation", 50)))
        times["numpy_step"].append(milliseconds(lambda bar=bar: peer.step(bar)))
    for _ in range(5):
        times["numpy_top"].append(milliseconds(lambda: peer.top(50)))
    for name, expected in peer.figures().items():
        assert name in FIGURES
        np.testing.assert_allclose(ours.figure(name), expected, rtol=1e-8, atol=1e-10)
    found = summary(times)
    ratios = {
        name: found["numpy_" + name]["best_ms"] / found[name]["best_ms"] for name in ("step", "top")
    }
    pairs = tickers * (tickers - 1) // 2
    return {"tickers": tickers, "pairs": pairs, "threads": threads, **found, "ratios": ratios}


def sliding(tickers: int, window: int, threads: int) -> dict[str, float]:
    """Time bars that enter a full window."""
    rng = np.random.default_rng(1)
    prices = np.exp((rng.standard_normal((window + 40, tickers)) * 0.01).cumsum(axis=0))
    monitor = PairMonitor([str(n) for n in range(tickers)], window=window, threads=threads)
    times = [milliseconds(lambda bar=bar: monitor.step(bar)) for bar in prices]
    return summary({"step": times[window:]})["step"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tickers", type=int, default=1000)
    parser.add_argument("--bars", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--window", type=int, help="time a window of so many bars, too")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = {
        "instruction_set": _simd.selected(),
        "load": os.getloadavg()[0],
        **measure(arguments.tickers, max(arguments.bars, 25), arguments.threads),
    }
    if arguments.window:
        results["window"] = sliding(arguments.tickers, arguments.window, arguments.threads)
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
