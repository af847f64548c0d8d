"""Simulates mlkit/pairs/screen/null_tables.json: the distributions behind `mlkit pairs screen`.

    python benchmarks/pairs/make_null_tables.py [pair|single TREND ...]

An hour of a core for all tables; the same seeds give the same tables. Every table is
simulated directly down to p = 1e-3 and by splitting down to 1e-9; `error` is the standard
deviation of log p at that end.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from numpy.typing import NDArray

from mlkit.pairs.screen.null import TABLES, simulate

LENGTHS = (30, 36, 45, 60, 80, 110, 150, 200, 252, 350, 504, 756, 1260, 2520, 5040)
FEWER = (30, 36, 45, 60, 80, 110, 252, 504, 1260, 5040)
SMOOTH = 110  # from this length on, tables are smoothed over lengths


def pairs_of(kind: str, length: int) -> int:
    """Return how many to simulate directly: the pairs of a set are far from independent."""
    return 250_000 if kind == "single" else min(6_000_000, 3_000_000_000 // length)


def particles_of(length: int) -> int:
    """Return the population for a length: long series cost more, and their tails are smooth."""
    return min(max(6_000_000 // length, 1500), 5000)


def smoothed(quantiles: dict[int, NDArray[np.float64]]) -> dict[int, NDArray[np.float64]]:
    """Smooth the tables of the longer series over their lengths: regular in 1 / length."""
    lengths = np.array([each for each in quantiles if each >= SMOOTH])
    rows = np.array([quantiles[each] for each in lengths])
    powers = np.vander(lengths[0] / lengths, 3)
    fit = powers @ np.linalg.lstsq(powers, rows, rcond=None)[0]
    return quantiles | dict(zip(lengths.tolist(), fit, strict=True))


def table(kind: str, trend: str) -> dict[int, dict[str, object]]:
    plain = (kind, trend) == ("pair", "c")  # what nearly every screen uses
    quantiles, errors = {}, {}
    for length in LENGTHS if plain else FEWER:
        pairs, particles = pairs_of(kind, length), particles_of(length)
        null = simulate(
            length, 3 * pairs if plain else pairs // 2, trend=trend, seed=length,
            width=2 if kind == "pair" else 1, populations=8 if plain else 1,
            particles=particles if plain else particles // 2,
        )  # fmt: skip
        quantiles[length], errors[length] = null.quantiles, round(null.error, 3)
        print(kind, trend, length, round(null.quantiles[0], 4), errors[length], flush=True)
    # What lags may be chosen changes with the length in steps: a table with a small error of its
    # own is worth more than a smooth one.
    return {
        length: {"error": errors[length], "quantiles": [round(float(each), 4) for each in row]}
        for length, row in (quantiles if plain else smoothed(quantiles)).items()
    }


def main() -> None:
    tables = json.loads(TABLES.read_text(encoding="utf-8")) if TABLES.exists() else {}
    for kind in sys.argv[1:2] or ["pair", "single"]:
        for trend in sys.argv[2:] or ["c", "ct", "ctt"]:
            tables.setdefault(kind, {})[trend] = table(kind, trend)
            TABLES.write_text(json.dumps(tables).replace('"error"', '\n"error"') + "\n")


if __name__ == "__main__":
    main()
