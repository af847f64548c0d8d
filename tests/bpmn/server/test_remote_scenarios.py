"""Scenarios and drawings of instances with `--server`: as on the journal itself."""

from __future__ import annotations

import json

import pytest
from bpmn.server.remote import ENDS, SCRIPT, V1, diagram_of

from mlkit.bpmn import Client
from mlkit.bpmn.scenarios.files import write_files
from mlkit.errors import InputMissing, UsageError


def test_a_scenario_of_a_server_is_played_where_its_diagram_is(terminal, tmp_path):
    instance = terminal.begin("form", variables={"x": 2, "password": "hunter22-x"})
    done = terminal.there("complete", f"{instance}/u", "--set", "rate=0.5", "--as", "bob")
    assert done[0] == 0
    file = tmp_path / "tests" / "s.json"
    file.parent.mkdir()
    code, _, err = terminal.there("scenario", instance, "-o", file, "--no-files")
    assert (code, "not played: form.bpmn is not here" in err) == (0, True)
    (tmp_path / "form.bpmn").write_text(diagram_of("form"))
    chosen = ("--diagram", tmp_path / "form.bpmn", "--name", "mine")
    code, _, err = terminal.there("scenario", instance, "-o", file, *chosen)
    assert (code, "played: as the instance ran" in err) == (0, True), err
    assert "masked as secrets: password;" in err
    written = json.loads(file.read_text())
    assert written["variables"] == {"x": 2, "password": "******"}
    assert (written["diagram"], written["answers"][0]["set"]) == ("../form.bpmn", {"rate": 0.5})
    assert terminal.run("test", file)[0] == 0
    here = json.loads(terminal.here("scenario", instance, "--json")[1])
    there = json.loads(terminal.there("scenario", instance, *chosen, "--json")[1])
    assert here["scenario"]["variables"]["password"] == "hunter22-x"
    assert (here["masked"], there["masked"], there["played"]) == ([], ["password"], True)
    changed = tmp_path / "changed.bpmn"
    changed.write_text(diagram_of("form").replace('id="rate"', 'id="other"'))
    assert terminal.there("scenario", instance, "--diagram", changed)[0] == 1
    waits = terminal.begin("form")
    assert terminal.there("cancel", waits)[0] == 0
    code, _, err = terminal.there("scenario", waits)
    assert (code, "is cancelled" in err) == (2, True)


USES = """<startEvent id="s"/>
<scriptTask id="make" scriptFormat="python" camunda:resource="deployment://scripts/make.py"/>
<userTask id="ask" camunda:formKey="camunda-forms:deployment:ask.form"/>
<serviceTask id="call" camunda:class="own:double"/>
<businessRuleTask id="rule" camunda:decisionRef="grade" camunda:resultVariable="grade"
 camunda:mapDecisionResult="singleEntry"/>
<callActivity id="sub" calledElement="inner"/><endEvent id="e"/>"""
DECISION = """<definitions xmlns="https://www.omg.org/spec/DMN/20191111/MODEL/" id="d" name="d"
 namespace="d"><decision id="grade" name="grade"><variable name="grade"/>
<literalExpression><text>if y > 5 then "high" else "low"</text></literalExpression></decision>
</definitions>"""
FILES = {
    "scripts/make.py": "import datetime\ny = x + 1\nday = datetime.date(2026, 1, 2)\n",
    "ask.form": '{"type": "default", "id": "ask", "components":'
    ' [{"type": "textfield", "key": "password"}, {"type": "number", "key": "rate"}]}',
    "own.py": "def double(y):\n    return {'z': 2 * y}\n",
    "grade.dmn": DECISION,
}


def test_a_scenario_of_a_server_plays_in_an_empty_folder(terminal, tmp_path):
    flows = "s>make make>ask ask>call call>rule rule>sub sub>e"
    inner = SCRIPT.format("w = 1")
    files = {
        "uses.bpmn": diagram_of("uses", USES, flows),
        "inner.bpmn": diagram_of("inner", ENDS + inner, "s>work work>e"),
        **FILES,
    }
    sent = [("file", (name, text)) for name, text in files.items()]
    answer = terminal.server("POST", f"{V1}/definitions", files=sent)
    assert answer.status_code == 201, answer.text
    instance = terminal.begin("uses", variables={"x": 4})
    code, _, err = terminal.there("complete", f"{instance}/ask", "--set", "password=4711-1")
    assert code in (0, 3), err
    terminal.server.wait(
        lambda: terminal.server("GET", f"{V1}/instances/{instance}").json()["state"] == "completed"
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    for options in ((), ("--run-scripts",)):  # Once more: the same files are there.
        code, _, err = terminal.there("scenario", instance, "-o", empty / "s.json", *options)
        assert (code, "played: as the instance ran" in err) == (0, True), err
        assert terminal.run("test", empty / "s.json")[0] == 0
    names = {str(each.relative_to(empty)) for each in empty.rglob("*") if each.is_file()}
    assert names == {*files, "s.json"}
    text = (empty / "s.json").read_text()
    assert ("4711-1" in text, '"password": "******"' in text) == (False, True)

    (empty / "own.py").write_text("def double(y):\n    return {'z': 0}\n")
    before = (empty / "s.json").read_text()
    code, _, err = terminal.there("scenario", instance, "-o", empty / "s.json")
    assert (code, "own.py: another file has the name" in err) == (2, True)
    assert (empty / "s.json").read_text() == before
    assert terminal.there("scenario", instance, "-o", empty / "own.py")[0] == 2
    code, out, _ = terminal.there("scenario", instance, "--json")
    assert (code, json.loads(out)["played"], json.loads(out)["files"]) == (0, True, [])


@pytest.mark.parametrize(
    "name", ["../evil", "/tmp/evil", "a/../../evil", "link/evil", "x://../evil"]
)
def test_no_file_of_a_scenario_leaves_its_folder(tmp_path, name):
    folder = tmp_path / "here"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError):
        write_files({"a.bpmn": b"a", name: b"evil"}, folder)
    assert not list(tmp_path.rglob("evil"))
    assert not (folder / "a.bpmn").exists()


def test_an_instance_is_drawn_by_a_server_as_by_its_journal(terminal, both, tmp_path):
    instance = terminal.begin("form")
    for extra in ((), ("--json",)):
        assert both("render", "--instance", instance, *extra)[0] == 0
    shapes = json.loads(terminal.there("render", "--instance", instance, "--json")[1])["shapes"]
    states = {each["element"]: each["state"] for each in shapes}
    assert states == {"s": "done", "u": "waiting", "e": None}
    drawn = []
    for name, run in (("a", terminal.here), ("b", terminal.there)):
        for kind in ("svg", "png"):
            file = tmp_path / f"{name}.{kind}"
            assert run("render", "--instance", instance, "-o", file, "--theme", "dark")[0] == 0
            drawn.append(file.read_bytes())
    assert drawn[:2] == drawn[2:]
    with Client(terminal.server.url) as client:
        assert client.picture(instance, theme="dark") == drawn[0]
        assert client.picture(instance, "png", theme="dark") == drawn[1]
        assert client.diagram(instance).decode() == diagram_of("form")
        assert client.progress(instance)["elements"]["s"]["count"] == 1
        with pytest.raises(InputMissing, match="no diagram is named 'x'"):
            client.picture(instance, diagram="x")
        with pytest.raises(UsageError, match="theme: 'pink'"):
            client.picture(instance, theme="pink")
    assert terminal.there("render", "--instance", "0" * 12)[0] == 66
    # The file of today, by how far the instance has come.
    (tmp_path / "now.bpmn").write_text(diagram_of("form").replace('name="Look"', 'name="See"'))
    text = terminal.there("render", tmp_path / "now.bpmn", "--instance", instance)[1]
    assert "See" in text
