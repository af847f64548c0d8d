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
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

import rest
import served

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

    def told_of(self, instance: str) -> tuple[float, float]:
        """Wait until all were told of an instance's end; return updates a second, most and least.

        Counted since the last time.
        """
        self._end.send(instance)
        return tuple(self._take("told"))  # type: ignore[return-value]

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
        asyncio.run(_watch_all(url, count, orders))
    except Exception as error:  # told to the one who measures
        orders.send(f"a watcher failed: {error!r}")


async def _watch_all(url: str, count: int, orders: Connection) -> None:
    """Read all connections until the other end says None."""
    updates, seen = [0] * count, [b""] * count

    async def read(number: int, reader: asyncio.StreamReader) -> None:
        while text := await reader.read(1 << 16):
            updates[number] += text.count(b"event: changed")
            seen[number] = (seen[number] + text)[-100_000:]
        raise ValueError("the server has ended a watcher's connection")

    streams = [await _connect(url) for _ in range(count)]
    async with asyncio.TaskGroup() as tasks:
        reading = [tasks.create_task(read(*each)) for each in enumerate(s[0] for s in streams)]
        began = time.monotonic()
        orders.send([])
        while instance := await asyncio.to_thread(orders.recv):
            last = f'"instance":"{instance}"'.encode()
            while not all(_says_ended(each, last) for each in seen):
                await asyncio.sleep(0.05)
            seconds = time.monotonic() - began
            # The first of a round comes at once; what counts is how often the next ones follow it.
            orders.send([(max(updates) - 1) / seconds, (min(updates) - 1) / seconds])
            updates[:], seen[:], began = [0] * count, [b""] * count, time.monotonic()
        for each in reading:
            each.cancel()
    for _, writer in streams:
        writer.close()


async def _connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for all changes, and wait for the beginning of the answer."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise ValueError(head)
    await reader.readuntil(b"retry: 2000\n\n")
    return reader, writer


def _says_ended(text: bytes, instance: bytes) -> bool:
    at = text.rfind(instance)
    return at >= 0 and b'"state":"completed"' in text[at : at + 300]


def peak(process: int) -> float:
    """Return the most memory that a process and its children had, each by itself, in MB."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    status = Path(f"/proc/{process}/status").read_text()
    kilobytes = int(status.split("VmHWM:")[1].split()[0])
    return kilobytes / 1000 + sum(peak(int(each)) for each in children)


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
            alone, beside, most, least = [], [], 0.0, 0.0
            for _ in range(chosen.rounds):
                alone.append(rest.over_rest(server.url, chosen.instances))
                watchers = Watchers(server.url, chosen.watchers)
                beside.append(rest.over_rest(server.url, chosen.instances))
                last = client.start("ten", {"n": 0})
                most, least = watchers.told_of(str(last["instance"]))
                watchers.close()
            memory = peak(server.process.pid)
    ratios = [b / a for a, b in zip(alone, beside, strict=True)]
    found = {
        "alone": statistics.median(alone), "watched": statistics.median(beside),
        "ratio": statistics.median(ratios), "ratios": ratios, "megabytes": memory,
        "most_updates": most, "least_updates": least, "load": served.load(),
    }  # fmt: skip
    if chosen.json:
        print(json.dumps(found))
        return
    print(f"{chosen.watchers} watchers, {rest.TASKS} scripts, durable, {rest.IN_FLIGHT} in flight")
    print(f"alone    {found['alone']:8.1f} instances/s (median of {chosen.rounds})")
    print(f"watched  {found['watched']:8.1f} instances/s")
    spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
    print(f"ratio    {found['ratio']:8.2f} ({spread})")
    print(f"memory   {memory:8.0f} MB, the server and its workers")
    print(f"updates  {least:.2f} to {most:.2f} a second and watcher (at most {MOST_OFTEN:.0f})")
    print(f"load     {found['load']:8.1f}")


if __name__ == "__main__":
    main()
