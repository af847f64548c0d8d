"""10,000 instances or more: the start of a server, lists, searches, pages, metrics.

    python benchmarks/bpmn/waiting.py [--instances 10000] [--mixed] [--postgresql] [--json FILE]

All wait for people; with `--mixed`, one in ten has ended and one in ten has an incident. The
engine moves the first 10,000 (`--moved`), the others are copies of their rows. Lists are read from
their beginning and from a cursor in their middle. Each request is made 20 times; the figures are
the median and the slowest, in milliseconds. The last two rounds are made while a writer keeps a
transaction open, which nobody who reads waits for.
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
from typing import Any

import requests
from served import PATIENCE, load, new_schema, postgresql, serving, wait

from mlkit.bpmn.runtime.host import Host
from mlkit.bpmn.runtime.session import Session, Settings

DIAGRAM = """<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d"
 xmlns:camunda="http://camunda.org/schema/1.0/bpmn">
<process id="ask" isExecutable="true"><startEvent id="s"/><endEvent id="e"/><endEvent id="e2"/>
<exclusiveGateway id="g" default="f1"/><scriptTask id="fails" scriptFormat="python"><script>
raise ValueError(f"no prices for n {n}")</script></scriptTask>
<userTask id="u" camunda:candidateGroups="quants"><extensionElements><camunda:formData>
<camunda:formField id="approved" type="boolean"/></camunda:formData></extensionElements></userTask>
<sequenceFlow id="f0" sourceRef="s" targetRef="g"/>
<sequenceFlow id="f1" sourceRef="g" targetRef="u"/>
<sequenceFlow id="f3" sourceRef="g" targetRef="e2">
<conditionExpression>kind == 1</conditionExpression></sequenceFlow>
<sequenceFlow id="f4" sourceRef="g" targetRef="fails">
<conditionExpression>kind == 2</conditionExpression></sequenceFlow>
<sequenceFlow id="f5" sourceRef="fails" targetRef="e2"/>
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
    "incidents": "/api/v1/incidents?limit=100",
    "page of incidents": "/incidents",
    "instances, by state": "/api/v1/instances?limit=100&state=incident",
    "instances, by definition": "/api/v1/instances?limit=100&process=ask",
    "instances, by business key": "/api/v1/instances?limit=100&business_key=key-77",
    "instances, by text that none has": "/api/v1/instances?limit=100&text=nothing",
    "instances, by state and variable": "/api/v1/instances?limit=100&state=incident&variable=n=2",
    "page of instances, by state": "/instances?state=waiting",
    "page of instances, by variable": "/instances?variable=n%3D77",
    "page of instances, by text": "/instances?text=key-77",
    "page of tasks, all": "/tasks?show=all",
    "page of tasks, by text": "/tasks?show=all&find=key-77",
    "home": "/",
}
_PAGED = ("instances", "instances, by state", "tasks", "incidents", "page of instances",
          "page of incidents")  # fmt: skip
_COPIED = ("instances", "events", "instance_variables", "open_tasks", "incidents")


def fill(state: Path, journal: str | None, count: int, mixed: bool) -> float:
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
            kind = number % 10 if mixed else 0
            session.begin(diagram, {"n": number % 1000, "kind": kind}, key=f"key-{number}")
        wait("all instances rest", lambda: not session.journal.index.counts().get("running"))
        host.join()
    return time.perf_counter() - begin


def copy(state: Path, journal: str | None, moved: int, count: int) -> None:
    """Add copies of the rows of all instances until there are so many."""
    with Session(state, Settings(journal=journal)) as session:
        database = session.journal.archive().database
        tables = database.tables()
        for table in _COPIED:
            columns, at = tables[table], "number" if table == "instances" else "instance"
            names = ", ".join(columns)
            rows = [
                dict(zip(columns, row, strict=True))
                for row in database.query(f"SELECT {names} FROM {table} ORDER BY {at}")
            ]
            statement = f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})"
            for shift in range(moved, count, moved):
                changed = [_shifted(row, at, shift) for row in rows]
                with session.journal.transaction():
                    database.execute_many(statement, [tuple(each.values()) for each in changed])
        database.restart_counters(["instances"])


def _shifted(row: dict[str, Any], at: str, shift: int) -> dict[str, Any]:
    number = row[at] + shift
    new = {**row, at: number}
    if "id" in row:
        new |= {"id": f"{number:08x}", "key": f"key-{number}"}
    if row.get("name") == "n":
        new["value"] = str(number % 1000)
    return new


@contextlib.contextmanager
def writing(state: Path, journal: str | None) -> Iterator[None]:
    """Hold a transaction that has written."""
    with Session(state, Settings(journal=journal)) as session, session.journal.transaction():
        session.journal.stores.set("busy", 1)
        yield


def asked(session: requests.Session, url: str) -> tuple[float, float]:
    """Return the median and the longest time of a request, in milliseconds."""
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        session.get(url, timeout=PATIENCE).raise_for_status()
        times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times), max(times)


def measured(
    folder: Path, journal: str | None, count: int, moved: int, mixed: bool
) -> dict[str, tuple[float, float]]:
    """Return the figures of a journal."""
    state = folder / ("file" if journal is None else "database")
    moved = min(count, moved)
    seconds = fill(state, journal, moved, mixed)
    copy(state, journal, moved, count)
    found = {"begin, s, and instances/s": (seconds, moved / seconds)}
    with serving(state, journal) as server, requests.Session() as session:
        found["start of the server, s"] = (server.seconds, server.seconds)
        for name, path in PATHS.items():
            found[name] = asked(session, server.url + path)
        for name in _PAGED:
            path = PATHS[name]
            path += f"{'&' if '?' in path else '?'}cursor={count // 2}"
            found[f"{name}, in the middle"] = asked(session, server.url + path)
        with writing(state, journal):
            for name in ("tasks", "page of instances"):
                found[f"{name}, beside a writer"] = asked(session, server.url + PATHS[name])
    return found


def main() -> None:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--moved", type=int, default=10_000)
    parser.add_argument("--mixed", action="store_true")
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    size = chosen.instances, chosen.moved, chosen.mixed
    with tempfile.TemporaryDirectory(prefix="mlkit-") as name:
        folder = Path(name)
        if chosen.postgresql:
            with postgresql(folder) as server:
                journal = new_schema(server)
                found = measured(folder, journal, *size)
        else:
            found = measured(folder, None, *size)
    print(f"{chosen.instances:,} instances (load {load():.1f})")
    for each, (median, longest) in found.items():
        print(f"{each:>40} {median:9.1f} {longest:9.1f}")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps({**found, "load": load()}, indent=1))


if __name__ == "__main__":
    main()
