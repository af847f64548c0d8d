"""Tasks of processes that decide: their results, history, bindings and versions."""

from __future__ import annotations

import json

import pytest
from bpmn.decisions.tables import HEAD, PROCESS, ROLLOUT, run, table
from typer.testing import CliRunner

from mlkit.cli.main import app


@pytest.mark.parametrize(
    ("decision", "mapping", "expected"),
    [
        ("risk", "singleEntry", "low"), ("risk", "singleResult", {"Risk": "low"}),
        ("risk", "collectEntries", ["low"]), ("risk", "resultList", [{"Risk": "low"}]),
        ("rollout", "singleResult", {"deploy": True, "share": 0.1}),
    ],
)  # fmt: skip
def test_a_business_rule_task_decides(tmp_path, decision, mapping, expected):
    attributes = (
        f'camunda:decisionRef="{decision}" camunda:resultVariable="r" '
        f'camunda:mapDecisionResult="{mapping}"'
    )
    values = {"model_accuracy": 0.97, "region": "EU"}
    assert run(tmp_path, attributes, **values)["variables"]["r"] == expected


def test_zeebes_called_decision(tmp_path):
    called = '<zeebe:calledDecision decisionId="rollout" resultVariable="r"/>'
    inside = f"<extensionElements>{called}</extensionElements>"
    found = run(tmp_path, "", inside, model_accuracy=0.2, region="EU")
    assert found["variables"]["r"] == {"deploy": False, "share": 0}


def test_a_decision_that_fails_is_an_incident_that_names_it(tmp_path):
    attributes = 'camunda:decisionRef="rollout" camunda:resultVariable="r"'
    found = run(tmp_path, attributes, model_accuracy=0.97, region="ASIA")
    assert "decision rollout" in found["incidents"][0]["message"]
    assert "'region'" in found["incidents"][0]["message"]


def test_the_history_keeps_inputs_rules_and_outputs_of_each_decision(tmp_path):
    called = 'camunda:decisionRef="rollout" camunda:resultVariable="r" '
    called += 'camunda:mapDecisionResult="singleResult"'
    found = run(tmp_path, called, model_accuracy=0.97, region="EU")
    (kept,) = found["decisions"]
    assert kept["element"] == "t"
    assert kept["inputs"] == {"model accuracy": 0.97, "region": "EU"}
    assert kept["decided"] == {"Risk": "low", "Rollout": {"deploy": True, "share": 0.1}}
    assert [each["rules"] for each in kept["matched"] if each["decision"] == "Rollout"] == [[1]]
    assert kept["output"] == {"deploy": True, "share": 0.1}
    for command in ("show", "history"):
        asked = ["bpmn", command, found["instance"], "--state", str(tmp_path / "state")]
        assert "Rollout: rule 1" in CliRunner().invoke(app, asked).stdout
        printed = CliRunner().invoke(app, [*asked, "--json"]).stdout
        (shown,) = json.loads(printed)["decisions"]
        assert {name: shown[name] for name in kept} == kept


def test_a_decision_that_fails_is_kept_with_its_rules_and_inputs(tmp_path):
    (tmp_path / "m.dmn").write_text(f"{HEAD}{table([('< 9', 1), ('> 1', 2)])}</definitions>")
    called = 'camunda:decisionRef="d" camunda:resultVariable="r"'
    found = run(tmp_path, called, x=5)
    message = "rules 1, 2 match x = 5, but the hit policy is UNIQUE"
    assert message in found["incidents"][0]["message"]
    assert message in found["decisions"][0]["error"]


@pytest.mark.parametrize(
    ("expected", "difference"),
    [
        ({"inputs": {"region": "EU"}, "required": {"Risk": "low"}, "rules": {"Rollout": [1]}}, ""),
        ({"rules": {"Rollout": [2]}}, "rules of Rollout: expected [2], is [1]"),
        ({"output": 1}, "expected 1"),
        ({"error": "no rule"}, "expected the error 'no rule', is null"),
        ([{}, {}], "expected 2, there are 1"),
    ],
)
def test_scenarios_see_what_was_decided(tmp_path, expected, difference):
    called = 'camunda:decisionRef="rollout" camunda:resultVariable="r"'
    (tmp_path / "rollout.dmn").write_text(ROLLOUT.read_text())
    (tmp_path / "p.bpmn").write_text(PROCESS.format(attributes=called, inside=""))
    scenario = {
        "diagram": "p.bpmn", "variables": {"model_accuracy": 0.97, "region": "EU"},
        "expect": {"decisions": {"t": expected}},
    }  # fmt: skip
    (tmp_path / "s.json").write_text(json.dumps(scenario))
    played = CliRunner().invoke(app, ["bpmn", "test", str(tmp_path / "s.json")])
    assert played.exit_code == bool(difference)
    assert difference in played.stdout


def test_an_instance_keeps_the_model_that_it_began_with(tmp_path):
    body = PROCESS.format(
        attributes='camunda:decisionRef="risk" camunda:resultVariable="r"', inside=""
    )
    ask = '<userTask id="u"/><sequenceFlow id="f0" sourceRef="u" targetRef="t"/>'
    body = body.replace('targetRef="t"/><business', f'targetRef="u"/>{ask}<business')
    (tmp_path / "rollout.dmn").write_text(ROLLOUT.read_text())
    (tmp_path / "p.bpmn").write_text(body)
    state = ["--state", str(tmp_path / "state")]
    asked = ["bpmn", "run", str(tmp_path / "p.bpmn"), "--no-input", "--json", *state]
    waiting = json.loads(CliRunner().invoke(app, [*asked, "--var", "model_accuracy=1"]).stdout)
    (tmp_path / "rollout.dmn").unlink()
    task = waiting["waiting"][0]["task"]
    done = CliRunner().invoke(app, ["bpmn", "complete", task, *state, "--json"])
    assert json.loads(done.stdout)["variables"]["r"] == [{"Risk": "low"}]


@pytest.mark.parametrize(
    ("asked", "unmet"),
    [
        ('Binding="version" camunda:decisionRefVersion="3"', "binding 'version'"),
        ('Binding="versionTag" camunda:decisionRefVersionTag="a"', "version tag 'a'"),
        ('Binding="oldest"', "binding 'oldest'"), ('Version="3"', "version '3'"),
        ('TenantId="acme"', "tenant 'acme'"),
        ('Binding="latest"', ""), ('Binding="deployment"', ""),
    ],
)  # fmt: skip
def test_a_version_that_cannot_be_honoured_is_an_error(tmp_path, asked, unmet):
    (tmp_path / "rollout.dmn").write_text(ROLLOUT.read_text())
    path = tmp_path / "p.bpmn"
    attributes = f'camunda:decisionRef="rollout" camunda:decisionRef{asked}'
    path.write_text(PROCESS.format(attributes=attributes, inside=""))
    found = CliRunner().invoke(app, ["bpmn", "lint", str(path)])
    assert found.exit_code == (1 if unmet else 0)
    assert unmet in found.output


@pytest.mark.parametrize(
    ("asked", "unmet"),
    [
        ('bindingType="versionTag" versionTag="v1"', "no model has it with the version tag 'v1'"),
        ('bindingType="deployment"', ""), ('bindingType="latest"', ""),
    ],
)  # fmt: skip
def test_zeebes_bindings(tmp_path, asked, unmet):
    called = f'<zeebe:calledDecision decisionId="rollout" resultVariable="r" {asked}/>'
    (tmp_path / "rollout.dmn").write_text(ROLLOUT.read_text())
    path = tmp_path / "p.bpmn"
    inside = f"<extensionElements>{called}</extensionElements>"
    path.write_text(PROCESS.format(attributes="", inside=inside))
    found = CliRunner().invoke(app, ["bpmn", "lint", str(path)])
    assert found.exit_code == (1 if unmet else 0)
    assert unmet in found.output


TAGGED = (
    'camunda:decisionRef="d" camunda:resultVariable="r" camunda:mapDecisionResult="singleEntry" '
    'camunda:decisionRefBinding="versionTag" camunda:decisionRefVersionTag="v2"'
)
CALLED = (
    '<zeebe:calledDecision decisionId="d" resultVariable="r" bindingType="versionTag" '
    'versionTag="v2"/>'
)


@pytest.mark.parametrize(
    ("attributes", "inside"),
    [
        (TAGGED, ""),
        ("", f"<extensionElements>{CALLED}</extensionElements>"),
    ],
)  # fmt: skip
def test_a_version_tag_chooses_among_the_models_beside_the_diagram(tmp_path, attributes, inside):
    spaces = ' xmlns:camunda="http://camunda.org/schema/1.0/dmn"'
    zeebe = ' xmlns:zeebe="http://camunda.org/schema/zeebe/1.0"'
    tagged = table([("-", 2)]).replace(
        '<decision id="d"', '<decision camunda:versionTag="v2" id="d"'
    )
    other = table([("-", 1)]).replace(
        '<decision id="d" name="d">',
        '<decision id="d" name="d"><extensionElements><zeebe:versionTag value="v1"/>'
        "</extensionElements>",
    )
    for name, body in (("one", other), ("two", tagged)):
        head = HEAD.replace(" name=", f"{spaces}{zeebe} name=", 1)
        (tmp_path / f"{name}.dmn").write_text(f"{head}{body}</definitions>")
    found = run(tmp_path, attributes, inside, x=1)
    assert found["variables"]["r"] == 2
    assert found["decisions"][0]["model"] == "two.dmn"
