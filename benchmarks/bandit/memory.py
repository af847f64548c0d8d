"""Memory and load time of the posterior table: 10 million (context, arm) posteriors.

    python benchmarks/bandit/memory.py [--rows N] [--contexts N] [--arms N] [--json FILE]

Writes a posteriors file with ids of 16 bytes, loads it as `mlkit bandit serve` does, and lets
two reader processes look every posterior up. PSS (proportional set size) splits a shared page
among the processes that map it, so the sum counts each page once. A table of Python dicts of
a part of the rows stands beside it.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mlkit.bandit.posteriors import file
from mlkit.bandit.posteriors.posterior import SCHEMA, Header
from mlkit.bandit.stores import memory_mapped

BATCH = 1 << 20
SPAWN = multiprocessing.get_context("spawn")


def ids(kind: str, numbers: np.ndarray) -> pa.Array:
    """Make ids of 16 bytes, such as `arm-000000000012`."""
    digits = numbers[:, None] // 10 ** np.arange(11, -1, -1) % 10 + ord("0")
    prefix = np.broadcast_to(np.frombuffer(f"{kind}-".encode(), np.uint8), (len(numbers), 4))
    data = np.ascontiguousarray(np.hstack([prefix, digits.astype(np.uint8)]))
    offsets = np.arange(0, 16 * len(numbers) + 1, 16, dtype=np.int32)
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(data))


def batch(rng: np.random.Generator, contexts: pa.Array, arms: pa.Array) -> pa.RecordBatch:
    n = len(arms)
    pulls = rng.integers(1, 1000, n)
    a = rng.gamma(2.0, 2.0, n) + 0.1
    return pa.RecordBatch.from_arrays([contexts, arms, a, a + pulls, pulls], schema=SCHEMA)


def batches(rows: int, contexts: int, arms: int):
    rng = np.random.default_rng(1)
    yield batch(rng, pa.nulls(arms, pa.string()), ids("arm", np.arange(arms)))
    for start in range(0, rows, BATCH):
        row = np.arange(start, min(start + BATCH, rows))
        context = row * contexts // rows
        # Consecutive rows of a context have distinct arms.
        yield batch(rng, ids("ctx", context), ids("arm", (row * 7919 + context) % arms))


def memory(pid: int | str = "self") -> dict[str, float]:
    """Read the resident and the proportional set size of a process, in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 / 1e6 for line in lines}
    return {"pss": sizes["Pss"], "rss": sizes["Rss"], "own": sizes["Private_Dirty"]}


def read(path: str, arms: int, contexts: int, pipe: Any) -> None:
    """Open the table, look up 400 candidates for each of many contexts, and wait."""
    from mlkit.bandit._posterior_table import PosteriorTable, ThompsonSampler

    start = time.perf_counter()
    table = PosteriorTable.open(path)
    opened = time.perf_counter() - start
    rng, sampler, micros = np.random.default_rng(os.getpid()), ThompsonSampler(), []
    for _ in range(2000):
        context = f"ctx-{rng.integers(contexts):012}"
        candidates = [f"arm-{i:012}" for i in rng.integers(arms, size=400)]
        start = time.perf_counter()
        sampler.top_k(table.fetch(context, candidates), 10)
        micros.append((time.perf_counter() - start) * 1e6)
    gc.collect()
    pipe.send({"open_s": opened, "fetch_and_top_k_us": float(np.median(micros))})
    pipe.recv()


def dicts(rows: int) -> float:
    """Measure the bytes a row of a dict {(context, arm): (a, b)}, on a part of the rows."""
    before = memory()["own"]
    some = min(rows, 500_000)
    kept = {(f"ctx-{i // 10:012}", f"arm-{i:012}"): (i + 0.5, i + 1.5) for i in range(some)}
    return (memory()["own"] - before) * 1e6 / len(kept)


def measure(directory: Path, rows: int, contexts: int, arms: int) -> dict[str, Any]:
    posteriors, path = directory / "posteriors.parquet", directory / "table"
    file.write_batches(Header("memory"), batches(rows, contexts, arms), posteriors)
    start, start_cpu = time.perf_counter(), time.process_time()
    _, table = memory_mapped.load(posteriors, path)
    loaded, loaded_cpu = time.perf_counter() - start, time.process_time() - start_cpu
    pa.default_memory_pool().release_unused()
    pipes, readers = [], []
    for _ in range(2):
        ours, theirs = SPAWN.Pipe()
        readers.append(SPAWN.Process(target=read, args=(str(path), arms, contexts, theirs)))
        readers[-1].start()
        pipes.append(ours)
    reports = [pipe.recv() for pipe in pipes]
    sizes = {"writer": memory()} | {
        f"reader {i + 1}": memory(reader.pid) for i, reader in enumerate(readers)
    }
    for pipe, reader in zip(pipes, readers, strict=True):
        pipe.send(None)
        reader.join()
    return {
        "rows": rows,
        "contexts": contexts,
        "arms": arms,
        "load_s": loaded,
        "load_cpu_s": loaded_cpu,
        "table_mb": path.stat().st_size / 1e6,
        "posteriors_mb": posteriors.stat().st_size / 1e6,
        "used": table.used(),
        "processes_mb": sizes,
        "readers_pss_mb": sizes["reader 1"]["pss"] + sizes["reader 2"]["pss"],
        "all_pss_mb": sum(each["pss"] for each in sizes.values()),
        "readers": reports,
    }


def show(found: dict[str, Any]) -> None:
    print(f"{found['rows']:,} posteriors of {found['contexts']:,} contexts, {found['arms']:,} arms")
    print(f"  load from Parquet   {found['load_s']:8.1f} s  ({found['load_cpu_s']:.1f} s of CPU)")
    print(f"  table file          {found['table_mb']:8.0f} MB")
    for name, sizes in found["processes_mb"].items():
        print(f"  {name:18}  {sizes['pss']:8.0f} MB PSS  ({sizes['rss']:.0f} RSS)")
    print(f"  two readers         {found['readers_pss_mb']:8.0f} MB PSS")
    print(f"  readers and writer  {found['all_pss_mb']:8.0f} MB PSS")
    for report in found["readers"]:
        print(f"  open {report['open_s'] * 1e3:.0f} ms, fetch + top 10 of 400 candidates with a")
        print(f"    random context: {report['fetch_and_top_k_us']:.0f} us")
    ratio = found["dict_bytes_a_row"] * found["rows"] / 1e6 / found["all_pss_mb"]
    print(f"  Python dict         {found['dict_bytes_a_row']:8.0f} bytes a row, {ratio:.1f} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--contexts", type=int, default=1_000_000)
    parser.add_argument("--arms", type=int, default=100_000)
    parser.add_argument("--directory", type=Path, help="where the files go (default: temporary)")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    per_row = dicts(options.rows)
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        found = measure(Path(name), options.rows, options.contexts, options.arms)
    found["dict_bytes_a_row"] = per_row
    show(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
