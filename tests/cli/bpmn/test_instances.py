"""Called files, pools and ad-hoc sub-processes as a user meets them."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

PLAIN = '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL">'


@pytest.fixture(name="mlkit")
def _mlkit(mlkit):
    return lambda *arguments: mlkit("bpmn", *arguments)


def row(*nodes: str) -> str:
    """Write nodes in a row; each is `tag id [inside]`."""
    parts = [each.split(" ", 2) for each in nodes]
    body = "".join(f'<{p[0]} id="{p[1]}">{p[2] if len(p) > 2 else ""}</{p[0]}>' for p in parts)
    names = [p[1] for p in parts]
    return body + "".join(
        f'<sequenceFlow id="{a}-{b}" sourceRef="{a}" targetRef="{b}"/>' for a, b in pairwise(names)
    )


def test_a_called_file_is_kept_with_the_instance(mlkit, tmp_path):
    call = row("startEvent s", "callActivity c", "scriptTask after <script>z = y</script>",
               "endEvent e").replace('id="c"', 'id="c" calledElement="q"')  # fmt: skip
    inner = row("startEvent qs", "userTask ask", "scriptTask t <script>y = x + 1</script>",
                "endEvent qe")  # fmt: skip
    (tmp_path / "a.bpmn").write_text(f'{PLAIN}<process id="p">{call}</process></definitions>')
    other = tmp_path / "b.bpmn"
    other.write_text(f'{PLAIN}<process id="q">{inner}</process></definitions>')
    waiting = mlkit("run", "a.bpmn", "--var", "x=1", "--json")
    assert waiting.returncode == 3, waiting.stderr
    other.unlink()
    done = mlkit("complete", "b.bpmn#ask", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["variables"] == {"x": 1, "y": 2, "z": 2}
    assert "b.bpmn#t" in [each["element"] for each in document["trace"]]


def test_pools_run_as_one_instance(mlkit, tmp_path):
    throw = "<messageEventDefinition/>"
    left = row("startEvent s", f"intermediateThrowEvent ask {throw}",
               f"intermediateCatchEvent hear {throw}", "endEvent e")  # fmt: skip
    right = row(f"startEvent qs {throw}", "scriptTask t <script>found = 1</script>",
                f"endEvent qe {throw}")  # fmt: skip
    flows = '<messageFlow id="m1" sourceRef="ask" targetRef="qs"/>'
    flows += '<messageFlow id="m2" sourceRef="qe" targetRef="hear"/>'
    pools = '<participant id="l" processRef="p"/><participant id="r" processRef="q"/>'
    (tmp_path / "a.bpmn").write_text(
        f'{PLAIN}<collaboration id="co">{pools}{flows}</collaboration><process id="p">{left}'
        f'</process><process id="q">{right}</process></definitions>'
    )
    done = mlkit("run", "a.bpmn", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [each["process"] for each in document["pools"]] == ["p", "q"]
    assert document["pools"][1]["variables"] == {"found": 1}


def test_people_start_the_activities_of_an_ad_hoc_sub_process(mlkit, tmp_path):
    inside = '<scriptTask id="look"><script>looked = True</script></scriptTask>'
    body = row("startEvent s", f"adHocSubProcess h {inside}", "endEvent e")
    (tmp_path / "a.bpmn").write_text(f'{PLAIN}<process id="p">{body}</process></definitions>')
    waiting = mlkit("run", "a.bpmn")
    assert waiting.returncode == 3
    assert "start look" in waiting.stderr
    instance = waiting.stdout.split()[0]
    assert mlkit("start", instance, "e").returncode == 2
    assert mlkit("start", instance, "look").returncode == 3
    done = mlkit("start", instance, "h", "--end", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["variables"] == {"looked": True}


def test_a_deployed_definition_runs_with_the_options_of_its_start(mlkit, tmp_path, monkeypatch):
    monkeypatch.setenv("LEVEL", "high")
    script = "import os\nlevel = os.environ.get('LEVEL', 'none')\ny = x * 2"
    body = row("startEvent s", f"scriptTask work <script>{script}</script>", "endEvent e")
    (tmp_path / "a.bpmn").write_text(f'{PLAIN}<process id="p">{body}</process></definitions>')
    missing = mlkit("start", "p")
    assert (missing.returncode, missing.stderr.count("error:")) == (66, 1)
    assert mlkit("deploy", "a.bpmn").returncode == 0
    done = mlkit("start", "p", "--var", "x=4", "--env", "LEVEL", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["variables"] == {"x": 4, "level": "high", "y": 8}
    failed = mlkit("start", "p")
    assert failed.returncode == 1
    assert failed.stdout.split()[1] == "incident"
    unknown = mlkit("start", "a.bpmn")
    assert (unknown.returncode, "`mlkit bpmn deploy FILE`" in unknown.stderr) == (66, True)


PIPELINE = row(
    "startEvent s",
    'scriptTask fetch <script>import random\nx = random.random()\nopen("kept", "w").write("1")'
    "</script>",
    'scriptTask train <script>y = -x\nfound = open("kept").read()</script>',
    "userTask check",
    "endEvent e",
)


def test_a_rerun_keeps_the_results_of_what_lies_before(mlkit, tmp_path):
    path = tmp_path / "a.bpmn"
    path.write_text(f'{PLAIN}<process id="p">{PIPELINE}</process></definitions>')
    first = json.loads(mlkit("run", path, "--json").stdout)
    again = json.loads(mlkit("rerun", first["instance"], "--from", "train", "--json").stdout)
    assert again["instance"] != first["instance"]
    assert again["variables"] == first["variables"]
    assert [(each["element"], each["attempt"]) for each in again["trace"]] == [
        ("s", 0), ("fetch", 1), ("train", 1)
    ]  # fmt: skip
    done = mlkit("approve", f"{again['instance']}/check", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(mlkit("show", first["instance"], "--json").stdout)["state"] == "waiting"


def test_a_rerun_with_a_changed_diagram_must_lead_there_in_the_same_way(mlkit, tmp_path):
    path = tmp_path / "a.bpmn"
    text = f'{PLAIN}<process id="p">{PIPELINE}</process></definitions>'
    path.write_text(text)
    first = json.loads(mlkit("run", path, "--json").stdout)
    path.write_text(text.replace("y = -x", "y = 2 * x"))
    arguments = ("rerun", first["instance"], "--from", "train", "--file", path, "--json")
    changed = json.loads(mlkit(*arguments).stdout)
    assert changed["variables"]["x"] == first["variables"]["x"]
    assert changed["variables"]["y"] == 2 * changed["variables"]["x"]
    path.write_text(text.replace('"fetch"', '"load"'))
    refused = mlkit(*arguments)
    assert refused.returncode == 2
    assert "in the same way" in refused.stderr
    missing = mlkit("rerun", first["instance"], "--from", "e", "--json")
    assert missing.returncode == 66


def test_a_task_is_claimed_and_given_back(mlkit, tmp_path):
    body = row("startEvent s", "userTask check", "endEvent e")
    (tmp_path / "a.bpmn").write_text(f'{PLAIN}<process id="p">{body}</process></definitions>')
    mlkit("run", "a.bpmn")
    assert mlkit("claim", "check", "--assignee", "ann").returncode == 0
    assert "for ann" in mlkit("tasks").stdout
    refused = mlkit("claim", "check", "--assignee", "bob")
    assert refused.returncode == 2
    assert "assigned to ann" in refused.stderr
    assert mlkit("claim", "check", "--release").returncode == 0
    assert "for anybody" in mlkit("tasks").stdout
