"""Logs of ticks, and what a job has made of them."""

from __future__ import annotations

import json
import os
import random
import time

from mlkit import streams
from mlkit.pairs.feeds.records import PriceRecord, encode
from mlkit.streams import Message, Partition
from mlkit.streams.embedded import EmbeddedLog

KILLS = int(os.environ.get("MLKIT_TEST_KILLS", "1"))
"""How often a test kills the processes that it watches, at times that it draws."""


def fill(folder, count=20, partitions=1):
    """Make a log whose `bars` have closes 1, 2, ... of the tickers A and B in turn."""
    with_ticks = [PriceRecord(n * 10**9, "AB"[n % 2], float(n + 1)) for n in range(count)]
    log = streams.open(folder)
    log.create("bars", partitions)
    log.append("bars", [Message(encode(each), each.ticker.encode()) for each in with_ticks])
    log.close()


def content(folder, topic="out"):
    """Return what a topic holds, by ticker."""
    log = streams.open(folder)
    found = {}
    for number in range(log.topics().get(topic, 0)):
        for record in log.read(Partition(topic, number), 0, 10_000):
            row = json.loads(record.value)
            found.setdefault(row["ticker"], []).append(row)
    log.close()
    return found


def totals(folder):
    return {key: [row["total"] for row in rows] for key, rows in content(folder).items()}


def done(folder):
    """Return how many records a job has written."""
    return sum(map(len, content(folder).values()))


def expected(count):
    closes = {"A": range(1, count + 1, 2), "B": range(2, count + 1, 2)}
    return {key: [float(sum(each[: n + 1])) for n in range(len(each))]
            for key, each in closes.items()}  # fmt: skip


def wait_for(condition, seconds=180):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kill_at_random(process, seed):
    """Kill a process a random part of a tenth of a second from now."""
    time.sleep(random.Random(seed).random() / 10)
    process.kill()
    process.wait()


class Crash(BaseException):
    """The process is gone: nothing handles it."""


def crash_at(monkeypatch, number, torn):
    """Let the write of that number, from now on, end the process before it or in the midst."""
    calls = iter(range(10**9))
    put = EmbeddedLog._put

    def crashing(log, frame):
        if next(calls) == number:
            put(log, frame[: int(len(frame) * torn)])
            raise Crash
        put(log, frame)

    monkeypatch.setattr(EmbeddedLog, "_put", crashing)
