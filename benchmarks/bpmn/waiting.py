"""10,000 instances that wait for people: the start of a server, lists, pages, metrics.

    python benchmarks/bpmn/waiting.py [--instances 10000] [--postgresql] [--json FILE]

Each request is made 20 times; the figures are the median and the slowest, in milliseconds. The
last two rounds are made while a writer keeps a transaction open, which nobody who reads waits for.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
from served import load, new_schema, postgresql, serving

from mlkit.bpmn.runtime.host import Host
from mlkit.bpmn.runtime.session import Session, Settings

DIAGRAM = """<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d"
 xmlns:camunda="http://camunda.org/schema/1.0/bpmn">
<process id="ask" isExecutable="true"><startEvent id="s"/><endEvent id="e"/>
<userTask id="u" camunda:candidateGroups="quants"><extensionElements><camunda:formData>
<camunda:formField id="approved" type="boolean"/></camunda:formData></extensionElements></userTask>
<sequenceFlow id="f1" sourceRef="s" targetRef="u"/>
<sequenceFlow id="f2" sourceRef="u" targetRef="e"/></process></definitions>"""
ROUNDS = 20
PATHS = {
    "instances": "/api/v1/instances?limit=100",
    "instances, by variable": "/api/v1/instances?limit=100&variable=n=77",
    "instances, by text": "/api/v1/instances?limit=100&text=key-77",
    "tasks": "/api/v1/tasks?limit=100",
    "tasks of a group": "/api/v1/tasks?limit=100&group=quants",
    "tasks with forms": "/api/v1/tasks?limit=100&forms=true",
    "metrics": "/metrics",
    "page of instances": "/instances",
    "page of tasks": "/tasks",
    "home": "/",
}


def fill(state: Path, journal: str | None, count: int) -> float:
    """Begin instances and let them come to their task; return the seconds."""
    path = state.parent / "ask.bpmn"
    path.write_text(DIAGRAM)
    settings = Settings(journal=journal)
    begin = time.perf_counter()
    with Session(state, settings, create=True) as session:
        from mlkit.bpmn.runtime.diagrams import load as diagram_of

        diagram = diagram_of(path)
        host = Host(state, settings)
        host.start()
        for number in range(count):
            session.begin(diagram, {"n": number % 1000}, key=f"key-{number}")
        while session.journal.index.task_count() < count:
            time.sleep(0.05)
        host.join()
    return time.perf_counter() - begin


@contextlib.contextmanager
def writing(state: Path, journal: str | None) -> Iterator[None]:
    """Hold a transaction that has written."""
    with Session(state, Settings(journal=journal)) as session, session.journal.transaction():
        session.journal.stores.set("busy", 1)
        yield


def asked(http: httpx.Client, path: str) -> tuple[float, float]:
    """Return the median and the longest time of a request, in milliseconds."""
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        http.get(path, follow_redirects=True).raise_for_status()
        times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times), max(times)


def measured(folder: Path, journal: str | None, count: int) -> dict[str, tuple[float, float]]:
    """Return the figures of a journal."""
    state = folder / ("file" if journal is None else "database")
    seconds = fill(state, journal, count)
    found = {"begin all, s": (seconds, count / seconds)}
    with serving(state, journal) as server, httpx.Client(base_url=server.url, timeout=60) as http:
        found["start of the server, s"] = (server.seconds, server.seconds)
        for name, path in PATHS.items():
            found[name] = asked(http, path)
        with writing(state, journal):
            for name in ("tasks", "page of instances"):
                found[f"{name}, beside a writer"] = asked(http, PATHS[name])
    return found


def main() -> None:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlkit-") as name:
        folder = Path(name)
        if chosen.postgresql:
            with postgresql(folder) as server:
                found = measured(folder, new_schema(server), chosen.instances)
        else:
            found = measured(folder, None, chosen.instances)
    print(f"{chosen.instances:,} waiting instances (load {load():.1f})")
    for each, (median, longest) in found.items():
        print(f"{each:>34} {median:9.1f} {longest:9.1f}")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps({**found, "load": load()}, indent=1))


if __name__ == "__main__":
    main()
