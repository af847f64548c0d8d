"""Time Beta draws against the field, on one core: `python benchmarks/bandit/sampler.py`."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import scipy.stats

from mlkit import _simd
from mlkit.bandit import BetaSampler

PAIRS = 158_208
REQUEST = 400
Work = Callable[[], object]


@dataclass
class Row:
    """Nanoseconds a draw of one method on one mix; ratio: NumPy SFC64's minimum over its own."""

    mix: str
    method: str
    draws: int
    minimum: float
    median: float
    ratio: float
    ratio_low: float
    ratio_high: float


def ctr(rng):
    """Click posteriors: 1 to 100,000 impressions at a rate of about 3 %."""
    impressions = np.floor(10 ** rng.uniform(0, 5, PAIRS))
    clicks = rng.binomial(impressions.astype(int), rng.beta(2, 60, PAIRS)).astype(float)
    return 1 + clicks, 1 + impressions - clicks


def small(rng):
    """Sparse priors: six of seven parameters below 1."""
    return 10 ** rng.uniform(-3, 0.5, PAIRS), 10 ** rng.uniform(-3, 0.5, PAIRS)


def large(rng):
    """Long histories: 1e3 to 1e7 observations."""
    return 10 ** rng.uniform(3, 7, PAIRS), 10 ** rng.uniform(3, 7, PAIRS)


def ours(isa: str, a, b, batch: int, threads: int = 1) -> Work:
    """Draw on one instruction set, in calls of `batch`, into one array."""
    sampler, out = BetaSampler(1), np.empty(a.size)
    starts = range(0, a.size - batch + 1, batch)
    pieces = [(a[i : i + batch], b[i : i + batch], out[i : i + batch]) for i in starts]

    def work():
        os.environ["MLKIT_SIMD"] = isa
        for first, second, to in pieces:
            sampler.sample(first, second, out=to, threads=threads)

    return work


def boost(fresh: bool, a, b, library) -> Work:
    name = "draw_with_fresh_generators" if fresh else "draw_with_one_generator"
    out = np.empty(a.size)
    pointers = [each.ctypes.data_as(ctypes.c_void_p) for each in (a, b, out)]
    return lambda: library[name](*pointers, ctypes.c_size_t(a.size), 5)


def build_boost(include: str | None, folder: str):
    """Compile the article's code, or give None where Boost's headers are missing."""
    source = Path(__file__).with_name("boost_peer.cpp")
    made = Path(folder) / "boost_peer.so"
    where = [f"-I{include}"] if include else []
    command = ["g++", "-O3", "-march=native", "-shared", "-fPIC", *where, source, "-o", made]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return ctypes.CDLL(str(made))


def peers(a, b, library) -> dict[str, tuple[int, Work]]:
    """Return each peer's work on the first so many pairs (the slow ones take fewer)."""
    sfc, pcg = (np.random.Generator(kind(1)) for kind in (np.random.SFC64, np.random.PCG64))
    few = list(zip(a[:2000].tolist(), b[:2000].tolist(), strict=True))
    work: dict[str, tuple[int, Work]] = {
        "NumPy Generator(SFC64)": (a.size, lambda: sfc.beta(a, b)),
        "NumPy Generator(PCG64)": (a.size, lambda: pcg.beta(a, b)),
        "np.random.beta, a loop": (2000, lambda: [np.random.beta(x, y) for x, y in few]),
        "scipy.stats.beta.rvs, a loop": (
            200,
            lambda: [scipy.stats.beta.rvs(x, y) for x, y in few[:200]],
        ),
    }
    if library is not None:
        first, second = a[:20_000].copy(), b[:20_000].copy()
        work["Boost, fresh mt19937 (the article)"] = (20_000, boost(True, first, second, library))
        work["Boost, one mt19937"] = (20_000, boost(False, first, second, library))
    return work


def methods(a, b, library) -> dict[str, tuple[int, Work]]:
    requests = PAIRS // REQUEST * REQUEST
    work = peers(a, b, library)
    for isa in _simd.available():
        work[f"mlkit {isa}"] = (PAIRS, ours(isa, a, b, PAIRS))
    best = _simd.available()[-1]
    work[f"mlkit {best}, two threads"] = (PAIRS, ours(best, a, b, PAIRS, threads=2))
    work[f"mlkit {best}, {REQUEST} a call"] = (requests, ours(best, a, b, REQUEST))
    one = ours(best, a[:1], b[:1], 1)
    work["mlkit, a call for one draw"] = (1000, lambda: [one() for _ in range(1000)])
    return work


def measure(mix: str, work: dict[str, tuple[int, Work]], repeats: int) -> list[Row]:
    """Interleave the methods, so that a swing of the machine meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repeats):
        for name, (draws, run) in work.items():
            start = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - start) / draws * 1e9)
    return [row(mix, name, work[name][0], times) for name in work]


def row(mix: str, name: str, draws: int, times: dict[str, list[float]]) -> Row:
    """Compare the minima, and show how the ratio of single rounds spreads."""
    base, made = times["NumPy Generator(SFC64)"], times[name]
    rounds = sorted(peer / own for peer, own in zip(base, made, strict=True))
    low, high = rounds[len(rounds) // 10], rounds[-1 - len(rounds) // 10]
    return Row(
        mix, name, draws, min(made), statistics.median(made), min(base) / min(made), low, high
    )


def kernel_share(rows: list[Row]) -> list[str]:
    """Split the time of a call for 400 draws into the kernel's and the call's."""
    by_name = {each.method: each for each in rows}
    best = _simd.available()[-1]
    call = by_name["mlkit, a call for one draw"].minimum
    request = by_name[f"mlkit {best}, {REQUEST} a call"].minimum
    return [
        f"a Python call costs {call / 1e3:.2f} us: {call / REQUEST:.2f} ns a draw at {REQUEST};",
        f"the rest is {request - call / REQUEST:.2f} ns a draw,",
        f"against {by_name[f'mlkit {best}'].minimum:.2f} in one call for {PAIRS}.",
    ]


def thread_gain(a, b, rounds: int = 20, calls: int = 20) -> str:
    """Compare one thread with two in bursts by turns: before a lone call the second core sleeps."""
    best = _simd.available()[-1]
    works = [ours(best, a, b, PAIRS, threads=threads) for threads in (1, 2)]
    gains = []
    for _ in range(rounds):
        times = []
        for work in works:
            start = time.perf_counter()
            for _ in range(calls):
                work()
            times.append(time.perf_counter() - start)
        gains.append(times[0] / times[1])
    low, *_, high = statistics.quantiles(gains, n=10)
    spread = f"{statistics.median(gains):.2f} ({low:.2f}-{high:.2f})"
    return f"Two threads are {spread} times as fast as one, in bursts of {calls} calls."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--boost", metavar="DIR", help="where Boost's headers are")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        library = build_boost(options.boost, folder)
        for mix in (ctr, small, large):
            a, b = mix(np.random.default_rng(1))
            found = measure(mix.__name__, methods(a, b, library), options.repeats)
            show(found)
            print(thread_gain(a, b))
            rows += found
    if library is None:
        print("Boost's headers were not found: apt-get install libboost-dev, or --boost DIR")
    if options.json:
        machine = {"processor": platform.processor(), "sets": _simd.available()}
        document = {"machine": machine, "rows": [asdict(each) for each in rows]}
        options.json.write_text(json.dumps(document, indent=2) + "\n")


def show(rows: list[Row]) -> None:
    print(f"\n{rows[0].mix:36} ns a draw: min, median   times as fast as SFC64 (rounds 10-90 %)")
    for each in rows:
        times = f"{each.minimum:10.2f} {each.median:10.2f}"
        spread = f"({each.ratio_low:.2f}-{each.ratio_high:.2f})"
        print(f"{each.method:36} {times} {each.ratio:18.2f}  {spread}")
    print(*kernel_share(rows), sep="\n")


if __name__ == "__main__":
    main()
