"""Time the engine bar by bar against the batch loop, and with many live pairs.

    python benchmarks/pairs/engine.py [--pairs 20000] [--bars 2000] [--json FILE.json]

Live and batch take the same bars of 20 pairs in turn, in the same process, with the same books:
the account at each bar, every order that was asked for and every closed trade, kept as records in
C++ and not read in Python meanwhile. *take* is `LiveEngine.take`, one call from Python per bar,
after which the account can be read in place; *read* reads the equity after each bar as well;
*step* is `LiveEngine.step`, which returns account, trades and orders of each bar as records. Then
one bar of many pairs among 1,000 tickers, with entries and exits.
The numbers are compared at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlkit import _simd
from mlkit.pairs import LiveEngine
from mlkit.pairs import _pair_strategy as native
from mlkit.pairs.fit.formation import Formation, build_formation
from mlkit.pairs.settings import Settings, Signal, Sizing

LOOKBACK, YEAR = 60, 252.0
SETTINGS = Settings(
    signal=Signal(lookback=LOOKBACK), sizing=Sizing(capital=1e9, gross=1000.0), bars_per_year=YEAR
)
Array = NDArray[np.float64]


def market(bars: int, tickers: int) -> Array:
    """Simulate pairs of neighbouring tickers whose gap reverts."""
    rng = np.random.default_rng(1)
    walks = rng.normal(0.0, 0.01, (bars, tickers)).cumsum(axis=0)
    gap, shocks = np.zeros((bars, tickers)), rng.normal(0.0, 0.01, (bars, tickers))
    for bar in range(1, bars):
        gap[bar] = 0.95 * gap[bar - 1] + shocks[bar]
    walks[:, 1::2] = walks[:, ::2]
    return np.asarray(50.0 * np.exp(walks + gap))


def pairs_of(names: list[str], places: list[tuple[int, int]]) -> list[Formation]:
    return [
        build_formation((names[y], names[x]), SETTINGS.signal, alpha=0.0, beta=1.0)
        for y, x in places
    ]


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def fed(names: list[str], pairs: list[Formation]) -> LiveEngine:
    engine = LiveEngine(names, SETTINGS)
    for pair in pairs:
        engine.add(pair)
    return engine


def stepped(close: Array, names: list[str], pairs: list[Formation]) -> tuple[float, float]:
    """Return the seconds of all bars, and the equity at the end."""
    engine = fed(names, pairs)

    def run() -> None:
        for bar in close:
            engine.step(bar)

    return seconds(run), float(engine.finish().account["equity"])


def taken(close: Array, names: list[str], pairs: list[Formation]) -> tuple[float, float]:
    engine = fed(names, pairs)
    take = engine.take

    def run() -> None:
        for bar in close:
            take(bar)

    return seconds(run), float(engine.finish().account["equity"])


def read(close: Array, names: list[str], pairs: list[Formation]) -> tuple[float, float]:
    engine = fed(names, pairs)
    take, equity = engine.take, engine.account["equity"]

    def run() -> None:
        for bar in close:
            take(bar)
            equity[0]

    return seconds(run), float(engine.finish().account["equity"])


def batch(close: Array, pairs: list[tuple[int, int]]) -> tuple[float, float]:
    engine = prepared(close.shape[1], pairs)
    time_taken = seconds(lambda: engine.take(close))
    engine.finish()
    return time_taken, float(engine.rows()["equity"][-1])


def prepared(tickers: int, pairs: list[tuple[int, int]]) -> native.Engine:
    engine = native.Engine(tickers, SETTINGS.native(YEAR))
    signal = native.Signal(beta=1.0, lookback=LOOKBACK)
    for y, x in pairs:
        engine.add(y=y, x=x, signal=signal)
    return engine


def few(bars: int, runs: int = 15) -> dict[str, object]:
    """Compare live and batch on 20 pairs; the best of some runs, and ratios to the batch."""
    close = market(bars, 40)
    names = [str(n) for n in range(40)]
    places = [(n, n + 1) for n in range(0, 40, 2)]
    formations = pairs_of(names, places)
    found: dict[str, list[float]] = {}
    for _ in range(runs):
        results = {
            "take": taken(close, names, formations),
            "read": read(close, names, formations),
            "step": stepped(close, names, formations),
            "batch": batch(close, places),
        }
        assert len({equity for _, equity in results.values()}) == 1
        for name, (time_taken, _) in results.items():
            found.setdefault(name, []).append(time_taken / bars * 1e6)
    best = {name: round(min(each), 2) for name, each in found.items()}
    return {
        "pairs": 20,
        "us_per_bar": best,
        "over_batch": {name: round(each / best["batch"], 2) for name, each in best.items()},
    }


def many(pairs: int, bars: int = 130, tickers: int = 1000) -> dict[str, object]:
    """Time bars of many pairs, with entries and exits, once all have their z-scores."""
    rng = np.random.default_rng(2)
    close = market(bars, tickers)
    all_pairs = np.triu_indices(tickers, 1)
    chosen = rng.choice(len(all_pairs[0]), pairs, replace=False)
    places = [(int(all_pairs[0][n]), int(all_pairs[1][n])) for n in chosen]
    engine = prepared(tickers, places)
    names = [str(n) for n in range(tickers)]
    live = fed(names, pairs_of(names, places))

    def milliseconds(step: Callable[[Array], object]) -> list[float]:
        times = [seconds(lambda bar=bar: step(bar)) * 1e3 for bar in close]
        return times[LOOKBACK + 1 :]

    times = milliseconds(lambda bar: engine.take(bar[None]))
    steps = milliseconds(live.step)
    return {
        "pairs": pairs,
        "orders": len(engine.choices()),
        "step_best_ms": round(min(steps), 2),
        "step_median_ms": round(float(np.median(steps)), 2),
        "best_ms": round(min(times), 2),
        "median_ms": round(float(np.median(times)), 2),
        "worst_ms": round(max(times), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--bars", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = {
        "instruction_set": _simd.selected(),
        "load": os.getloadavg()[0],
        "live_and_batch": few(options.bars),
        "one_bar": many(options.pairs),
    }
    text = json.dumps(results, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
