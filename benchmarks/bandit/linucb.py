"""LinUCB's fit beside MABWiser's: `python benchmarks/bandit/linucb.py [--rows N] [--json FILE]`.

A model an arm, 32 features, 100 arms, rows in random order, in NumPy arrays for both. They take
turns; the first round of each is not counted. MABWiser runs with `n_jobs=1`; its BLAS and this
kernel use all cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mlkit.bandit import LinUCB

ARMS, DIMENSION = 100, 32
PAUSE = 0.2
"""Seconds before a turn: OpenBLAS's threads spin for a while after their last work."""


def timed(work: Callable[[], object]) -> tuple[float, float]:
    time.sleep(PAUSE)
    begin, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begin, time.process_time() - cpu


def measure(rows: int, rounds: int) -> dict[str, dict[str, float]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of its dependencies
        from mabwiser.mab import MAB, LearningPolicy
    rng = np.random.default_rng(1)
    features, rewards = rng.normal(size=(rows, DIMENSION)), rng.random(rows)
    arms = rng.integers(ARMS, size=rows)

    def ours() -> LinUCB:
        policy = LinUCB(ARMS, DIMENSION)
        policy.update(arms, rewards, features)
        return policy

    def theirs() -> MAB:
        mab = MAB(list(range(ARMS)), LearningPolicy.LinUCB(alpha=1))
        mab.fit(arms, rewards, features)
        return mab

    models = theirs()._imp.arm_to_model
    expected = np.array([models[arm].beta for arm in range(ARMS)])
    np.testing.assert_allclose(ours().weights.mean, expected, rtol=1e-7, atol=1e-9)
    times = [(timed(ours), timed(theirs)) for _ in range(rounds)]
    found = {}
    for number, name in enumerate(("mlkit", "MABWiser")):
        wall, cpu = zip(*(each[number] for each in times), strict=True)
        medians = statistics.median(wall) * 1e3, statistics.median(cpu) * 1e3
        found[name] = {"ms": medians[0], "fastest": min(wall) * 1e3, "cpu_ms": medians[1]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(options.rows, options.rounds)
    for name, row in found.items():
        print(f"{name:9} " + ", ".join(f"{key} {value:.1f}" for key, value in row.items()))
    print(f"mlkit is {found['MABWiser']['ms'] / found['mlkit']['ms']:.1f} times as fast (goal: 10)")
    if options.json:
        options.json.write_text(json.dumps(found | {"load": os.getloadavg()[0]}, indent=2))


if __name__ == "__main__":
    main()
