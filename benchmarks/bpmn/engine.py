"""Instances a second of mlkit's engine and of SpiffWorkflow, in the same run.

    python benchmarks/bpmn/engine.py [--seconds 2] [--rounds 3] [--json out.json]

Ours runs every script in isolated worker processes; SpiffWorkflow runs them in its own
process. "durable" means that each completed task is on disk, synced, before the next
starts. SpiffWorkflow is optional: `pip install SpiffWorkflow`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mlkit.bpmn.definition.parser import parse, parse_text
from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.engine.events import Start
from mlkit.bpmn.journal import open_journal
from mlkit.bpmn.journal.records import Row
from mlkit.bpmn.runtime.runner import Runner
from mlkit.bpmn.runtime.running import Running
from mlkit.workers.pool import ScriptPool

HEAD = (
    '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d" targetNamespace="t">'
)


def sequence(count: int) -> str:
    names = ["s", *(f"t{n}" for n in range(count)), "e"]
    return document(count, list(itertools.pairwise(names)), "")


def parallel(count: int) -> str:
    gates = '<parallelGateway id="q"/><parallelGateway id="j"/>'
    flows = [("s", "q"), ("j", "e")]
    flows += [pair for n in range(count) for pair in (("q", f"t{n}"), (f"t{n}", "j"))]
    return document(count, flows, gates)


def document(count: int, flows: list[tuple[str, str]], gates: str) -> str:
    tasks = "".join(
        f'<scriptTask id="t{n}"><script>x{n} = {n}</script></scriptTask>' for n in range(count)
    )
    drawn = "".join(
        f'<sequenceFlow id="f{n}" sourceRef="{a}" targetRef="{b}"/>'
        for n, (a, b) in enumerate(flows)
    )
    body = f'<startEvent id="s"/>{tasks}{gates}<endEvent id="e"/>{drawn}'
    return f'{HEAD}<process id="p" isExecutable="true">{body}</process></definitions>'


class Ours:
    """Keeps some instances in flight until the time is over."""

    def __init__(self, xml: str, in_flight: int, folder: Path | None) -> None:
        self.definitions = parse_text(xml.encode(), Path("bench.bpmn"))
        self.engine = Engine(self.definitions.processes[0])
        self.in_flight = in_flight
        self.pool = ScriptPool()
        self.journal = None if folder is None else open_journal(folder, create=True)
        self.options = {} if folder is None else {"work": str(folder / "work")}
        self.number = 0
        self.rows: list[Row | None] = []

    def rate(self, seconds: float) -> float:
        runner = Runner(self.pool, self.journal)
        done = 0
        deadline = time.perf_counter() + seconds

        def observe(running: Running, at: float, trace: list[object]) -> None:
            nonlocal done
            completed = running.state.status == "completed"
            if completed and runner.instances.pop(running.number, None):
                done += 1
                if time.perf_counter() < deadline:
                    self.begin(runner)

        runner.observer = observe
        start = time.perf_counter()
        for _ in range(self.in_flight):
            self.begin(runner)
        runner.run()
        if not done:
            raise SystemExit("error: no instance has completed: there is nothing to measure")
        return done / (time.perf_counter() - start)

    def begin(self, runner: Runner) -> None:
        self.number += 1
        if not self.rows:
            self.rows = self.create(200)
        row = self.rows.pop()
        running = Running(
            self.engine,
            self.engine.create(),
            row.number if row else self.number,
            row.id if row else "i",
            self.options,
            row,
        )
        runner.instances[running.number] = running
        runner.apply(running, Start())

    def create(self, count: int) -> list[Row | None]:
        """Make rows for instances to come, all in one transaction, and own them."""
        if self.journal is None:
            return [None] * count
        with self.journal.transaction():
            new = [self.journal.create("p", "d", {}, "", time.time()) for _ in range(count)]
        return list(self.journal.take(new))

    def close(self) -> None:
        self.pool.close()
        if self.journal is not None:
            self.journal.close()


class Spiff:
    """SpiffWorkflow, one instance after the other; optionally saved after every task."""

    def __init__(self, xml: str, folder: Path | None) -> None:
        from lxml import etree
        from SpiffWorkflow.bpmn.parser import BpmnParser
        from SpiffWorkflow.bpmn.serializer import BpmnWorkflowSerializer

        parser = BpmnParser()
        parser.add_bpmn_xml(etree.fromstring(xml.encode()))
        self.spec = parser.get_spec("p")
        self.serializer = BpmnWorkflowSerializer()
        self.database = None
        if folder is not None:
            self.database = sqlite3.connect(folder / "spiff.sqlite", isolation_level=None)
            self.database.execute("PRAGMA journal_mode = WAL")
            self.database.execute("PRAGMA synchronous = FULL")
            self.database.execute("CREATE TABLE w (id INTEGER PRIMARY KEY, state TEXT)")

    def rate(self, seconds: float) -> float:
        start = time.perf_counter()
        done = 0
        while time.perf_counter() < start + seconds:
            self.run(done)
            done += 1
        return done / (time.perf_counter() - start)

    def run(self, number: int) -> None:
        from SpiffWorkflow.bpmn import BpmnWorkflow
        from SpiffWorkflow.util.task import TaskState

        workflow = BpmnWorkflow(self.spec)
        if self.database is None:
            workflow.do_engine_steps()
            assert workflow.is_completed()
            return
        while task := workflow.get_next_task(state=TaskState.READY):
            task.run()
            if type(task.task_spec).__name__ == "ScriptTask":
                state = self.serializer.serialize_json(workflow)
                self.database.execute("INSERT OR REPLACE INTO w VALUES (?, ?)", (number, state))

    def close(self) -> None:
        if self.database is not None:
            self.database.close()


def compare(name: str, xml: str, durable: bool, options: argparse.Namespace) -> dict[str, object]:
    with tempfile.TemporaryDirectory(dir=".") as folder:
        ours = Ours(xml, options.in_flight, Path(folder) if durable else None)
        try:
            theirs = Spiff(xml, Path(folder) if durable else None)
        except ImportError:
            theirs = None
        ours.rate(options.seconds / 4)  # Workers start, scripts are compiled.
        pairs = [
            (ours.rate(options.seconds), theirs.rate(options.seconds) if theirs else 0.0)
            for _ in range(options.rounds)
        ]
        ours.close()
        if theirs:
            theirs.close()
    ratios = [a / b for a, b in pairs if b]
    return {
        "case": name,
        "ours": round(statistics.median(a for a, _ in pairs), 1),
        "spiffworkflow": round(statistics.median(b for _, b in pairs), 1),
        "ratio": round(statistics.median(ratios), 2) if ratios else None,
        "spread": [round(min(ratios), 2), round(max(ratios), 2)] if ratios else None,
    }


def growth(options: argparse.Namespace) -> float:
    """Return the time of 100 tasks in sequence over 10 times that of 10 (1 is linear)."""
    ten, hundred = (Ours(sequence(n), options.in_flight, None) for n in (10, 100))
    for each in (ten, hundred):
        each.rate(options.seconds / 4)
    ratios = [
        ten.rate(options.seconds) / hundred.rate(options.seconds) for _ in range(options.rounds)
    ]
    ten.close()
    hundred.close()
    return statistics.median(ratios) / 10


def parsing(count: int, rounds: int) -> float:
    """Return the milliseconds that a file of `count` tasks takes to parse, the best of some."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.bpmn"
        path.write_text(sequence(count))
        return min(_timed(lambda: parse(path)) for _ in range(rounds * 5)) * 1e3


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=2.0)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--in-flight", type=int, default=32)
    arguments.add_argument("--json", type=Path)
    options = arguments.parse_args()
    rows = [
        compare("10 in sequence, in memory", sequence(10), False, options),
        compare("10 in sequence, durable", sequence(10), True, options),
        compare("10 in parallel, in memory", parallel(10), False, options),
        compare("10 in parallel, durable", parallel(10), True, options),
    ]
    rows.append(
        {"case": "time of 100 tasks over 10 times that of 10", "ours": round(growth(options), 2)}
    )
    rows.append({"case": "parse 100 tasks, ms", "ours": round(parsing(100, options.rounds), 2)})
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
