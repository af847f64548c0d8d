"""Jobs and live runs on Apache Kafka itself: each record once, whoever is killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from pairs.jobs.logs import expected, wait_for

from mlkit import streams
from mlkit.pairs.feeds.records import PriceRecord, encode
from mlkit.streams import Message, Partition

pytestmark = pytest.mark.slow

RECORDS = 200
JOB = """
import time
state = {}

def process(data):
    time.sleep(PAUSE)
    rows = []
    for when, ticker, close in zip(data["time"], data["ticker"], data["close"]):
        state[ticker] = state.get(ticker, 0.0) + close
        rows.append({"time": when, "ticker": ticker, "total": state[ticker]})
    return rows
"""


@pytest.fixture
def log(broker):
    found = streams.open(broker)
    yield found
    found.close()


def job(folder, broker, names, pause, *more):
    """Start a job in a process of its own."""
    file = folder / f"job{pause}.py"
    file.write_text(JOB.replace("PAUSE", str(pause)))
    topic, out = names
    command = [sys.executable, "-m", "mlkit", "pairs", "job", "run", str(file), "--in", topic,
               "--out", out, "--log", broker, "--group", f"g{out}", *more]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def totals(log, topic):
    """Return what a job has committed, by ticker."""
    found = {}
    for number in range(log.topics().get(topic, 0)):
        for record in log.read(Partition(topic, number), 0, 10_000):
            row = json.loads(record.value)
            found.setdefault(row["ticker"], []).append(row["total"])
    return found


def count(log, topic):
    return sum(map(len, totals(log, topic).values()))


def test_each_record_counts_once_when_members_are_killed_and_join(broker, log, tmp_path):
    names = topic, out = f"bars{time.time_ns()}", f"out{time.time_ns()}"
    log.create(topic, 3)  # A and B in two of them
    ticks = [PriceRecord(n * 10**9, "AB"[n % 2], float(n + 1)) for n in range(RECORDS)]
    places = {"A": b"A", "B": b"B"}
    log.append(topic, [Message(encode(each), places[each.ticker]) for each in ticks])
    with job(tmp_path, broker, names, 0.2, "--batch", "3") as killed:
        wait_for(lambda: count(log, out) > 3, 180)
        killed.kill()
    assert 3 < count(log, out) < RECORDS
    done = job(tmp_path, broker, names, 0.01, "--batch", "20", "--instances", "2")
    with done:
        wait_for(lambda: count(log, out) == RECORDS, 180)
        done.terminate()
    assert totals(log, out) == expected(RECORDS)
