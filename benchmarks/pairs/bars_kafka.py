"""OHLC bars of 1,000 tickers from ticks, exactly once, beside Kafka Streams on the same Kafka.

    python benchmarks/pairs/bars_kafka.py kafka://HOST:PORT [--ticks 500000] [--json FILE]

Both read the same topic of JSON ticks from its beginning, make bars of a second, and write each
once, when the first tick after its end has come, in transactions that carry offsets and state. The
peer is `streams/`, a program for Kafka Streams in Java as its own guide writes them, compiled by
Maven: without Maven and a JDK the benchmark fails. What is measured is from the first to the last
bar of the output, by the broker's clock, over the ticks between, so that neither the start of an
interpreter nor that of a consumer group counts. Bars are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from confluent_kafka.admin import AdminClient, NewTopic

from mlkit import streams
from mlkit.streams import Message, Partition

PROGRAM = Path(__file__).parent / "streams"
SECONDS, RATE, TICKERS = 1, 20_000, 1000
JOB = f"""
from mlkit.pairs.jobs import features

state = {{}}


def process(data):
    return features.bars(state, data, {SECONDS})
"""
GENEROUS = 600.0


def create(url: str, topic: str) -> None:
    """Create a topic whose records have the broker's time."""
    admin = AdminClient({"bootstrap.servers": url.removeprefix("kafka://")})
    settings = {"message.timestamp.type": "LogAppendTime"}
    admin.create_topics([NewTopic(topic, 1, 1, config=settings)])[topic].result()


def fill(log: streams.Log, topic: str, count: int) -> None:
    """Write ticks, 20,000 for each second of their time; at its end each ticker has one."""
    draws = np.random.default_rng(1)
    closes = np.round(100.0 * np.exp(np.cumsum(draws.normal(0.0, 1e-4, count))), 2).tolist()
    volumes = draws.integers(1, 100, count).tolist()
    who = draws.integers(0, TICKERS, count)
    who[np.arange(count) % RATE >= RATE - TICKERS] = 0
    for end in range(RATE, count + 1, RATE):
        who[end - TICKERS : end] = np.arange(TICKERS)
    for begin in range(0, count, RATE):
        some = [
            Message(_tick(n, int(who[n]), closes[n], volumes[n]), b"T%03d" % who[n])
            for n in range(begin, begin + RATE)
        ]
        log.append(topic, some)


def _tick(n: int, ticker: int, close: float, volume: int) -> bytes:
    when = 1_700_000_000_000 + n * 1000 // RATE
    form = b'{"time":%d,"ticker":"T%03d","close":%.2f,"volume":%d}'
    return form % (when, ticker, close, volume)


@contextmanager
def ours(url: str, source: str, target: str) -> Iterator[None]:
    """Run the job."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.py"
        file.write_text(JOB)
        command = [sys.executable, "-m", "mlkit", "pairs", "job", "run", str(file), "--in", source,
                   "--out", target, "--log", url]  # fmt: skip
        with running(command):
            yield


@contextmanager
def peer(classes: str, url: str, source: str, target: str) -> Iterator[None]:
    """Run Kafka Streams."""
    with tempfile.TemporaryDirectory() as folder:
        servers = url.removeprefix("kafka://")
        command = ["java", "-cp", classes, "Bars", servers, source, target, str(SECONDS), folder]
        with running(command):
            yield


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    """Run a program until the block ends."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def compiled(folder: Path) -> str:
    """Compile the program, and return its class path."""
    if not (shutil.which("mvn") and shutil.which("javac")):
        raise SystemExit("Maven and a JDK are missing: apt-get install maven default-jdk-headless")
    shutil.copytree(PROGRAM, folder / "streams")
    command = ["mvn", "-q", "-B", "-Dstyle.color=never", "-f", str(folder / "streams" / "pom.xml"),
               "compile", "dependency:copy-dependencies",
               f"-DoutputDirectory={folder / 'jars'}"]  # fmt: skip
    subprocess.run(command, check=True)
    return f"{folder / 'streams' / 'target' / 'classes'}:{folder / 'jars'}/*"


def measure(log: streams.Log, topic: str, count: int) -> tuple[float, dict]:
    """Wait for all bars but the last ones; return ticks a second, and the bars."""
    wanted = (count // RATE // SECONDS - 1) * TICKERS
    deadline = time.monotonic() + GENEROUS
    found = []
    while len(found) < wanted and time.monotonic() < deadline:
        found += log.read(Partition(topic, 0), found[-1].offset + 1 if found else 0, 100_000)
        time.sleep(0.2)
    bars = {(row["time"], row["ticker"]): row for row in map(json.loads, (r.value for r in found))}
    if len(found) < wanted or len(bars) != len(found):
        raise SystemExit(f"{topic}: {len(found):,} bars, {len(bars):,} of them different")
    first, last = found[0], found[-1]
    ticks = (len(found) // TICKERS - 1) * RATE * SECONDS
    return 1000 * ticks / max(last.timestamp - first.timestamp, 1), bars


def compare(own: dict, other: dict) -> None:
    """Require the same bars."""
    names = ("open", "high", "low", "close", "volume")
    for place, row in own.items():
        if place in other and any(row[name] != other[place][name] for name in names):
            raise SystemExit(f"bars differ: {row} and {other[place]}")
    if len(own.keys() & other.keys()) < len(own) - TICKERS:
        raise SystemExit("bars have different times or tickers")


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--ticks", type=int, default=500_000)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    count = max(asked.ticks // RATE, 3) * RATE
    log = streams.open(asked.url)
    source, own, other = (f"{name}-{time.time_ns()}" for name in ("ticks", "mlkit", "java"))
    for topic in (source, own, other):
        create(asked.url, topic)
    with tempfile.TemporaryDirectory() as folder:
        classes = compiled(Path(folder))
        fill(log, source, count)
        with ours(asked.url, source, own):
            mine, bars = measure(log, own, count)
        with peer(classes, asked.url, source, other):
            its, its_bars = measure(log, other, count)
    compare(bars, its_bars)
    found = {"mlkit": mine, "kafka streams": its, "ratio": mine / its, "load": os.getloadavg()[0]}
    print(f"bars of {TICKERS:,} tickers from {count:,} ticks, exactly once, ticks a second:")
    print(f"mlkit {mine:,.0f}, Kafka Streams {its:,.0f}, ratio {mine / its:.1f}")
    print(f"load {found['load']:.1f}")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
