"""Random tables decide as Kie does: 500, 2,000 at night, or as many as MLKIT_DMN_TABLES says."""

from __future__ import annotations

import os
import random
import subprocess
from datetime import UTC, datetime

import pytest
from bpmn.decisions.random_tables import model
from bpmn.expressions.feel.engines.test_engines import written

from mlkit.bpmn import Decisions
from mlkit.bpmn.expressions.feel import compile_expression
from mlkit.bpmn.expressions.feel.budget import Run

NOW = datetime(2026, 1, 2, tzinfo=UTC)
TABLES = int(os.environ.get("MLKIT_DMN_TABLES", "500"))
IN_A_MODEL, QUESTIONS = 50, 4


def ours(decisions, case):
    context = compile_expression(case.context).value(Run("context", NOW), {}.__getitem__)
    return written(decisions.evaluate(case.decision, context, NOW).value)


@pytest.mark.slow
@pytest.mark.parametrize("tables", [TABLES, pytest.param(2000, marks=pytest.mark.nightly)])
def test_random_tables_decide_as_kie_does(engines, tmp_path, tables):
    source = random.Random(2026)
    asked = []
    for number in range(-(-tables // IN_A_MODEL)):
        text, cases = model(source, number, IN_A_MODEL, QUESTIONS)
        path = tmp_path / f"{number}.dmn"
        path.write_text(text)
        asked += [(path, each) for each in cases]
    lines = "".join(f"{path}\t{each.decision}\t{each.context}\n" for path, each in asked)
    java = ["java", "-XX:+UseSerialGC", "-Duser.timezone=UTC", "-cp", ".:lib/*", "Decide"]
    done = subprocess.run(
        java, cwd=engines, input=lines, capture_output=True, text=True, check=True
    )
    answers = done.stdout.splitlines()
    assert len(answers) == len(asked)
    assert len({*answers}) > 20
    models = {path: Decisions(path) for path in {each[0] for each in asked}}
    different = [
        (path.name, *case, found, kie)
        for (path, case), kie in zip(asked, answers, strict=True)
        if (found := ours(models[path], case)) != kie
    ]
    assert different == []
