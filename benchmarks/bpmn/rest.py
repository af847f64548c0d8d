"""Durable instances of ten script tasks: started over REST, beside the same from Python.

    python benchmarks/bpmn/rest.py [--instances 400] [--json]

Both run in this order, in turns, on the same machine: `Session.begin` and `advance` of 32
instances at a time, and `POST /api/v1/instances` by 32 clients' connections in flight to a server
of the same settings. The figure is the ratio of the two.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import requests

from mlkit.bpmn import Client
from mlkit.bpmn.runtime.diagrams import load
from mlkit.bpmn.runtime.session import Session

IN_FLIGHT = 32
TASKS = 10
PATIENCE = 60.0
_INTERVAL = 0.1
# Seconds between two looks at how many have ended: each takes some ms of the server's time.


def drawing() -> str:
    """Return a diagram of ten scripts in sequence."""
    ids = [f"t{n}" for n in range(TASKS)]
    body = "".join(
        f'<scriptTask id="{each}" scriptFormat="python"><script>n = n + 1</script></scriptTask>'
        for each in ids
    )
    ends = ["s", *ids, "e"]
    flows = "".join(
        f'<sequenceFlow id="f{n}" sourceRef="{a}" targetRef="{b}"/>'
        for n, (a, b) in enumerate(itertools.pairwise(ends))
    )
    return (
        '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d">'
        f'<process id="ten" isExecutable="true"><startEvent id="s"/><endEvent id="e"/>'
        f"{body}{flows}</process></definitions>"
    )


def from_python(folder: Path, path: Path, count: int) -> float:
    """Return the instances per second of sessions."""
    with Session(folder, create=True) as session:
        diagram = load(path)
        session.advance([session.begin(diagram, {"n": 0})])  # The workers are warm.
        began = time.perf_counter()
        for at in range(0, count, IN_FLIGHT):
            rows = [session.begin(diagram, {"n": 0}) for _ in range(min(IN_FLIGHT, count - at))]
            session.advance(rows)
        return count / (time.perf_counter() - began)


def ended(session: requests.Session, url: str) -> int:
    """Return how many instances of a server have completed."""
    text = session.get(f"{url}/metrics", timeout=PATIENCE).text
    found = re.search(r'bpmn_instances_ended_total\{state="completed"\} (\S+)', text)
    return int(float(found[1])) if found else 0


def over_rest(url: str, count: int) -> float:
    """Return the instances per second of a server."""
    body = json.dumps({"process": "ten", "variables": {"n": 0}}).encode()
    left = iter(range(count))  # Its `next` is one step for all threads.

    def start(_: int) -> None:
        parts = urlsplit(url)
        client = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
        for _ in left:
            client.request("POST", "/api/v1/instances", body, {"Content-Type": "application/json"})
            response = client.getresponse()
            if response.status != 201:
                raise SystemExit(f"{response.status}: {response.read()[:300]!r}")
            response.read()
        client.close()

    with requests.Session() as session, ThreadPoolExecutor(IN_FLIGHT) as threads:
        before = ended(session, url)
        began = time.perf_counter()
        list(threads.map(start, range(IN_FLIGHT)))
        while ended(session, url) - before < count:
            time.sleep(_INTERVAL)
        return count / (time.perf_counter() - began)


def main() -> None:
    """Run both in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "ten.bpmn"
        path.write_text(drawing())
        command = [sys.executable, "-m", "mlkit", "bpmn", "serve", "--port", "0"]
        server = subprocess.Popen(
            [*command, "--state", str(folder / "served")], stderr=subprocess.PIPE, text=True
        )
        try:
            assert server.stderr is not None
            url = re.search(r"http://\S+(?=;)", server.stderr.readline())[0]  # type: ignore[index]
            quiet = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
            with Client(url) as client:
                client.deploy([path])
                client.start("ten", {"n": 0})
            found: dict[str, list[float]] = {"python": [], "rest": []}
            for turn in range(chosen.rounds):
                found["python"].append(from_python(folder / f"own{turn}", path, chosen.instances))
                found["rest"].append(over_rest(url, chosen.instances))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
            quiet.wait()
    medians = {name: statistics.median(values) for name, values in found.items()}
    medians["ratio"] = medians["rest"] / medians["python"]
    if chosen.json:
        print(json.dumps(medians))
    else:
        print(f"{TASKS} scripts, durable, {IN_FLIGHT} in flight, instances per second")
        for name, value in medians.items():
            print(f"{name:>8}  {value:.2f}")


if __name__ == "__main__":
    main()
