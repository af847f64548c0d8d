"""Check propensities against draws of the sampler, at the extremes of what `top_k` accepts.

`python benchmarks/bandit/propensity_draws.py`; MLKIT_PROPENSITY_DRAWS sets how often each case is
drawn (1,000,000; the figures of the docs are of 100,000,000, which take some minutes of a core).
Exit code 1: a count is off by more than chance allows.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from mlkit.bandit import BetaSampler
from mlkit.bandit.propensities import top_k

Array = NDArray[np.float64]
VARIABLE = "MLKIT_PROPENSITY_DRAWS"
DRAWS = 1_000_000
CHUNK = 1 << 19
CHANCE = 1e-6
"""A p-value below it is no chance."""

# (a, b, how many equal arms). Of two arms at most one may round to the same double: the integral
# has no ties.
CASES: dict[str, list[tuple[float, float, int]]] = {
    "one arm": [(5.0, 5.0, 1)],
    "ten equal arms": [(3.0, 100.0, 1)] * 10,
    "a = 1e-3": [(1e-3, 1.0, 1), (1e-3, 7.0, 1), (1e-3, 1e-3, 1), (1.0, 30.0, 1), (2.0, 60.0, 1)],
    "a = 1e7": [(1e7, 3e7, 1), (1e7 + 3000, 3e7, 1), (1e7 - 2000, 3e7, 1), (5.0, 15.0, 1)],
    "clicks": [(3.0, 30.0, 1), (2.0, 10.0, 1), (9.0, 100.0, 1), (0.5, 1.0, 1)],
    "2,000 arms": [(2.0, 30.0, 500), (2.0, 32.0, 500), (1.5, 27.0, 500), (1.0, 25.0, 500)],
}


@dataclass(frozen=True)
class Row:
    """One case.

    Attributes:
        case: Its name.
        draws: How often all arms were drawn.
        deviation: The largest deviation of a count, in its standard errors.
        relative: The largest relative deviation.
        chance: P-value of the counts (Pearson's chi-squared test).
    """

    case: str
    draws: int
    deviation: float
    relative: float
    chance: float


def main() -> None:
    """Check every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    draws = int(os.environ.get(VARIABLE, DRAWS))
    rows = []
    for name in CASES:
        rows.append(check(name, draws))
        if not options.json:
            show(rows[-1])
    if options.json:
        print(json.dumps([asdict(each) for each in rows], indent=1))
    sys.exit(any(each.chance < CHANCE for each in rows))


def show(row: Row) -> None:
    """Print a row."""
    print(
        f"{row.case:16} {row.draws:>13,} draws: within {row.deviation:.2f} standard errors, "
        f"{row.relative:.1e} of each; chance {row.chance:.3g}",
        flush=True,
    )


def check(name: str, draws: int) -> Row:
    """Compare how often each kind of arm is highest with its propensity."""
    kinds = CASES[name]
    expected = propensities(kinds)
    seen = count(kinds, draws, BetaSampler(20260), np.random.default_rng(20260)) / draws
    errors = np.sqrt(expected * (1 - expected) / draws)
    away = np.abs(seen - expected)
    # One arm is always highest.
    deviation = float(np.max(away / errors)) if len(kinds) > 1 else float(away.max() > 1e-12)
    chi = draws * float(np.sum(away**2 / expected))
    chance = float(stats.chi2.sf(chi, len(kinds) - 1)) if len(kinds) > 1 else 1.0
    return Row(name, draws, deviation, float(np.max(away / expected)), chance)


def propensities(kinds: list[tuple[float, float, int]]) -> Array:
    """Return the probability that an arm of each kind is highest."""
    a, b, counts = (np.array(each) for each in zip(*kinds, strict=True))
    first = top_k(np.repeat(a, counts), np.repeat(b, counts)).first
    return np.array([part.sum() for part in np.split(first, np.cumsum(counts)[:-1])])


def count(
    kinds: list[tuple[float, float, int]],
    draws: int,
    sampler: BetaSampler,
    generator: np.random.Generator,
) -> Array:
    """Count how often an arm of each kind is highest."""
    total = np.zeros(len(kinds))
    for start in range(0, draws, CHUNK):
        size = min(CHUNK, draws - start)
        highest, best = np.zeros(size, np.intp), np.full(size, -math.inf)
        for place, kind in enumerate(kinds):
            drawn = draw(kind, size, sampler, generator)
            is_higher = drawn > best
            highest[is_higher] = place
            np.maximum(best, drawn, out=best)
        total += np.bincount(highest, minlength=len(kinds))
    return total


def draw(
    kind: tuple[float, float, int], size: int, sampler: BetaSampler, generator: np.random.Generator
) -> Array:
    """Draw the highest of equal arms: by the sampler, or of many by the inverse of its tail."""
    a, b, equal = kind
    if equal == 1:
        return sampler.sample(a, b, size, threads=1)
    tail = -np.expm1(np.log(generator.random(size)) / equal)
    return np.asarray(special.betainccinv(a, b, tail))


if __name__ == "__main__":
    main()
