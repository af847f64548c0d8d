"""Checks the far tail of the screen's p-values against independent runs of splitting.

    python benchmarks/pairs/null_tail.py [BARS ...] [--runs 12] [--particles 1000] [--json FILE]

The tables behind the p-values come from one run of splitting (`mlkit/pairs/screen/splitting.py`),
joined to a plain simulation and smoothed over lengths. Here runs with other seeds and three times
the moves are averaged, and their spread gives the standard error: nothing of the tables enters
but the statistics at which they are compared. Where plain simulation reaches, `null_universes.py`
checks both.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlkit.pairs.screen import splitting
from mlkit.pairs.screen.null import null_of

LEVELS = np.array([1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9])
MOVES = 3 * splitting.MOVES
Array = NDArray[np.float64]


def estimate(bars: int, particles: int, seed: int, thresholds: Array) -> Array:
    """Return the probability of a statistic as low as each threshold, by one run."""
    test = splitting.pair_statistic("c", None, None)
    tail = splitting.split(
        test, bars, 2, least=LEVELS[-1] / 20.0, particles=particles, seed=seed, moves=MOVES
    )
    return np.exp(np.interp(-thresholds, -tail.statistic, tail.log_p))


def compared(bars: int, runs: int, particles: int) -> dict[str, Any]:
    """Compare the tabulated p-values of a length with the mean of some runs."""
    begin, thresholds = time.process_time(), null_of(bars).statistic(LEVELS)
    found = [estimate(bars, particles, 10_000 + run, thresholds) / LEVELS for run in range(runs)]
    ratio, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(runs)
    rows = {
        f"{level:g}": {
            "statistic": round(float(t), 3),
            "found_over_p": round(float(r), 3),
            "standard_error": round(float(e), 3),
        }
        for level, t, r, e in zip(LEVELS, thresholds, ratio, error, strict=True)
    }
    spent = {"cpu_seconds": round(time.process_time() - begin), "load": os.getloadavg()[0]}
    return {"bars": bars, "runs": runs, "particles": particles, "tail": rows, **spent}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bars", type=int, nargs="*", default=[60, 252, 1260, 5040])
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--particles", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = []
    for bars in options.bars:
        found.append(compared(bars, options.runs, options.particles))
        text = json.dumps(found, indent=2)
        if options.json:
            options.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
