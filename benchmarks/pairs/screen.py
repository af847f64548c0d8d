"""Times the pair screen against statsmodels' coint in the same run.

    python benchmarks/pairs/screen.py [--tickers 1000] [-o results.json]

Times are processor seconds, so that other work on the machine matters less; ours and the
peer's runs alternate, and the medians are compared.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import json
import resource
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np
from statsmodels.tsa.stattools import coint

from mlkit import _simd
from mlkit.pairs.screen.cointegration import engle_granger
from mlkit.pairs.screen.null import better, null_of

ROUNDS = 5


def walks(length: int, count: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((length, count)).cumsum(axis=0) * 0.01 + 4


def seconds(work, clock=time.process_time) -> float:
    begin = clock()
    work()
    return clock() - begin


def against_statsmodels(length: int) -> dict[str, float]:
    """One direction of a pair, lags by AIC."""
    series, many = walks(length, 2), walks(length, 200)
    ours, peer = [], []
    for _ in range(ROUNDS):
        ours.append(seconds(lambda: engle_granger(many)) / (200 * 199))
        peer.append(seconds(lambda: coint(series[:, 0], series[:, 1])))
    return {
        "ours_us": median(ours) * 1e6,
        "ours_spread_us": (max(ours) - min(ours)) * 1e6,
        "statsmodels_us": median(peer) * 1e6,
        "ratio": median(peer) / median(ours),
    }


def whole_screen(count: int, length: int = 1260) -> dict[str, float]:
    """All pairs, both directions and screening p-values; wall clock."""
    series = walks(length, count)

    def screen(threads: int) -> None:
        statistic = better(engle_granger(series, threads=threads).statistic)
        null_of(length).p_value(statistic)

    one = [seconds(lambda: screen(1), time.perf_counter) for _ in range(2)]
    two = [seconds(lambda: screen(2), time.perf_counter) for _ in range(2)]
    return {
        "tickers": count,
        "pairs": count * (count - 1) // 2,
        "cpu_s": seconds(lambda: screen(1)),
        "one_thread_s": min(one),
        "two_threads_s": min(two),
        "scaling": min(one) / min(two),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tickers", type=int, default=1000)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    results = {
        "instruction_set": _simd.selected(),
        "T=1260": against_statsmodels(1260),
        "T=252": against_statsmodels(252),
        "screen": whole_screen(arguments.tickers),
    }
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
