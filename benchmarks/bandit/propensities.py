"""Top-10 propensities among 400 arms, beside the same integral with SciPy.

`python benchmarks/bandit/propensities.py [--rounds N] [--json FILE]`: the ten arms of a draw and
all their ranks, for arms with 20, 200, 2,500 and 50,000 impressions each. SciPy's side has the
distributions from `scipy.special` at 600 nodes and counts with NumPy; both agree to 1e-5. They
take turns, and the first round of each is not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mlkit.bandit.propensities import top_k

Array = NDArray[np.float64]
ARMS, K, NODES, GOAL = 400, 10, 600, 150.0
IMPRESSIONS = (20, 200, 2_500, 50_000)


def posteriors(impressions: int) -> tuple[Array, Array, list[int]]:
    """Return arms with clicks of a few per cent, and those that a draw shows."""
    rng = np.random.default_rng(1)
    shown = rng.poisson(impressions, ARMS) + 1
    clicks = rng.binomial(shown, rng.beta(2, 60, ARMS))
    a, b = 1.0 + clicks, 1.0 + shown - clicks
    return a, b, [int(arm) for arm in np.argsort(-rng.beta(a, b))[:K]]


def with_scipy(a: Array, b: Array, shown: list[int]) -> Array:
    """Return P(the arm has rank 1 .. k) of the shown arms, shape (shown, k).

    A trapezium between the quantiles of the best arms, where the tails are nothing; the counts
    of the arms above a point are Poisson-binomial.
    """
    low = np.sort(special.betaincinv(a, b, 1e-12))[-K - 1]
    high = special.betainccinv(a, b, 1e-16).max()
    y = np.linspace(*special.logit([low, high]), NODES)
    x = special.expit(y)
    above = special.betaincc(a[:, None], b[:, None], x)
    density = np.exp(
        a[:, None] * special.log_expit(y) + b[:, None] * special.log_expit(-y)
        - special.betaln(a, b)[:, None]
    )  # fmt: skip
    counts = np.zeros((K, NODES))
    counts[0] = 1
    for arm in np.setdiff1d(np.arange(len(a)), shown):
        counts = count_one(counts, above[arm])
    ranks = np.empty((len(shown), K))
    for place, arm in enumerate(shown):
        others = counts
        for each in shown:
            if each != arm:
                others = count_one(others, above[each])
        ranks[place] = (others * density[arm]).sum(axis=1) * (y[1] - y[0])
    return ranks


def count_one(counts: Array, above: Array) -> Array:
    found = counts * (1 - above)
    found[1:] += counts[:-1] * above
    return found


def timed(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return (time.process_time() - begin) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = {}
    print(f"microseconds of processor time, median (least) of {given.rounds}; goal {GOAL:g}")
    for impressions in IMPRESSIONS:
        a, b, shown = posteriors(impressions)
        ours, theirs = top_k(a, b, K, shown).ranks, with_scipy(a, b, shown)
        np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-9)
        rounds = [
            (timed(lambda: top_k(a, b, K, shown)), timed(lambda: with_scipy(a, b, shown)))  # noqa: B023
            for _ in range(given.rounds)
        ]
        sides = {
            side: {"median": statistics.median(times), "least": min(times)}
            for side, times in zip(("mlkit", "SciPy"), zip(*rounds, strict=True), strict=True)
        }
        texts = [f"{k} {v['median']:8,.0f} ({v['least']:,.0f})" for k, v in sides.items()]
        ratio = sides["SciPy"]["median"] / sides["mlkit"]["median"]
        print(f"{impressions:>7,} impressions: {'  '.join(texts)}  {ratio:.0f}x")
        found[impressions] = sides | {"ratio": ratio}
    if given.json:
        given.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
