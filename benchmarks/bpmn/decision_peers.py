"""A table of 10 rules by 4 columns: decisions a second beside Kie, pyDMNrules and SpiffWorkflow.

    pip install pyDMNrules SpiffWorkflow        # maven and a JDK for Kie
    python benchmarks/bpmn/decision_peers.py [--seconds 2] [--rounds 3] [--json out.json]

All in turns, round by round, each in its own notation, and by the time of the processor that they
use: other processes hardly count. Kie is warm: it decides as long before as while it is measured.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from decisions import rate
from tables import Table, table

from mlkit.bpmn import Decisions

ENGINES = Path(__file__).parents[2] / "tests/bpmn/expressions/feel/engines"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
Measure = Callable[[float], float]


def ours(asked: Table, folder: Path) -> Measure:
    """Return what measures mlkit."""
    decisions = Decisions(folder / "t.dmn")
    assert decisions.evaluate("d", asked.inputs, NOW).value == len(asked.rows) // 2
    return lambda seconds: rate(lambda: decisions.evaluate("d", asked.inputs, NOW), seconds)


def rules(asked: Table, folder: Path) -> Measure:
    """Return what measures pyDMNrules."""
    from pyDMNrules import DMN

    engine = DMN()
    status = engine.useXML((folder / "t.dmn").read_text())
    assert not status, status
    status, found = engine.decide(dict(asked.inputs))
    assert not status, (status, found)
    return lambda seconds: rate(lambda: engine.decide(dict(asked.inputs)), seconds)


def spiff(asked: Table, folder: Path) -> Measure:
    """Return what measures SpiffWorkflow, whose cells are Python."""
    from SpiffWorkflow.bpmn.script_engine import PythonScriptEngine
    from SpiffWorkflow.dmn.engine.DMNEngine import DMNEngine
    from SpiffWorkflow.dmn.specs import model

    columns = [model.Input(f"i{at}", f"x{at}", f"x{at}", None, None) for at in range(4)]
    output = model.Output("o", "y", "y", None)
    found = model.DecisionTable("t", "t", model.HitPolicy.UNIQUE.value)
    for number, row in enumerate(asked.rows):
        rule = model.Rule(str(number))
        for column, cell in zip(columns, row, strict=True):
            entry = model.InputEntry("e", column)
            entry.lhs = [f"'{cell}'" if isinstance(cell, str) else f"{cell} <= ? <= {cell + 50}"]
            rule.inputEntries.append(entry)
        entry = model.OutputEntry("e", output)
        entry.text = str(number)
        rule.outputEntries.append(entry)
        found.rules.append(rule)
    engine = DMNEngine(found)
    workflow = SimpleNamespace(script_engine=PythonScriptEngine())
    task: Any = SimpleNamespace(data=dict(asked.inputs), workflow=workflow)
    assert engine.result(task) == {"y": len(asked.rows) // 2}
    return lambda seconds: rate(lambda: engine.result(task), seconds)


def kie(asked: Table, folder: Path) -> Measure:
    """Return what measures Kie."""
    for name in ("pom.xml", "Answers.java", "Decide.java"):
        shutil.copy(ENGINES / name, folder)
    maven = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"]
    subprocess.run(maven, cwd=folder, check=True)
    subprocess.run(["javac", "-cp", "lib/*", "Answers.java", "Decide.java"], cwd=folder, check=True)
    context = ", ".join(f"{name}: {json.dumps(each)}" for name, each in asked.inputs.items())
    java = ["java", "-XX:+UseSerialGC", "-cp", ".:lib/*", "Decide", "t.dmn", "d", f"{{{context}}}"]

    def measure(seconds: float) -> float:
        done = subprocess.run(
            [*java, str(seconds)], cwd=folder, capture_output=True, text=True, check=True
        )
        return float(done.stdout)

    return measure


def available() -> dict[str, Callable[[Table, Path], Measure]]:
    """Return who is there to be compared with."""
    found: dict[str, Callable[[Table, Path], Measure]] = {"mlkit": ours}
    if shutil.which("mvn") and shutil.which("javac"):
        found["Kie"] = kie
    if importlib.util.find_spec("pyDMNrules"):
        found["pyDMNrules"] = rules
    if importlib.util.find_spec("SpiffWorkflow"):
        found["SpiffWorkflow"] = spiff
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    asked = table(10)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "t.dmn").write_text(asked.dmn())
        measures = {name: prepare(asked, folder) for name, prepare in available().items()}
        rounds = [
            {name: measure(options.seconds) for name, measure in measures.items()}
            for _ in range(options.rounds)
        ]
    middle = {name: statistics.median(each[name] for each in rounds) for name in measures}
    for name, value in middle.items():
        ratio = middle["mlkit"] / value
        print(f"{name:15} {value:12,.0f} decisions/s   mlkit / {name}: {ratio:.2f}")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if options.json:
        options.json.write_text(json.dumps({"rounds": rounds, "load": os.getloadavg()}, indent=2))


if __name__ == "__main__":
    main()
