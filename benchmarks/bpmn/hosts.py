"""Two hosts on one PostgreSQL: how much more they do than one, and how fast one follows another.

    python benchmarks/bpmn/hosts.py [--instances 400] [--workers 8] [--sleep 0.1] [--kills 3]
                                    [--json FILE]

Work that costs processors elsewhere: each instance has one external task, whose worker sleeps.
Each host has as many workers as the other. Then a host with running scripts is killed, all its
processes at once, while another one waits: how long until a script runs again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path

from external_tasks import Client, start, together
from served import Served, load, new_schema, postgresql, serving, wait

from mlkit import bpmn

SCRIPT = """
import time
with open({ran!r}, "a") as file:
    file.write(f"{{execution.attempt}}\\n")
time.sleep(600)
"""
LONG = """<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d">
<process id="long" isExecutable="true"><startEvent id="s"/><sequenceFlow id="f" sourceRef="s"
targetRef="t"/><scriptTask id="t"><script>{script}</script></scriptTask></process></definitions>"""


def work(url: str, name: str, sleep: float, left: list[int]) -> None:
    """Fetch, sleep and complete, one task after the other, until all are done."""
    client = Client(url)
    topics = [{"topicName": "work", "lockDuration": 60_000}]
    ask = {"workerId": name, "maxTasks": 1, "topics": topics, "asyncResponseTimeout": 500}
    fetch, done = json.dumps(ask).encode(), json.dumps({"workerId": name}).encode()
    while left:
        found = client.post("/external-task/fetchAndLock", fetch)
        assert isinstance(found, list)
        for each in found:
            time.sleep(sleep)
            client.post(f"/external-task/{each['id']}/complete", done)
            left.pop()


def rate(urls: list[str], count: int, workers: int, sleep: float) -> float:
    """Return how many tasks a second the workers of some hosts complete."""
    Client(urls[0]).deploy()
    begun, _ = together(urls[0], workers, lambda client, _: start(client, count // workers))
    left = list(range(begun))
    threads = [
        threading.Thread(target=work, args=(url, f"{url} {n}", sleep, left), daemon=True)
        for url in urls
        for n in range(workers)
    ]
    begin = time.perf_counter()
    for each in threads:
        each.start()
    wait("all tasks are done", lambda: not left)
    return begun / (time.perf_counter() - begin)


def takeover(folder: Path, journal: str) -> float:
    """Return how many seconds after the death of a host its script runs again."""
    ran, diagram = folder / "ran", folder / "long.bpmn"
    folder.mkdir()
    diagram.write_text(LONG.format(script=SCRIPT.format(ran=str(ran))))
    victim = Served(folder / "state", journal)
    try:
        with bpmn.Client(victim.url) as client:
            client.deploy([diagram])
            client.start("long", {})
        wait("a script runs", ran.exists)
        with serving(folder / "state", journal, "--drain-timeout", "0"):
            victim.kill()
            begin = time.perf_counter()
            wait("it runs again", lambda: ran.read_text().count("\n") > 1)
            return time.perf_counter() - begin
    finally:
        victim.stop()


def main() -> None:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=400)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--sleep", type=float, default=0.1)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    measure = (chosen.instances, chosen.workers, chosen.sleep)
    with tempfile.TemporaryDirectory(prefix="mlkit-") as name:
        folder = Path(name)
        with postgresql(folder) as server:
            journal = new_schema(server)
            with serving(folder / "a", journal) as one:
                alone = rate([one.url], *measure)
                with serving(folder / "a", journal) as two:
                    together = rate([one.url, two.url], *measure)
            taken = [takeover(folder / f"kill{n}", new_schema(server)) for n in range(chosen.kills)]
    found = {"one": alone, "two": together, "ratio": together / alone, "load": load()}
    if taken:
        found |= {"takeover": statistics.median(taken), "longest takeover": max(taken)}
    for each, value in found.items():
        print(f"{each:>16} {value:8.2f}")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
