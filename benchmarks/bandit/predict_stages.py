"""Time of the predict stages: fetch, and sample + top 10, out of 100,000 arms.

    python benchmarks/bandit/predict_stages.py [--requests N] [--json FILE]

A request's candidates are new strings each time, as from a decoder. The peer in the same run is
dicts and NumPy: look up a and b, `Generator.beta`, `argpartition`. Times are CPU time of the
thread, in microseconds a request: median and the range from the 10th to the 90th percentile.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mlkit.bandit._posterior_table import Fetched, PosteriorTable, ThompsonSampler

ARMS, CONTEXTS, PAIRS_A_CONTEXT, K = 100_000, 2_000, 200, 10


def buffers(names: list[str]):
    data = [name.encode() for name in names]
    offsets = np.cumsum([0, *map(len, data)])
    return offsets, np.frombuffer(b"".join(data), np.uint8)


class Peer:
    """Dicts of the arms and of the pairs, and NumPy."""

    def __init__(self, arms: dict[str, tuple], pairs: dict[tuple[str, str], tuple]) -> None:
        self.arms, self.pairs = arms, pairs
        self.generator = np.random.Generator(np.random.SFC64(1))

    def fetch(self, context: str | None, candidates: list[str]) -> np.ndarray:
        arms, pairs = self.arms, self.pairs
        if context is None:
            return np.array([arms[arm] for arm in candidates])
        return np.array([pairs.get((context, arm)) or arms[arm] for arm in candidates])

    def top(self, rows: np.ndarray, candidates: list[str]) -> list[str]:
        draws = self.generator.beta(rows[:, 0], rows[:, 1])
        best = np.argpartition(draws, -K)[-K:]
        return [candidates[i] for i in best[np.argsort(-draws[best])]]


def make(path: Path, rng: np.random.Generator) -> tuple[PosteriorTable, Peer]:
    arms = [f"arm-{i:012}" for i in range(ARMS)]
    contexts = [f"ctx-{i:012}" for i in range(CONTEXTS)]
    n = CONTEXTS * PAIRS_A_CONTEXT
    chosen = np.concatenate([rng.permutation(ARMS)[:PAIRS_A_CONTEXT] for _ in contexts])
    keys = [(contexts[i // PAIRS_A_CONTEXT], arms[arm]) for i, arm in enumerate(chosen)]
    own, pair = (np.array([rng.gamma(2, 5, m) + 1, rng.gamma(2, 200, m) + 1]) for m in (ARMS, n))
    table = PosteriorTable.create(
        str(path),
        arms=ARMS,
        contexts=CONTEXTS,
        posteriors=n,
        id_bytes=16 * (ARMS + CONTEXTS),
        prior=(1, 1),
        shrinkage=100,
    )
    table.load_arms(buffers(arms), *own, np.zeros(ARMS))
    table.load_contexts(
        *(buffers(list(each)) for each in zip(*keys, strict=True)), *pair, np.zeros(n)
    )
    rows = [list(zip(*each.tolist(), strict=True)) for each in (own, pair)]
    return table, Peer(dict(zip(arms, rows[0], strict=True)), dict(zip(keys, rows[1], strict=True)))


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.thread_time_ns()
    result = work()
    return result, (time.thread_time_ns() - start) / 1e3


def summary(micros: list[float]) -> dict[str, float]:
    low, middle, high = np.percentile(micros, [10, 50, 90])
    return {"median": middle, "p10": low, "p90": high}


def measure(store: PosteriorTable, peer: Peer, n: int, context: bool, requests: int):
    rng, sampler = np.random.default_rng(n), ThompsonSampler(1)
    times: dict[str, list[float]] = {}
    for _ in range(requests):
        user = f"ctx-{rng.integers(CONTEXTS):012}" if context else None
        body = json.dumps([f"arm-{i:012}" for i in rng.permutation(ARMS)[:n]])
        ours, theirs = json.loads(body), json.loads(body)
        fetched, fetch = timed(lambda ours=ours, user=user: store.fetch(user, ours))
        _, top = timed(lambda fetched=fetched: sampler.top_k(fetched, K))
        rows, peer_fetch = timed(lambda theirs=theirs, user=user: peer.fetch(user, theirs))
        _, peer_top = timed(lambda rows=rows, theirs=theirs: peer.top(rows, theirs))
        found = {"fetch": fetch, "sample + top": top, "peer fetch": peer_fetch}
        for name, value in (found | {"peer sample + top": peer_top}).items():
            times.setdefault(name, []).append(value)
    return {"candidates": n, "context": context} | {k: summary(v) for k, v in times.items()}


def measure_all_arms(store: PosteriorTable, context: str | None) -> dict[str, Any]:
    sampler = ThompsonSampler(1)
    times: dict[str, list[float]] = {"fetch": [], "sample + top": []}
    fetched: Fetched
    for _ in range(20):
        fetched, fetch = timed(lambda: store.fetch(context, None))
        times["fetch"].append(fetch)
        times["sample + top"].append(timed(lambda fetched=fetched: sampler.top_k(fetched, K))[1])
    found = {name: summary(values) for name, values in times.items()}
    return {"candidates": ARMS, "context": context is not None} | found


def show(row: dict[str, Any]) -> None:
    print(f"{row['candidates']:7,} candidates, {'with' if row['context'] else 'no'} context")
    for name, times in row.items():
        if isinstance(times, dict):
            print(f"  {name:18} {times['median']:8.1f} us ({times['p10']:.1f}-{times['p90']:.1f})")
    if "peer fetch" in row:
        ours, peer = (
            row[f"{who}fetch"]["median"] + row[f"{who}sample + top"]["median"]
            for who in ("", "peer ")
        )
        print(f"  {'ratio':18} {peer / ours:8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "table")
        writer, peer = make(path, np.random.default_rng(1))
        store = PosteriorTable.open(str(path))
        cases = [(n, context) for n in (400, 2000) for context in (False, True)]
        rows = [measure(store, peer, *case, options.requests) for case in cases]
        rows += [measure_all_arms(store, context) for context in (None, f"ctx-{7:012}")]
        del writer
    for row in rows:
        show(row)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
