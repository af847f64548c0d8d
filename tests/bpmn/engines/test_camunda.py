"""Random models played in mlkit and in the real engine of Camunda 7, step by step."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

import installing
import pytest

from mlkit.bpmn.definition.parser import parse
from mlkit.bpmn.engine.events import AnyEvent, Complete, Fail, Fire, Start, Throw
from mlkit.bpmn.engine.state import Activation
from mlkit.bpmn.engine.waits import ForPerson, ForWorker
from mlkit.bpmn.lint.validation import lint
from mlkit.bpmn.runtime.diagrams import engine_of, external_names

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


def by_node(activation: Activation) -> str:
    return activation.node


def written(value: Any) -> str:
    """Write variables as Java writes a map."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}={written(v)}" for k, v in sorted(value.items())) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return "null" if value is None else str(value)


def done(activation: Activation, step: int) -> AnyEvent:
    """Return what happens to something that waits: what `Play.java` does."""
    if activation.due is not None:
        return Fire(activation.id)
    if not isinstance(activation.wait, ForWorker):
        return Complete(activation.id)
    topic = activation.wait.topic if activation.attempt == 1 else "again"
    if topic in ("fail", "judged"):
        failure = "again" if topic == "judged" and step % 2 else "down"
        return Fail(activation.id, failure, retries=1)
    if topic in ("throw", "lost"):
        return Throw(activation.id, "E1", "bad", {"thrown": step})
    given = {"set": step} if topic == "set" else {}
    return Complete(activation.id, given, local={"part": step} if topic == "local" else {})


def played(path: Path) -> str:
    """Play a diagram in mlkit; return what the other engine prints of it."""
    definitions = parse(path)
    problems = lint(definitions, path.parent, external=True)
    assert [each for each in problems if each.severity == "error"] == []
    engine = engine_of(definitions)
    names = external_names(engine, path.parent, {})
    state, now = engine.create(), 0.0
    engine.apply(state, Start(dict(GIVEN), key="key", external=names), now)
    variables: dict[str, Any] = {}
    steps = []
    for step in range(STEPS + 1):
        variables = state.roots()[0].variables if state.roots() else variables
        people = [e for e in state.activations.values() if isinstance(e.wait, ForPerson)]
        workers = [e for e in state.activations.values() if isinstance(e.wait, ForWorker)]
        timers = [e for e in state.activations.values() if e.due is not None]
        first = sorted(timers, key=lambda each: (each.due, each.node))[:1]
        waiting = [*sorted(people, key=by_node), *sorted(workers, key=by_node), *first]
        waiting = waiting if state.status == "running" else []
        steps.append(",".join(each.node for each in waiting))
        if not waiting or step == STEPS:
            break
        chosen = waiting[step % len(waiting)]
        now = now if chosen.due is None else chosen.due + 0.001
        engine.apply(state, done(chosen, step), now)
    status = state.status if state.status != "running" else "waiting" if waiting else "stuck"
    return f"{';'.join(steps)}|{status}|{written(variables)}"


@pytest.fixture(scope="module")
def camunda(tmp_path_factory):
    """The results of Camunda 7 by file, and the folder of the files."""
    pytest.importorskip("quickjs")
    for program in ("mvn", "java", "javac"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    folder, jars = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("jars")
    for seed in SEEDS:
        (folder / f"{seed:04}.bpmn").write_text(model(seed), "utf-8")
    maven = ["mvn", "-q", "-B", "-f", HERE / "pom.xml", "dependency:copy-dependencies"]
    installing.fetch([*maven, f"-DoutputDirectory={jars}"], folder)
    flags = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m")
    run = ["java", *flags, "-cp", f"{jars}/*", HERE / "Play.java", folder]
    found = subprocess.run(run, check=False, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-2000:]
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
