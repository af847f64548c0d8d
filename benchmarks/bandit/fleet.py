"""A fleet of 3 hosts on one Redis: `python benchmarks/bandit/fleet.py [--json FILE]`.

Feedback events a second that the fleet acknowledges: each host takes batches of 100 over some
connections, all at once, and applies the events of all three. Meanwhile a probe sends an event to
one host after the other and asks all hosts until the last one counts it. Then the same at a part of
that load (`--share`), which comes at its own pace, and without load. Beside them the processor time
of an event by process: `wrk`, Redis, workers (HTTP), writers (they append and apply), and the rest
of the hosts. Needs `redis-server` and `wrk`; the load, the hosts and Redis share the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import servers
import serving
from feedback import BATCH, LUA
from rich.console import Console
from rich.table import Table

HOSTS = 3
PROBE = "arm-000000000000"
"""An arm that the load does not reward in the probe's context."""


PACED = """
delay = function() return %d end
"""
"""Milliseconds that a connection of wrk waits before each request."""


@contextlib.contextmanager
def redis(folder: Path, fsync: str) -> Iterator[tuple[str, int]]:
    """Run a Redis that logs, and yield its URL and process id."""
    program = shutil.which("redis-server") or sys.exit("fleet.py needs redis-server")
    socket = folder / "redis.sock"
    place = ["--port", "0", "--unixsocket", str(socket), "--dir", str(folder)]
    log = ["--appendonly", "yes", "--appendfsync", fsync, "--save", ""]
    process = subprocess.Popen([program, *place, *log], stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not socket.exists():
            if time.monotonic() > until:
                sys.exit("redis-server does not start")
            time.sleep(0.02)
        yield f"unix://{socket}", process.pid
    finally:
        process.terminate()
        process.wait(30)


class Asker:
    """A connection to a host."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, method: str, path: str, document: Any = None) -> Any:
        body = None if document is None else json.dumps(document)
        self._connection.request(method, path, body)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            sys.exit(f"{path}: {answer.status} {text.decode()}")
        return json.loads(text)

    def pulls(self) -> int:
        return self.ask("GET", f"/arms/{PROBE}")["pulls"]


def probe(ports: list[int], stop: threading.Event, pause: float) -> list[float]:
    """Return for each event of a probe the seconds until the last host has counted it.

    Only the probe rewards its arm.
    """
    askers = [Asker(port) for port in ports]
    known, found = askers[0].pulls(), []
    while not stop.is_set():
        document = {"event_id": f"probe-{os.getpid()}-{known}", "context": "p", "arm": PROBE}
        begun = time.perf_counter()
        askers[known % len(askers)].ask("POST", "/feedback", document | {"reward": 1})
        known += 1
        for asker in askers:
            while asker.pulls() < known:
                # Asking costs a host as much as many events: a tenth of the time is exact enough.
                time.sleep(max(0.0005, 0.1 * (time.perf_counter() - begun)))
        found.append(time.perf_counter() - begun)
        time.sleep(pause)
    return found


def probed(ports: list[int], during: Any) -> tuple[Any, list[float]]:
    """Probe while something is done; return what it returns, and the times of the probe."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        probing = pool.submit(probe, ports, stop, 0.02)
        try:
            done = during()
        finally:
            stop.set()
        return done, probing.result()


def loaded(
    folder: Path, ports: list[int], options: Any, turn: int, at_most: float = math.inf
) -> tuple[float, float]:
    """Load all hosts; return the events a second that they acknowledge, and those of all time.

    Args:
        at_most: Events a second to send, if hosts can take so many.
    """
    pause = round(1000 * BATCH * HOSTS * options.connections / at_most)

    def load(host: int) -> dict[str, float]:
        script = folder / f"feedback-{host}.lua"
        # Arms from the second on: the first is the probe's.
        text = LUA % ((turn * HOSTS + host) * 100_000_000) + (PACED % pause if pause else "")
        script.write_text(text.replace("i * 997", "(i + 1) * 997"))
        return serving.wrk(ports[host], script, options.seconds, options.connections)

    with ThreadPoolExecutor(HOSTS) as pool:
        found = list(pool.map(load, range(HOSTS)))
    rate, count = (sum(each[key] for each in found) * BATCH for key in ("rate", "requests"))
    return rate, count


def spent(redis: int, hosts: list[int]) -> dict[str, float]:
    """Return the processor time of each kind of process so far, in seconds.

    Args:
        redis: The process id of Redis.
        hosts: Those of the hosts, each of which has started its writer first.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {"wrk": children.ru_utime + children.ru_stime, "redis": servers.cpu_seconds(redis)}
    for host in hosts:
        supervisor, writer, *workers = servers.family(host)
        alone = {"writers": [writer], "workers": workers, "supervisors": [supervisor]}
        for kind, pids in alone.items():
            found[kind] = found.get(kind, 0.0) + sum(map(servers.own_cpu_seconds, pids))
    return found


def quantiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    places = {"p50": 0.5, "p99": 0.99}
    found = {name: ordered[int(at * (len(ordered) - 1))] * 1e3 for name, at in places.items()}
    return found | {"probes": len(ordered)}


def measure(folder: Path, options: Any) -> dict[str, Any]:
    posteriors = folder / "posteriors.csv"
    serving.write_posteriors(posteriors)
    ports = [servers.free_port() for _ in range(HOSTS)]
    with redis(folder, options.fsync) as (url, server), contextlib.ExitStack() as running:
        hosts = []
        for host, port in enumerate(ports):
            own = ["--workers", "1", "--store", url]
            command = servers.mlkit(posteriors, folder / f"state-{host}", port, *own)
            hosts.append(running.enter_context(servers.running(command, port, "/health")))

        def turn(number: int, at_most: float = math.inf) -> dict[str, Any]:
            before = spent(server, hosts)
            (rate, events), times = probed(
                ports, lambda: loaded(folder, ports, options, number, at_most)
            )
            after = spent(server, hosts)
            each = {kind: (after[kind] - before[kind]) / events * 1e6 for kind in after}
            return {"events": rate, "cpu_us": sum(each.values())} | quantiles(times) | each

        rounds = [turn(number) for number in range(options.rounds)]
        full = middle(rounds)
        paced = turn(options.rounds, options.share * full["events"])
        _, times = probed(ports, lambda: time.sleep(options.seconds))
    return {
        "loaded": full,
        "paced": paced,
        "idle": quantiles(times),
        "fsync": options.fsync,
        "load": os.getloadavg()[0],
    }


def middle(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    found = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
    rates = [each["events"] for each in rounds]
    return found | {"slowest": min(rates), "fastest": max(rates)}


def show(found: dict[str, Any]) -> None:
    table = Table(title=f"{HOSTS} hosts on one Redis, appendfsync {found['fsync']}")
    for column in ("", "events/s", "(range)", "CPU us an event", "on all: p50 ms", "p99 ms"):
        table.add_column(column, justify="right")
    names = {"loaded": "batches of 100", "paced": "at their own pace", "idle": "the probe alone"}
    for key, name in names.items():
        row = found[key]
        spread = f"{row['slowest']:,.0f}-{row['fastest']:,.0f}" if "slowest" in row else ""
        about = [f"{row['events']:,.0f}", spread, f"{row['cpu_us']:.1f}"] if "events" in row else []
        times = [f"{row['p50']:.1f}", f"{row['p99']:.1f}"]
        table.add_row(name, *(about or [""] * 3), *times)
    Console().print(table)
    kinds = ("wrk", "redis", "workers", "writers", "supervisors")
    shares = ", ".join(f"{kind} {found['loaded'][kind]:.1f}" for kind in kinds)
    Console().print(f"CPU us an event by process: {shares}")
    Console().print(f"load of the machine: {found['load']:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.5, help="of the load that comes paced")
    parser.add_argument("--fsync", choices=["everysec", "always"], default="everysec")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # on a disk, not in memory
        found = measure(Path(folder), options)
    show(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
