"""`mlkit bpmn render` as people use it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from lxml import etree

SHOWCASE = Path(__file__).parents[2] / "examples" / "bpmn" / "showcase"


@pytest.fixture
def showcase(tmp_path):
    shutil.copytree(SHOWCASE, tmp_path / "showcase")
    return tmp_path / "showcase" / "pipeline.bpmn"


def test_a_file_becomes_svg_png_or_text(mlkit, showcase, tmp_path):
    assert mlkit("bpmn", "render", showcase, "-o", "a.svg").returncode == 0
    assert etree.parse(tmp_path / "a.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert mlkit("bpmn", "render", showcase, "-o", "a.png").returncode == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    text = mlkit("bpmn", "render", showcase)
    assert "Load data" in text.stdout
    assert "\x1b" not in text.stdout
    document = json.loads(mlkit("bpmn", "render", showcase, "--json").stdout)
    assert (len(document["shapes"]), len(document["edges"])) == (11, 9)


def test_an_instance_is_coloured_by_state(mlkit, showcase, tmp_path):
    run = mlkit("bpmn", "run", showcase, "--var", "owner=a", "--var", "source=clicks.csv", "--json")
    instance = json.loads(run.stdout)["instance"]
    done = mlkit("bpmn", "render", "--instance", instance, "-o", "now.svg", "--json")
    states = {each["element"]: each["state"] for each in json.loads(done.stdout)["shapes"]}
    assert states["fetch_data"] == states["train_model"] == "done"
    assert states["approve"] == "waiting"
    assert states["deploy_model"] is None
    root = etree.parse(tmp_path / "now.svg").getroot()
    drawn = {e.get("data-element"): e.get("data-state") for e in root.iter() if e.get("data-type")}
    assert drawn["approve"] == "waiting"
    assert drawn["deployed"] is None
    mlkit("bpmn", "reject", "approve")
    shapes = json.loads(mlkit("bpmn", "render", "--instance", instance, "--json").stdout)["shapes"]
    found = {each["element"]: each for each in shapes}
    assert found["rejected"]["state"] == "done"
    assert found["train_model"]["count"] == 1
    assert found["train_model"]["seconds"] > 0


def test_a_failure_is_shown_as_failed(mlkit, diagram, tmp_path):
    body = (
        '<startEvent id="s"/><endEvent id="e"/><scriptTask id="w"><script>1/0</script></scriptTask>'
    )
    (tmp_path / "p.bpmn").write_text(diagram(body, "s>w w>e"))
    instance = json.loads(mlkit("bpmn", "run", "p.bpmn", "--json").stdout)["instance"]
    text = mlkit("bpmn", "render", "--instance", instance)
    assert "✘" in text.stdout
    shapes = json.loads(mlkit("bpmn", "render", "--instance", instance, "--json").stdout)["shapes"]
    assert {s["element"]: s["state"] for s in shapes} == {"s": "done", "w": "failed", "e": None}


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["none.bpmn"], 66, "none.bpmn"),
        ([], 2, "name a FILE"),
        (["x.bpmn", "-o", "x.gif"], 2, ".svg or .png"),
        (["--instance", "abc"], 66, "no journal"),
        ([SHOWCASE / "pipeline.bpmn", "-o", "nowhere/x.svg"], 66, "nowhere"),
    ],
)
def test_wrong_use_is_a_one_line_error(mlkit, arguments, code, text):
    done = mlkit("bpmn", "render", *arguments)
    assert done.returncode == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr
