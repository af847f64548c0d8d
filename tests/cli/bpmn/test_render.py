"""`mlkit bpmn render` as people use it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from lxml import etree

SHOWCASE = Path(__file__).parents[3] / "examples" / "bpmn" / "showcase"


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


def test_a_token_that_waits_at_a_join_is_shown(mlkit, diagram, tmp_path):
    body = (
        '<startEvent id="s"/><parallelGateway id="f"/><userTask id="u"/><task id="t"/>'
        '<parallelGateway id="j" name="Both"/><endEvent id="e"/>'
    )
    (tmp_path / "p.bpmn").write_text(diagram(body, "s>f f>u f>t u>j t>j j>e"))
    instance = json.loads(mlkit("bpmn", "run", "p.bpmn", "--json").stdout)["instance"]
    assert "joining   Both (a token by 1 of 2 flows" in mlkit("bpmn", "show", instance).stdout
    drawn = mlkit("bpmn", "render", "--instance", instance, "-o", "now.svg", "--json").stdout
    assert {e["element"]: e["state"] for e in json.loads(drawn)["shapes"]}["j"] == "waiting"
    assert "1 of 2" in (tmp_path / "now.svg").read_text()
    mlkit("bpmn", "complete", "u")
    assert "joining" not in mlkit("bpmn", "show", instance).stdout


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


@pytest.fixture
def folded(tmp_path, diagram, arrows):
    """A file as Modeler writes it: a collapsed sub-process has a diagram of its own."""
    inside = '<startEvent id="is"/><task id="it" name="Look closer"/><endEvent id="ie"/>'
    body = '<startEvent id="s"/><endEvent id="e"/><subProcess id="sub" name="Look">'
    body += inside + arrows("is>it it>ie", "i") + "</subProcess>"

    def drawn(number, element, places, name):
        shapes = "".join(
            f'<di:BPMNShape id="{key}_di" bpmnElement="{key}"><dc:Bounds x="{x}" y="80" '
            f'width="{w}" height="{w}"/></di:BPMNShape>'
            for key, (x, w) in places.items()
        )
        spaces = (
            'xmlns:di="http://www.omg.org/spec/BPMN/20100524/DI"'
            ' xmlns:dc="http://www.omg.org/spec/DD/20100524/DC"'
        )
        return (
            f'<di:BPMNDiagram id="d{number}" {spaces} {name}><di:BPMNPlane id="pl{number}"'
            f' bpmnElement="{element}">{shapes}</di:BPMNPlane></di:BPMNDiagram>'
        )

    whole = drawn(1, "p", {"s": (10, 36), "sub": (80, 80), "e": (200, 36)}, 'name="All of it"')
    part = drawn(2, "sub", {"is": (10, 36), "it": (80, 80), "ie": (200, 36)}, "")
    path = tmp_path / "folded.bpmn"
    xml = diagram(body, "s>sub sub>e").replace("</definitions>", f"{whole}{part}</definitions>")
    path.write_text(xml)
    return path


@pytest.mark.parametrize("wanted", ["2", "sub", "Look"])
def test_each_diagram_of_a_file_can_be_drawn(mlkit, folded, tmp_path, wanted):
    drawn = mlkit("bpmn", "render", folded, "--diagram", wanted, "-o", tmp_path / "part.svg")
    assert drawn.returncode == 0, drawn.stderr
    picture = (tmp_path / "part.svg").read_text()
    assert 'data-element="it"' in picture
    assert 'data-element="sub"' not in picture


def test_the_first_of_several_diagrams_is_drawn_and_the_others_are_named(mlkit, folded):
    drawn = mlkit("bpmn", "render", folded)
    assert "Look" in drawn.stdout
    assert "closer" not in drawn.stdout
    assert "--diagram" in drawn.stderr
    assert "2: sub (Look)" in drawn.stderr
    found = json.loads(mlkit("bpmn", "render", folded, "--json").stdout)
    assert found["diagrams"] == [
        {"number": 1, "element": "p", "name": "All of it"},
        {"number": 2, "element": "sub", "name": "Look"},
    ]


def test_the_inside_of_a_folded_sub_process_is_coloured(mlkit, folded, tmp_path):
    ran = json.loads(mlkit("bpmn", "run", folded, "--json").stdout)
    out = tmp_path / "part.svg"
    drawn = mlkit("bpmn", "render", "--instance", ran["instance"], "--diagram", "sub", "-o", out)
    assert drawn.returncode == 0, drawn.stderr
    assert 'data-element="it" data-type="task" data-state="done"' in out.read_text()


def test_a_diagram_that_is_not_there_is_told_with_those_that_are(mlkit, folded):
    drawn = mlkit("bpmn", "render", folded, "--diagram", "3")
    assert drawn.returncode == 66
    assert "no diagram is named '3'" in drawn.stderr
    assert "1: p (All of it), 2: sub (Look)" in drawn.stderr


def test_the_count_of_a_repeated_task_is_that_of_its_iterations(mlkit, tmp_path, diagram):
    many = "<multiInstanceLoopCharacteristics><loopCardinality>3</loopCardinality>"
    many += "</multiInstanceLoopCharacteristics>"
    body = f'<startEvent id="s"/><scriptTask id="w"><script>x = 1</script>{many}</scriptTask>'
    (tmp_path / "p.bpmn").write_text(diagram(body, "s>w"))
    ran = json.loads(mlkit("bpmn", "run", "p.bpmn", "--json").stdout)
    shown = json.loads(mlkit("bpmn", "render", "--instance", ran["instance"], "--json").stdout)
    counts = {each["element"]: each["count"] for each in shown["shapes"]}
    assert counts == {"s": 1, "w": 3}


def test_a_line_does_not_hide_the_label_of_another(mlkit, repository):
    shown = mlkit("bpmn", "render", repository / "examples/bpmn/propensity/campaign.bpmn").stdout
    assert shown.count("yes") == 2
    assert "no, change it" in shown
