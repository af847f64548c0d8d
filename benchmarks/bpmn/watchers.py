"""A server that a thousand people watch: instances a second with and without them, and its memory.

    python benchmarks/bpmn/watchers.py [--watchers 1000] [--instances 400] [--rounds 3] [--json]

Ten scripts, durable, over REST, 32 in flight, in turns without watchers and with them: connections
that are sent all changes (`GET /api/v1/events`), read by one process, on the same cores. Each has
to be told that the last instance of a round has ended, and is told at most twice a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import rest
import served
import uvloop

from mlkit.bpmn import Client

PATIENCE = 120.0
MOST_OFTEN = 2.0
"""Updates a second that a watcher may get."""


class Watchers:
    """Connections in a process of their own, which counts what each is sent.

    Args:
        url: Of the server.
        count: How many connections.
    """

    def __init__(self, url: str, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._end, theirs = context.Pipe()
        self._process = context.Process(target=_watch, args=(url, count, theirs), daemon=True)
        self._process.start()
        self._take("watching")

    def told_of(self, instance: str) -> list[float]:
        """Wait until all were told of an instance's end.

        Returns:
            The most and the least updates a second, and the seconds of processor time of reading.
        """
        self._end.send(instance)
        return self._take("told")

    def close(self) -> None:
        """End all connections."""
        self._end.send(None)
        self._process.join(PATIENCE)

    def _take(self, what: str) -> list[float]:
        if not self._end.poll(PATIENCE):
            raise SystemExit(f"it did not happen: {what}")
        found: list[float] | str = self._end.recv()
        if isinstance(found, str):
            raise SystemExit(found)
        return found


def _watch(url: str, count: int, orders: Connection) -> None:
    try:
        uvloop.run(_watch_all(url, count, orders))
    except Exception as error:  # told to the one who measures
        orders.send(f"a watcher failed: {error!r}")


class _Watcher(asyncio.Protocol):
    """A connection that is sent all changes, read as cheaply as possible."""

    def __init__(self, gone: asyncio.Event) -> None:
        self._gone = gone
        self.texts = deque[bytes](maxlen=8)
        self.updates = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for all changes."""
        request = b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
        cast(asyncio.Transport, transport).write(request)

    def data_received(self, data: bytes) -> None:
        """Count, and keep the last ones."""
        self.updates += b"event: changed" in data
        self.texts.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that the server has ended it."""
        self._gone.set()

    def knows_the_end_of(self, instance: bytes) -> bool:
        """Return whether it was told that an instance has completed."""
        text = b"".join(self.texts)
        at = text.rfind(b'"instance":"' + instance)
        return at >= 0 and b'"state":"completed"' in text[at : at + 300]


async def _watch_all(url: str, count: int, orders: Connection) -> None:
    """Read all connections until the other end says None."""
    parts, loop, gone = urlsplit(url), asyncio.get_running_loop(), asyncio.Event()
    watchers = []
    for _ in range(count):
        connected = loop.create_connection(lambda: _Watcher(gone), parts.hostname, parts.port)
        watchers.append((await connected)[1])
    await _until(gone, lambda: all(b"retry: 2000" in b"".join(e.texts) for e in watchers))
    for each in watchers:
        each.updates = 0
    began, used = time.monotonic(), time.process_time()
    orders.send([])
    while instance := await asyncio.to_thread(orders.recv):
        name = instance.encode()
        await _until(gone, lambda: all(e.knows_the_end_of(name) for e in watchers))  # noqa: B023
        seconds = time.monotonic() - began
        # The first of a round comes at once; what counts is how often the next ones follow it.
        rates = [(each.updates - 1) / seconds for each in watchers]
        orders.send([max(rates), min(rates), time.process_time() - used])


async def _until(gone: asyncio.Event, condition: Callable[[], bool]) -> None:
    while not condition():
        if gone.is_set():
            raise ValueError("the server has ended a watcher's connection")
        await asyncio.sleep(0.05)


def processes(root: int) -> list[int]:
    """Return a process and its descendants."""
    children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    return [root, *(each for child in children for each in processes(int(child)))]


def peak(server: int) -> float:
    """Return the most memory that the processes of a server had, each by itself, in MB."""
    texts = [Path(f"/proc/{each}/status").read_text() for each in processes(server)]
    return sum(int(each.split("VmHWM:")[1].split()[0]) for each in texts) / 1000


def used(server: int) -> float:
    """Return the seconds of processor time that the processes of a server have taken."""
    texts = [Path(f"/proc/{each}/stat").read_text() for each in processes(server)]
    ticks = sum(sum(map(int, each.rpartition(")")[2].split()[11:13])) for each in texts)
    return ticks / os.sysconf("SC_CLK_TCK")


class Turn(NamedTuple):
    """One measurement.

    Attributes:
        rate: Instances a second.
        cost: Milliseconds of the server's processor time for an instance.
    """

    rate: float
    cost: float


def measure(server: served.Served, count: int) -> Turn:
    """Run instances."""
    before = used(server.process.pid)
    rate = rest.over_rest(server.url, count)
    return Turn(rate, 1000 * (used(server.process.pid) - before) / count)


def main() -> None:
    """Run in turns, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--instances", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "ten.bpmn"
        path.write_text(rest.drawing())
        with served.serving(folder / "state", None) as server, Client(server.url) as client:
            client.deploy([path])
            rest.over_rest(server.url, 32)  # the workers are warm
            alone, beside, told = [], [], []
            for _ in range(chosen.rounds):
                alone.append(measure(server, chosen.instances))
                watchers = Watchers(server.url, chosen.watchers)
                beside.append(measure(server, chosen.instances))
                last = client.start("ten", {"n": 0})
                told.append(watchers.told_of(str(last["instance"])))
                watchers.close()
            memory = peak(server.process.pid)
    ratios = [b.rate / a.rate for a, b in zip(alone, beside, strict=True)]
    most, least, reading = zip(*told, strict=True)
    found = {
        "alone": statistics.median(each.rate for each in alone),
        "watched": statistics.median(each.rate for each in beside),
        "ratio": statistics.median(ratios),
        "least_ratio": min(ratios),
        "most_ratio": max(ratios),
        "alone_ms": statistics.median(each.cost for each in alone),
        "watched_ms": statistics.median(each.cost for each in beside),
        "reading_ms": statistics.median(reading) * 1000 / chosen.instances,
        "most_updates": max(most),
        "least_updates": min(least),
        "megabytes": memory,
        "load": served.load(),
    }
    if chosen.json:
        print(json.dumps(found))
        return
    print(f"{chosen.watchers} watchers, {rest.TASKS} scripts, durable, {rest.IN_FLIGHT} in flight")
    for name in ("alone", "watched"):
        cost = f"{found[f'{name}_ms']:.2f} ms of the server's processor time each"
        print(f"{name:8} {found[name]:8.1f} instances/s, {cost}")
    spread = f"{found['least_ratio']:.2f}-{found['most_ratio']:.2f}"
    print(f"ratio    {found['ratio']:8.2f} ({spread}, {chosen.rounds} rounds)")
    print(f"reading  {found['reading_ms']:8.2f} ms of the watchers' processor time an instance")
    print(f"memory   {memory:8.0f} MB, the server and its workers")
    updates = f"{found['least_updates']:.2f}-{found['most_updates']:.2f} a second and watcher"
    print(f"updates  {updates} (at most {MOST_OFTEN:.0f})")
    print(f"load     {found['load']:8.1f}")


if __name__ == "__main__":
    main()
