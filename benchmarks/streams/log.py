"""The embedded log: durable records a second, and the latency of 1,000 records a second.

    python benchmarks/streams/log.py [--records 500000] [--seconds 5] [--json FILE]

A record has 100 bytes; every append waits for the disk. The reader is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mlkit import streams
from mlkit.streams import Message, Partition

READER = """
import sys, time
from mlkit import streams
log = streams.open(sys.argv[1])
count = int(sys.argv[2])
took = []
with log.consume("reader", ["paced"]) as consumer:
    print("ready", flush=True)
    while len(took) < count:
        records = consumer.poll(timeout=30)
        now = time.time_ns()
        took += [now - int(record.value) for record in records]
print(" ".join(map(str, took)))
"""


def throughput(folder: Path, count: int, batch: int) -> tuple[float, float]:
    """Return the records written, and read, a second."""
    log = streams.open(folder)
    log.create("bulk")
    messages = [Message(b"x" * 92 + b"%08d" % n, b"T%03d" % (n % 1000)) for n in range(batch)]
    begun = time.perf_counter()
    for _ in range(count // batch):
        log.append("bulk", messages)
    written = count / (time.perf_counter() - begun)
    begun, read = time.perf_counter(), 0
    with log.consume("bulk", ["bulk"]) as consumer:
        while read < log.bounds(Partition("bulk", 0))[1]:
            read += len(consumer.poll(10_000))
    return written, read / (time.perf_counter() - begun)


def floor(folder: Path, batch: int) -> float:
    """Return the records a second that fdatasync of as many bytes alone allows."""
    content, count = b"x" * 110 * batch, 50
    with (folder / "floor").open("wb", buffering=0) as file:
        begun = time.perf_counter()
        for _ in range(count):
            file.write(content)
            os.fdatasync(file.fileno())
        return count * batch / (time.perf_counter() - begun)


def latency(folder: Path, seconds: float) -> np.ndarray:
    """Return milliseconds from before the append to the return of poll in another process."""
    count = int(1000 * seconds)
    log = streams.open(folder)
    log.create("paced")
    command = [sys.executable, "-c", READER, str(folder), str(count)]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    reader.stdout.readline()
    begun = time.perf_counter()
    for n in range(0, count, 5):  # what has come in 5 ms is a batch
        time.sleep(max(0.0, begun + n / 1000 - time.perf_counter()))
        now = b"%d" % time.time_ns()
        log.append("paced", [Message(now)] * 5)
    return np.array(reader.communicate()[0].split(), float) / 1e6


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        for batch in (1, 100, 1000):
            count = asked.records if batch == 1000 else asked.records * batch // 2000
            written, read = throughput(Path(folder) / str(batch), count, batch)
            bare = floor(Path(folder), batch)
            found[f"batches of {batch}"] = {"written": written, "read": read, "fdatasync": bare}
            print(
                f"batches of {batch:5,}: {written:12,.0f} written/s {read:12,.0f} read/s "
                f"(fdatasync alone {bare:,.0f}/s)"
            )
        took = latency(Path(folder) / "paced", asked.seconds)
        p50, p99 = np.percentile(took, [50, 99])
        found["latency ms"] = {"p50": p50, "p99": p99}
        print(f"1,000 records/s, to another process: p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
