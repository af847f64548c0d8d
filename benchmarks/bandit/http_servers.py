"""Which HTTP server: `python benchmarks/bandit/http_servers.py [--json FILE]`.

The same application, which reads a body of 400 candidates and answers 300 bytes, on uvicorn and
on granian (`pip install granian`; by ASGI, and by its own protocol, RSGI), one worker each, under
wrk in turns. What it costs beside the prediction itself decided for uvicorn; see
docs/architecture.md.
"""

from __future__ import annotations

import argparse
import contextlib
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


async def rsgi(scope, protocol) -> None:
    """Do the same by the protocol of granian."""
    await protocol()
    protocol.response_bytes(200, [("content-type", "application/json")], ANSWER)


def commands(ports: list[int]) -> dict[str, list[str]]:
    python, here = [sys.executable, "-m"], str(Path(__file__).parent)
    uvicorn = ["uvicorn", "http_servers:app", "--app-dir", here, "--port", str(ports[0])]
    quiet = ["--no-access-log", "--lifespan", "off", "--loop", "uvloop", "--http", "httptools"]
    granian = ["granian", "--working-dir", here, "--loop", "uvloop", "--no-ws", "--http", "1"]
    asgi = ["http_servers:app", "--interface", "asginl", "--port", str(ports[1])]
    own = ["http_servers:rsgi", "--interface", "rsgi", "--port", str(ports[2])]
    return {
        "uvicorn": [*python, *uvicorn, *quiet],
        "granian, ASGI": [*python, *granian, *asgi],
        "granian, RSGI": [*python, *granian, *own],
    }


def measure(folder: Path, options: Any) -> dict[str, Any]:
    bodies, script = folder / "bodies", folder / "load.lua"
    serving.write_bodies(bodies, [f"arm-{n:012}" for n in range(serving.ARMS)], 400, 1000)
    script.write_text(serving.LUA % (bodies, "/predict"))
    ports = [servers.free_port() for _ in range(3)]
    starts = commands(ports)
    rounds: dict[str, list] = {name: [] for name in starts}
    with contextlib.ExitStack() as stack:
        pids = [
            stack.enter_context(servers.running(command, port, "/"))
            for command, port in zip(starts.values(), ports, strict=True)
        ]
        for _ in range(options.rounds):
            for name, pid, port in zip(rounds, pids, ports, strict=True):
                rounds[name].append(serving.closed_loop(pid, port, script, options))
    return {name: serving.middle(found) for name, found in rounds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
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
