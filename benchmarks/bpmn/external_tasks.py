"""External tasks fetched and completed a second: the same client, mlkit and Camunda 7.24.

    python benchmarks/bpmn/external_tasks.py [--instances 2000] [--workers 8] [--json out.json]

Each server, one after the other: the diagram is deployed, instances are started over REST by as
many connections as there are workers, and then fetched, 30 at a time, and completed, each with
one variable. mlkit keeps everything on disk, synced before it answers; Camunda has H2 in memory.
Camunda comes from Maven (tests/bpmn/server/engine_rest/camunda); without Java and Maven the
benchmark fails.
A round of `--warm` instances goes before, for Java's compiler.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).parent
CAMUNDA = HERE.parents[1] / "tests/bpmn/server/engine_rest/camunda"
AT_ONCE = 30
PATIENCE = 120.0
DIAGRAM = b"""<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" targetNamespace="mlkit"
 xmlns:camunda="http://camunda.org/schema/1.0/bpmn" id="d">
<process id="ext" isExecutable="true" camunda:historyTimeToLive="P1D"><startEvent id="s"/>
<sequenceFlow id="f1" sourceRef="s" targetRef="t"/>
<serviceTask id="t" camunda:type="external" camunda:topic="work"/>
<sequenceFlow id="f2" sourceRef="t" targetRef="e"/><endEvent id="e"/></process></definitions>"""


class Client:
    """One connection to a server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.http = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)

    def post(self, path: str, body: bytes, kind: str = "application/json") -> object:
        self.http.request("POST", f"/engine-rest{path}", body, {"Content-Type": kind})
        response = self.http.getresponse()
        content = response.read()
        if response.status >= 300:
            raise SystemExit(f"{path}: {response.status}: {content[:300]!r}")
        return json.loads(content) if content else None

    def deploy(self) -> None:
        mark = uuid.uuid4().hex.encode()
        head = b'Content-Disposition: form-data; name="file"; filename="ext.bpmn"\r\n\r\n'
        body = b"--%b\r\n%b%b\r\n--%b--\r\n" % (mark, head, DIAGRAM, mark)
        self.post("/deployment/create", body, f"multipart/form-data; boundary={mark.decode()}")


def start(client: Client, count: int) -> int:
    for number in range(count):
        body = {"variables": {"x": {"value": number, "type": "Integer"}}}
        client.post("/process-definition/key/ext/start", json.dumps(body).encode())
    return count


def work(client: Client, name: str) -> int:
    """Fetch and complete until there is nothing more."""
    topics = [{"topicName": "work", "lockDuration": 60_000}]
    fetch = json.dumps({"workerId": name, "maxTasks": AT_ONCE, "topics": topics}).encode()
    done = json.dumps({"workerId": name, "variables": {"y": {"value": 1}}}).encode()
    count = 0
    while tasks := client.post("/external-task/fetchAndLock", fetch):
        assert isinstance(tasks, list)
        for each in tasks:
            client.post(f"/external-task/{each['id']}/complete", done)
        count += len(tasks)
    return count


def together(url: str, workers: int, do: Callable[[Client, int], int]) -> tuple[int, float]:
    """Return how much several connections did, and in how many seconds."""
    done = [0] * workers

    def one(number: int) -> None:
        done[number] = do(Client(url), number)

    threads = [threading.Thread(target=one, args=(each,)) for each in range(workers)]
    begin = time.perf_counter()
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return sum(done), time.perf_counter() - begin


def measured(url: str, instances: int, warm: int, workers: int) -> dict[str, float]:
    Client(url).deploy()
    found = {}
    for count in (warm, instances):
        share = count // workers
        starts, seconds = together(url, workers, lambda client, _: start(client, share))  # noqa: B023
        found["starts/s"] = starts / seconds
        tasks, seconds = together(url, workers, lambda client, n: work(client, f"w{n}"))
        if tasks != starts:
            raise SystemExit(f"{url}: {starts} tasks were offered, {tasks} completed")
        found["tasks/s"] = tasks / seconds
    return {name: round(each, 1) for name, each in found.items()}


# -- servers -------------------------------------------------------------------------------


def wait(what: str, condition: Callable[[], str | None], process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{what} has ended")
        if found := condition():
            return found
        time.sleep(0.1)
    raise SystemExit(f"{what} does not answer")


@contextlib.contextmanager
def running(command: list[str], folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        yield process, log
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


@contextlib.contextmanager
def mlkit(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "mlkit", "bpmn", "serve", "--port", "0", "--state", "state"]
    with running(command, folder) as (process, log):

        def url() -> str | None:
            found = re.search(r" at (http://[\d.:]+);", log.read_text())
            return found[1] if found else None

        yield wait("mlkit bpmn serve", url, process)


@contextlib.contextmanager
def camunda(folder: Path) -> Iterator[str]:
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise SystemExit(f"Camunda is missing: {program} is not installed")
    copied = shutil.copytree(CAMUNDA, folder / "server")
    maven = ["mvn", "-q", "-B", "compile", "dependency:copy-dependencies", "-DoutputDirectory=lib"]
    if subprocess.run(maven, cwd=copied, check=False).returncode:
        raise SystemExit("Camunda is missing: Maven cannot fetch it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        "java", "-cp", f"{copied}/target/classes:{copied}/lib/*", "mlkit.Server",
        "--server.address=127.0.0.1", f"--server.port={port}",
        "--spring.datasource.url=jdbc:h2:mem:c;DB_CLOSE_DELAY=-1",
        "--camunda.bpm.auto-deployment-enabled=false",
    ]  # fmt: skip
    with running(command, folder) as (process, _):

        def url() -> str | None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return f"http://127.0.0.1:{port}"
            return None

        yield wait("Camunda", url, process)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=2000)
    parser.add_argument("--warm", type=int, default=400)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    for server in (mlkit, camunda):
        with tempfile.TemporaryDirectory() as name, server(Path(name)) as url:
            found[server.__name__] = measured(url, asked.instances, asked.warm, asked.workers)
        print(f"{server.__name__}: {found[server.__name__]}")
    ratios = {
        name: round(each / found["camunda"][name], 2) for name, each in found["mlkit"].items()
    }
    print(f"mlkit / Camunda 7.24: {ratios}")
    if asked.json:
        asked.json.write_text(json.dumps({**found, "ratio": ratios}, indent=2) + "\n")


if __name__ == "__main__":
    main()
