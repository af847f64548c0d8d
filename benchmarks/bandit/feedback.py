"""Durable feedback: `python benchmarks/bandit/feedback.py [--json FILE]`.

Events a second that the server acknowledges, in batches of 100 over several connections, each
event on disk before its answer (SQLite, `synchronous=FULL`); how many events shared a commit, and
the CPU time of the server (workers and writer) an event.
The peer is SQLite itself: the same rows, 100 a transaction, from one process without HTTP.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import servers
import serving
from rich.console import Console
from rich.table import Table

BATCH = 100
LUA = """
local headers = {["Content-Type"] = "application/json", ["Host"] = "localhost"}
local arms, number = {}, %d
for i = 0, 99 do arms[i] = string.format("arm-%%012d", i * 997) end
request = function()
  local events = {}
  for i = 1, 100 do
    number = number + 1
    events[i] = string.format(
      '{"event_id":"e-%%d","context":"u%%d","arm":"%%s","reward":%%d}',
      number, number %% 5000, arms[number %% 100], number %% 2)
  end
  return wrk.format("POST", "/feedback", headers, "[" .. table.concat(events, ",") .. "]")
end
"""


def commits(port: int) -> float:
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        told = answer.read().decode()
    return float(re.search(r"^mlkit_journal_commits_total ([\d.e+]+)", told, re.MULTILINE)[1])


def ours(folder: Path, options: Any) -> list[dict[str, float]]:
    posteriors, script = folder / "posteriors.csv", folder / "feedback.lua"
    serving.write_posteriors(posteriors)
    port = servers.free_port()
    command = servers.mlkit(posteriors, folder / "state", port, "--workers", "2")
    rounds = []
    with servers.running(command, port, "/health") as pid:
        for turn in range(options.rounds):
            script.write_text(LUA % (turn * 100_000_000))
            before = commits(port)
            found = serving.closed_loop(pid, port, script, options)
            made = commits(port) - before
            found["cpu_us"] /= BATCH
            rounds.append(
                found
                | {"events": found["rate"] * BATCH, "shared": found["requests"] * BATCH / made}
            )
    return rounds


def bare_sqlite(folder: Path, seconds: float) -> dict[str, float]:
    """Insert as many rows as fit into the time, synced every 100."""
    with sqlite3.connect(folder / "peer.sqlite", isolation_level=None) as database:
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            database.execute(f"PRAGMA {pragma}")
        database.execute("CREATE TABLE event (id TEXT PRIMARY KEY, context, arm, reward)")
        started, cpu, rows = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - started < seconds:
            batch = [(f"e-{rows + i}", "u1", "arm", 1.0) for i in range(BATCH)]
            database.execute("BEGIN")
            database.executemany("INSERT INTO event VALUES (?, ?, ?, ?)", batch)
            database.execute("COMMIT")
            rows += BATCH
        spent = time.process_time() - cpu
        return {
            "events": rows / (time.perf_counter() - started),
            "cpu_us": spent / rows * 1e6,
        }


def show(found: dict[str, Any]) -> None:
    table = Table(title="Durable feedback, batches of 100")
    for column in ("", "events/s", "(range)", "p50 ms", "p99 ms", "events a commit", "CPU us"):
        table.add_column(column, justify="right")
    row = found["mlkit"]
    table.add_row(
        "mlkit over HTTP",
        f"{row['events']:,.0f}",
        f"{row['slowest']:,.0f}-{row['fastest']:,.0f}",
        f"{row['p50']:.1f}",
        f"{row['p99']:.1f}",
        f"{row['shared']:.0f}",
        f"{row['cpu_us']:.1f}",
    )
    alone = found["sqlite"]
    table.add_row(
        "SQLite alone", f"{alone['events']:,.0f}", "", "", "", "100", f"{alone['cpu_us']:.1f}"
    )
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # on a disk, not in memory
        rounds = ours(Path(folder), options)
        peer = bare_sqlite(Path(folder), options.seconds)
    events = [each["events"] for each in rounds]
    middle = {
        key: statistics.median(each[key] for each in rounds)
        for key in ("events", "p50", "p99", "shared", "cpu_us")
    }
    middle |= {"slowest": min(events), "fastest": max(events)}
    found = {"mlkit": middle, "sqlite": peer, "load": os.getloadavg()[0]}
    show(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
