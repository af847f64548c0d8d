"""Flowable's DMN task: its fields, its results, and what is refused."""

from __future__ import annotations

import json

import pytest
from bpmn.decisions.tables import HEAD, PROCESS, ROLLOUT, table
from typer.testing import CliRunner

from mlkit.cli.main import app


def flowable(*fields):
    """Write a service task as Flowable's modeler does; a field is (name, kind, text)."""
    inside = "".join(
        f'<flowable:field name="{name}"><flowable:{kind}><![CDATA[{text}]]></flowable:{kind}>'
        "</flowable:field>"
        for name, kind, text in fields
    )
    return f"<extensionElements>{inside}</extensionElements>"


def run_flowable(tmp_path, *fields, model="", **variables):
    body = PROCESS.replace("businessRuleTask", "serviceTask")
    body = body.replace(" id=", ' xmlns:flowable="http://flowable.org/bpmn" id=', 1)
    (tmp_path / "rollout.dmn").write_text(model or ROLLOUT.read_text())
    path = tmp_path / "p.bpmn"
    path.write_text(body.format(attributes='flowable:type="dmn"', inside=flowable(*fields)))
    state = ["--state", str(tmp_path / "state")]
    given = [f"--var={name}={json.dumps(value)}" for name, value in variables.items()]
    done = CliRunner().invoke(app, ["bpmn", "run", str(path), "--json", *state, *given])
    return done, json.loads(done.stdout) if done.stdout.startswith("{") else {}


KEY = "decisionTableReferenceKey"


@pytest.mark.parametrize(
    "field",
    [(KEY, "string", "rollout"), (KEY, "expression", "rollout"), (KEY, "string", "\nrollout ")],
)
def test_flowables_dmn_task_sets_a_variable_for_each_output(tmp_path, field):
    _, found = run_flowable(tmp_path, field, model_accuracy=0.97, region="EU")
    assert (found["variables"]["deploy"], found["variables"]["share"]) == (True, 0.1)


def test_flowables_dmn_task_collects_several_results_under_the_decisions_id(tmp_path):
    model = f"{HEAD}{table([('> 1', 1), ('> 2', 2)], 'COLLECT')}</definitions>"
    _, found = run_flowable(tmp_path, (KEY, "string", "d"), model=model, x=3)
    assert found["variables"]["d"] == [{"o0": 1}, {"o0": 2}]
    _, found = run_flowable(tmp_path, (KEY, "string", "d"), model=model, x=0)
    assert found["variables"]["d"] == []


def test_flowables_dmn_task_may_demand_that_a_rule_matches(tmp_path):
    model = f"{HEAD}{table([('> 1', 1)])}</definitions>"
    flag = ("decisionTaskThrowErrorOnNoHits", "string", "true")
    _, found = run_flowable(tmp_path, (KEY, "string", "d"), flag, model=model, x=0)
    assert "decision d" in found["incidents"][0]["message"]
    assert "no rule matches" in found["incidents"][0]["message"]
    done, found = run_flowable(tmp_path, (KEY, "string", "d"), model=model, x=0)
    assert done.exit_code == 0
    assert "o0" not in found["variables"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], f"no field '{KEY}'"), ([(KEY, "expression", "${rule}")], "is computed"),
        ([(KEY, "string", "none")], "the DMN decision 'none' cannot be run"),
    ],
)  # fmt: skip
def test_flowables_dmn_task_without_a_decision_is_refused(tmp_path, fields, message):
    done, _ = run_flowable(tmp_path, *fields)
    assert done.exit_code == 65
    assert message in done.stderr


@pytest.mark.parametrize("attribute", ["stringValue", "expression"])
def test_flowables_fields_may_be_attributes(tmp_path, attribute):
    field = f'<flowable:field name="{KEY}" {attribute}="rollout"/>'
    body = PROCESS.replace("businessRuleTask", "serviceTask")
    body = body.replace(" id=", ' xmlns:flowable="http://flowable.org/bpmn" id=', 1)
    inside = f"<extensionElements>{field}</extensionElements>"
    (tmp_path / "rollout.dmn").write_text(ROLLOUT.read_text())
    path = tmp_path / "p.bpmn"
    path.write_text(body.format(attributes='flowable:type="dmn"', inside=inside))
    asked = ["bpmn", "run", str(path), "--json", "--state", str(tmp_path / "state")]
    done = CliRunner().invoke(app, [*asked, "--var=model_accuracy=0.2", "--var=region=EU"])
    assert json.loads(done.stdout)["variables"]["deploy"] is False
