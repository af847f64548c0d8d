"""Which HTTP server: `python benchmarks/bandit/http_servers.py [--json FILE]`.

The same ASGI application, which reads a body of 400 candidates and answers 300 bytes, on uvicorn
and on granian (`pip install granian`), one worker each, under wrk in turns. What it costs beside
the prediction itself decided for uvicorn; see docs/architecture.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import servers
import serving
from rich.console import Console
from rich.table import Table

ANSWER = b'{"arms":' + b"0" * 290 + b"}"
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]


async def app(scope, receive, send) -> None:
    """Read the body, and answer."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


def commands(ports: list[int]) -> dict[str, list[str]]:
    python, here = [sys.executable, "-m"], str(Path(__file__).parent)
    uvicorn = ["uvicorn", "http_servers:app", "--app-dir", here, "--port", str(ports[0])]
    quiet = ["--no-access-log", "--lifespan", "off", "--loop", "uvloop", "--http", "httptools"]
    granian = ["granian", "http_servers:app", "--working-dir", here, "--port", str(ports[1])]
    plain = ["--interface", "asginl", "--loop", "uvloop", "--no-ws", "--http", "1"]
    return {
        "uvicorn": [*python, *uvicorn, *quiet],
        "granian": [*python, *granian, *plain],
    }


def measure(folder: Path, options: Any) -> dict[str, Any]:
    bodies, script = folder / "bodies", folder / "load.lua"
    serving.write_bodies(bodies, [f"arm-{n:012}" for n in range(serving.ARMS)], 400, 1000)
    script.write_text(serving.LUA % (bodies, "/predict"))
    ports = [servers.free_port(), servers.free_port()]
    rounds: dict[str, list] = {"uvicorn": [], "granian": []}
    starts = commands(ports)
    with (
        servers.running(starts["uvicorn"], ports[0], "/") as first,
        servers.running(starts["granian"], ports[1], "/") as second,
    ):
        for _ in range(options.rounds):
            for name, pid, port in zip(rounds, (first, second), ports, strict=True):
                rounds[name].append(serving.closed_loop(pid, port, script, options))
    return {name: serving.middle(found) for name, found in rounds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options)
    table = Table(title="An application that does nothing, one worker")
    for column in ("server", "requests/s", "(range)", "server CPU us", "p99 ms"):
        table.add_column(column, justify="left" if column == "server" else "right")
    for name, row in found.items():
        spread = f"{row['slowest']:,.0f}-{row['fastest']:,.0f}"
        numbers = f"{row['cpu_us']:.0f}", f"{row['p99']:.2f}"
        table.add_row(name, f"{row['rate']:,.0f}", spread, *numbers)
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
