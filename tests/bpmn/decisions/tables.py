"""Short ways to write decision models, and a process that asks for decisions."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from mlkit.bpmn import Decisions
from mlkit.cli.main import app

ROLLOUT = Path(__file__).parent / "rollout.dmn"
HEAD = '<definitions xmlns="https://www.omg.org/spec/DMN/20191111/MODEL/" name="m" namespace="u">'


def load(tmp_path, body, name="model.dmn"):
    """Write a model, and read it."""
    path = tmp_path / name
    path.write_text(f"{HEAD}{body}</definitions>")
    return Decisions(path)


def table(rules, policy="UNIQUE", outputs=1, more="", values=""):
    """Write a decision with a table of one input `x`; a rule is (test, output, ...)."""
    columns = "".join(f'<output name="o{n}">{values}</output>' for n in range(outputs))
    rows = "".join(
        f"<rule><inputEntry><text>{cell(test)}</text></inputEntry>"
        + "".join(f"<outputEntry><text>{cell(each)}</text></outputEntry>" for each in found)
        + "</rule>"
        for test, *found in rules
    )
    return (
        '<inputData id="x" name="x"/><decision id="d" name="d"><informationRequirement>'
        '<requiredInput href="#x"/></informationRequirement>'
        f'<decisionTable hitPolicy="{policy}" {more}><input><inputExpression><text>x</text>'
        f"</inputExpression></input>{columns}{rows}</decisionTable></decision>"
    )


def cell(text):
    """Write the text of a cell."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;")


def doubts(tmp_path, body):
    """Return what the analysis of a model says."""
    return [each.message for each in load(tmp_path, body).analyse()]


PROCESS = """<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d"
 xmlns:camunda="http://camunda.org/schema/1.0/bpmn" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0"
 targetNamespace="t"><process id="P" isExecutable="true"><startEvent id="s"/>
 <sequenceFlow id="f1" sourceRef="s" targetRef="t"/><businessRuleTask id="t" {attributes}>{inside}
 </businessRuleTask><sequenceFlow id="f2" sourceRef="t" targetRef="e"/><endEvent id="e"/></process>
 </definitions>"""


def run(tmp_path, attributes, inside="", **variables):
    """Run PROCESS with such a task; return the document of its instance."""
    (tmp_path / "rollout.dmn").write_text(ROLLOUT.read_text())
    (tmp_path / "p.bpmn").write_text(PROCESS.format(attributes=attributes, inside=inside))
    asked = ["bpmn", "run", str(tmp_path / "p.bpmn"), "--no-input", "--json", "--state"]
    given = [f"--var={name}={json.dumps(value)}" for name, value in variables.items()]
    return json.loads(CliRunner().invoke(app, [*asked, str(tmp_path / "state"), *given]).stdout)
