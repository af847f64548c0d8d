"""Jobs and live runs on Apache Kafka itself: each record once, whoever is killed."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time

import pytest
from pairs.backtests import PAIRS, SETTINGS
from pairs.jobs.logs import expected, wait_for
from pairs.live_runs import begin, plan_of, records_of, verdict
from pairs.markets import cointegrated

from mlkit import streams
from mlkit.pairs.feeds.records import PriceRecord, encode
from mlkit.pairs.feeds.topic import TopicFeed
from mlkit.pairs.live.run import Run
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


@contextlib.contextmanager
def job(folder, broker, names, pause, *more):
    """Run a job in a process of its own; whatever happens, it ends with the block."""
    file = folder / f"job{pause}.py"
    file.write_text(JOB.replace("PAUSE", str(pause)))
    topic, out = names
    command = [sys.executable, "-m", "mlkit", "pairs", "job", "run", str(file), "--in", topic,
               "--out", out, "--log", broker, "--group", f"g{out}", *more]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield process
        process.wait(180)
    finally:
        process.kill()
        process.wait(180)


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
    # A minute for all: on a busy machine it takes seconds to see that some are there.
    with job(tmp_path, broker, names, 1.0, "--batch", "3") as killed:
        wait_for(lambda: count(log, out) > 3, 180)
        killed.kill()
    assert 3 < count(log, out) < RECORDS
    with job(tmp_path, broker, names, 0.01, "--batch", "20", "--instances", "2") as done:
        wait_for(lambda: count(log, out) == RECORDS, 180)
        done.terminate()
    assert totals(log, out) == expected(RECORDS)


def reached(run, bars):
    """Return what is true once a run has so many bars, or has had generous time for them."""
    deadline = time.monotonic() + 180
    return lambda: run.trader.engine.bars >= bars or time.monotonic() > deadline


def test_a_live_run_from_kafka_goes_on_at_its_offset_and_verifies(broker, log, tmp_path):
    topic, market = f"prices{time.time_ns()}", cointegrated(3, bars=120)
    log.create(topic, 2)
    ticks = [Message(encode(each), each.ticker.encode()) for each in records_of(market)]
    # By partition, not by time: a bar closes when all its tickers are there.
    plan = plan_of(market, SETTINGS, PAIRS, lateness=10**18)
    folder = begin(tmp_path / "run", plan)
    half = len(ticks) // 2
    for some, bars in ((ticks[:half], 50), (ticks[half:], 110)):
        log.append(topic, some)
        run = Run(folder, TopicFeed.of_url(f"{broker}/{topic}"))
        try:
            run.go(until=reached(run, bars))
        finally:
            run.close()
    found = verdict(folder)
    assert (found.difference, found.trades > 0, found.bars >= 110) == (None, True, True)
