"""Random models played in mlkit and in the real engine of Camunda 7, step by step."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mlkit.bpmn.definition.parser import parse
from mlkit.bpmn.engine.events import Complete, Start
from mlkit.bpmn.engine.waits import ForPerson
from mlkit.bpmn.lint.validation import lint
from mlkit.bpmn.runtime.diagrams import engine_of

HERE = Path(__file__).parent
GIVEN = {"x": 1, "y": 0, "items": [1, 2, 3], "total": 0, "log": ""}
STEPS = 30
SEEDS = range(1, 61)
MODELS = importlib.util.spec_from_file_location("camunda_models", HERE / "models.py")


def model(seed: int) -> str:
    assert MODELS is not None
    assert MODELS.loader is not None
    module = importlib.util.module_from_spec(MODELS)
    MODELS.loader.exec_module(module)
    return module.Model(seed).text


def written(value: Any) -> str:
    """Write variables as Java writes a map."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}={written(v)}" for k, v in sorted(value.items())) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return str(value)


def played(path: Path) -> str:
    """Play a diagram in mlkit; return what the other engine prints of it."""
    definitions = parse(path)
    assert [e for e in lint(definitions, path.parent) if e.severity == "error"] == []
    engine = engine_of(definitions)
    state = engine.create()
    engine.apply(state, Start(dict(GIVEN), key="key"), 0.0)
    variables: dict[str, Any] = {}
    steps = []
    for step in range(STEPS + 1):
        variables = state.roots()[0].variables if state.roots() else variables
        people = [e for e in state.activations.values() if isinstance(e.wait, ForPerson)]
        people = sorted(people, key=lambda each: each.node) if state.status == "running" else []
        steps.append(",".join(each.node for each in people))
        if not people or step == STEPS:
            break
        engine.apply(state, Complete(people[step % len(people)].id), 0.0)
    status = state.status if state.status != "running" else "waiting" if people else "stuck"
    return f"{';'.join(steps)}|{status}|{written(variables)}"


@pytest.fixture(scope="module")
def camunda(tmp_path_factory):
    """The results of Camunda 7 by file, and the folder of the files."""
    for program in ("mvn", "java", "javac"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    folder, jars = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("jars")
    for seed in SEEDS:
        (folder / f"{seed:04}.bpmn").write_text(model(seed), "utf-8")
    fetch = ["mvn", "-q", "-B", "-f", HERE / "pom.xml", "dependency:copy-dependencies"]
    subprocess.run([*fetch, f"-DoutputDirectory={jars}"], check=True, capture_output=True)
    flags = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m")
    run = ["java", *flags, "-cp", f"{jars}/*", HERE / "Play.java", folder]
    found = subprocess.run(run, check=True, capture_output=True, text=True)
    return folder, dict(line.split("|", 1) for line in found.stdout.splitlines())


@pytest.mark.slow
def test_random_models_run_as_in_camunda_7(camunda):
    folder, expected = camunda
    assert len(expected) == len(SEEDS)
    found = {each.name: played(each) for each in sorted(folder.iterdir())}
    different = {
        name: (each, expected[name]) for name, each in found.items() if each != expected[name]
    }
    assert different == {}
