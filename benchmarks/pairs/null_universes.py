"""Screens universes of random walks: how often the screen is wrong, and how its p-values hold.

    python benchmarks/pairs/null_universes.py BARS [--universes 2000] [--tickers 200]
        [--factor 0] [--json FILE.json]

Nothing is cointegrated here, so that whatever passes is a false discovery, and a control at 5 % may
let something pass in 5 % of the universes. Every universe is tested once and then judged by each
control. The pairs of all universes together are a plain simulation of the tail (10,060 universes
of 200 tickers are 2e8 pairs): for each tabulated quantile, the share of pairs below it over the
p-value there, with its standard error. Universes are independent, the pairs of one are not: all
errors come from the spread between universes. With --factor, the steps of all tickers share a
component of this weight, so that they correlate by its square.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlkit.pairs.prices.prices import Prices
from mlkit.pairs.screen import prior
from mlkit.pairs.screen.cointegration import Panel, band_pairs
from mlkit.pairs.screen.criteria import Criteria
from mlkit.pairs.screen.null import null_of
from mlkit.pairs.screen.screening import stationary
from mlkit.pairs.screen.significance import adjust
from mlkit.pairs.screen.universe import Universe
from mlkit.pairs.settings import FDR

ALPHA = 0.05
GROUP = 20
LEVELS = np.array([0.05, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9])
Array = NDArray[np.float64]
PRIORS: dict[str, Callable[[Universe], prior.Weights]] = {
    "none": lambda universe: prior.Weights(),
    "correlation": lambda universe: prior.by_correlation(
        prior.count(universe, None, 0, universe.count)
    ),
    "groups": lambda universe: prior.by_groups(universe, groups(universe.count)),
}
FDRS: tuple[FDR, FDR] = ("by", "bh")
CONTROLS = [(fdr, name) for fdr in FDRS for name in PRIORS]


def groups(count: int) -> NDArray[np.str_]:
    return (np.arange(count) // GROUP).astype(str)


def walks(seed: tuple[int, ...], bars: int, tickers: int, factor: float) -> Prices:
    """Simulate log prices of tickers that have nothing to do with one another but a factor."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((bars, tickers))
    if factor:
        steps = factor * rng.standard_normal((bars, 1)) + np.sqrt(1.0 - factor**2) * steps
    close = np.exp(0.01 * steps.cumsum(axis=0))
    days = np.datetime64("2000-01-01", "ns") + np.arange(bars) * np.timedelta64(1, "D")
    return Prices(tuple(f"T{n:04d}" for n in range(tickers)), days, None, close, source="walks")


def judged(prices: Prices) -> tuple[Array, dict[str, int]]:
    """Test a universe.

    Returns:
        The statistics of all pairs, and the number that pass under each control, once tickers
        that seem to be stationary are left out as in a screen.
    """
    out = set(stationary(prices, Criteria()))
    whole = Universe.of(prices, "log")
    tests = Panel.of(whole.series).band(whole.first, 0, whole.count)
    kept = np.array([each not in out for each in prices.tickers])
    universe = Universe.of(
        prices.select([each for each in prices.tickers if each not in out]), "log"
    )
    p = null_of(len(prices)).p_value(tests.better[kept[tests.i] & kept[tests.j]])
    i, j = band_pairs(universe.first, 0, universe.count)
    weights = {name: make(universe) for name, make in PRIORS.items()}
    weighted = {
        name: p / each.of(universe, 0, universe.count, i, j) for name, each in weights.items()
    }
    passed = {
        f"{fdr}, prior {name}": int((adjust(weighted[name], fdr) <= ALPHA).sum())
        for fdr, name in CONTROLS
    }
    same = groups(universe.count)[i] == groups(universe.count)[j]
    for fdr in FDRS:
        passed[f"{fdr}, within groups"] = int((adjust(p[same], fdr) <= ALPHA).sum())
    return tests.better, passed


class Tally:
    """Counts over universes, with errors from their spread."""

    def __init__(self, bars: int) -> None:
        self.thresholds = null_of(bars).statistic(LEVELS)
        self.shares: list[Array] = []
        self.hits: dict[str, int] = {}
        self.pairs = 0

    def add(self, statistics: Array, passed: dict[str, int]) -> None:
        ordered = np.sort(statistics)
        below = np.searchsorted(ordered, self.thresholds, side="right")
        self.shares.append(below / len(statistics))
        self.pairs += len(statistics)
        for name, count in passed.items():
            self.hits[name] = self.hits.get(name, 0) + (count > 0)

    def summary(self) -> dict[str, Any]:
        shares = np.array(self.shares)
        mean, error = shares.mean(axis=0), shares.std(axis=0) / np.sqrt(len(shares))
        tail = {
            f"{level:g}": {
                "statistic": round(float(t), 3),
                "pairs": round(float(m * self.pairs)),
                "seen_over_p": round(float(m / level), 3),
                "standard_error": round(float(e / level), 3),
            }
            for level, t, m, e in zip(LEVELS, self.thresholds, mean, error, strict=True)
        }
        count = len(shares)
        wrong = {name: round(hits / count, 4) for name, hits in self.hits.items()}
        chance = float(np.sqrt(ALPHA * (1.0 - ALPHA) / count))
        return {
            "universes": count,
            "pairs": self.pairs,
            "universes_with_a_false_discovery": wrong,
            "standard_error_at_5_percent": round(chance, 4),
            "tail": tail,
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bars", type=int)
    parser.add_argument("--universes", type=int, default=2000)
    parser.add_argument("--tickers", type=int, default=200)
    parser.add_argument("--factor", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    tally, begin = Tally(options.bars), time.process_time()
    for number in range(options.universes):
        seed = (options.seed, options.bars, options.tickers, number)
        tally.add(*judged(walks(seed, options.bars, options.tickers, options.factor)))
        if (number + 1) % 100 and number + 1 < options.universes:
            continue
        settings = {"bars": options.bars, "tickers": options.tickers, "factor": options.factor}
        cost = {"cpu_seconds": round(time.process_time() - begin), "load": os.getloadavg()[0]}
        text = json.dumps({**settings, **tally.summary(), **cost}, indent=2)
        if options.json:
            options.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
