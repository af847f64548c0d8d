"""Serving beside its peers: `python benchmarks/bandit/serving.py [--json FILE]`.

400 distinct random candidates a request out of 100,000 arms, JSON over HTTP, `wrk` and the server
on the same cores. The servers take turns, so that a swing of the machine meets all of them. Then an
open loop (open_loop.cpp): the time of a request from when it should have left.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import peers
import servers
from rich.console import Console
from rich.table import Table

ARMS, BODIES = 100_000, 4_000
OWN = "mlkit"
HERE = Path(__file__).parent
LUA = """
local headers = {["Content-Type"] = "application/json", ["Host"] = "localhost"}
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = wrk.format("POST", "%s", headers, line) end
local at = 0
request = function() at = at %% #bodies + 1; return bodies[at] end
"""


def write_posteriors(path: Path) -> list[str]:
    draw = random.Random(1)
    arms = [f"arm-{number:012}" for number in range(ARMS)]
    with path.open("w") as stream:
        stream.write("context,arm,a,b,pulls\n")
        for arm in arms:
            shown = int(10 ** draw.uniform(0, 5))
            clicks = sum(draw.random() < 0.03 for _ in range(min(shown, 200))) * shown // 200
            stream.write(f",{arm},{1 + clicks},{1 + shown - clicks},{shown}\n")
    return arms


def write_bodies(path: Path, arms: list[str], candidates: int, count: int) -> None:
    draw = random.Random(candidates)
    lines = (
        json.dumps({"candidates": draw.sample(arms, candidates), "k": 10}) for _ in range(count)
    )
    path.write_text("".join(f"{line}\n" for line in lines))


def wrk(port: int, script: Path, seconds: int, connections: int) -> dict[str, float]:
    """Run a closed loop and read wrk's report."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s"]
    command += ["-s", str(script), f"http://127.0.0.1:{port}/predict"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told or "Socket errors" in told:
        sys.exit(told)
    scale = {"us": 1e-3, "ms": 1.0, "s": 1e3}

    def latency(percent: str) -> float:
        number, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", told).groups()
        return float(number) * scale[unit]

    requests = int(re.search(r"(\d+) requests in", told)[1])
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", told)[1])
    return {"requests": requests, "rate": rate, "p50": latency("50"), "p99": latency("99")}


def closed_loop(pid: int, port: int, script: Path, options: Any) -> dict[str, float]:
    before = servers.cpu_seconds(pid)
    found = wrk(port, script, options.seconds, options.connections)
    spent = servers.cpu_seconds(pid) - before
    return found | {"cpu_us": spent / found["requests"] * 1e6}


def middle(rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Return medians of the rounds, and the range of their rates."""
    found: dict[str, Any] = {
        key: statistics.median(each[key] for each in rounds)
        for key in ("rate", "p50", "p99", "cpu_us")
    }
    rates = [each["rate"] for each in rounds]
    return found | {"slowest": min(rates), "fastest": max(rates)}


def compile_open_loop(folder: Path) -> Path:
    target = folder / "open_loop"
    compiler = shutil.which("g++") or sys.exit("serving.py needs g++")
    source = HERE / "open_loop.cpp"
    subprocess.run([compiler, "-O2", "-std=c++20", str(source), "-o", str(target)], check=True)
    return target


def open_loop(tool: Path, port: int, bodies: Path, rate: float, seconds: float) -> dict[str, float]:
    words = [str(port), "/predict", str(bodies), str(rate), str(seconds), "64"]
    run = subprocess.run([tool, *words], capture_output=True, text=True, check=False)
    return json.loads(run.stdout) if run.returncode == 0 else sys.exit(run.stderr)


def measure(folder: Path, options: Any) -> dict[str, Any]:
    posteriors, script = folder / "posteriors.csv", folder / "load.lua"
    arms = write_posteriors(posteriors)
    bodies, large = folder / "bodies", folder / "large"
    write_bodies(bodies, arms, 400, BODIES)
    write_bodies(large, arms, 2000, BODIES // 10)
    script.write_text(LUA % (bodies, "/predict"))
    tool = compile_open_loop(folder)
    port = servers.free_port()
    own = servers.mlkit(posteriors, folder / "state", port, "--workers", "2")
    found = [(peers.Peer(OWN, own, "/health", {}), port)]
    found += peers.built(posteriors, iter(servers.free_port, None))
    rounds: dict[str, list] = {peer.name: [] for peer, _ in found}
    with contextlib.ExitStack() as stack:
        pids = [stack.enter_context(running(*each)) for each in found]
        for _ in range(options.rounds):
            for (peer, at), pid in zip(found, pids, strict=True):
                wrk(at, script, 1, options.connections)  # what slept wakes up
                rounds[peer.name].append(closed_loop(pid, at, script, options))
    with running(*found[0]):
        seconds = 2 * options.seconds
        loops = {
            "7,500/s of 400": open_loop(tool, port, bodies, 7_500, seconds),
            "200/s of 2,000": open_loop(tool, port, large, 200, seconds),
        }
    return {
        "closed": {name: middle(found) for name, found in rounds.items()},
        "open": loops,
        "load": os.getloadavg()[0],
    }


def running(peer: peers.Peer, port: int) -> contextlib.AbstractContextManager[int]:
    return servers.running(peer.command, port, peer.ready, **peer.variables)


def show(found: dict[str, Any]) -> None:
    console = Console()
    table = Table(title="Closed loop, wrk, 400 candidates of 100,000 arms")
    for column in ("server", "requests/s", "(range)", "M predictions/s", "p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "server" else "right")
    table.add_column("server CPU us", justify="right")
    for name, row in found["closed"].items():
        table.add_row(
            name,
            f"{row['rate']:,.0f}",
            f"{row['slowest']:,.0f}-{row['fastest']:,.0f}",
            f"{row['rate'] * 400 / 1e6:.2f}",
            f"{row['p50']:.2f}",
            f"{row['p99']:.2f}",
            f"{row['cpu_us']:.0f}",
        )
    console.print(table)
    for name, goal in peers.GOALS.items():
        if name in found["closed"]:
            own, other = found["closed"][OWN], found["closed"][name]
            ratio, cpu = own["rate"] / other["rate"], other["cpu_us"] / own["cpu_us"]
            console.print(
                f"{ratio:.1f} times as many requests as {name} (goal: {goal}), "
                f"at 1/{cpu:.1f} of its CPU time each"
            )
    table = Table(title="mlkit, open loop, ms from the intended time")
    for column in ("load", "sent/s", "p50", "p90", "p99", "p99.9", "max"):
        table.add_column(column, justify="right")
    for name, row in found["open"].items():
        times = (f"{row[key]:.2f}" for key in ("p50", "p90", "p99", "p999", "max"))
        table.add_row(name, f"{row['rate']:,.0f}", *times)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    # Of 16 connections a worker often finds one request at a wake-up; of 64 it finds several.
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options)
    show(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
