"""What `mlkit bpmn run` shows on a terminal while it runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from mlkit.bpmn.runtime.session import Session
from tests.cli.terminal import bpmn_on_a_terminal

SCRIPT = "import time; print('first step'); print('\\x1b[31mred'); time.sleep(1.2)"


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_nodes_appear_as_they_start_and_finish_with_the_output_of_the_script(tmp_path, diagram):
    body = '<startEvent id="s" name="Begin"/><endEvent id="e" name="Over"/>'
    body += f'<scriptTask id="w" name="Slow work"><script>{SCRIPT}</script></scriptTask>'
    (tmp_path / "p.bpmn").write_text(diagram(body, "s>w w>e"))
    printed, code = bpmn_on_a_terminal(["run", "p.bpmn"], tmp_path)
    assert code == 0
    assert "\x1b[31mred" not in printed
    text = plain(printed)
    places = [
        text.index(each)
        for each in ("✔ Begin", "▶ Slow work", "    first step", "✔ Slow work", "✔ Over")
    ]
    assert places == sorted(places)
    assert re.search(r"✔ Slow work  \d\.\d s", text)
    assert text.rstrip().endswith("completed")


def test_without_colour_or_quiet_it_holds_back(tmp_path, diagram):
    body = '<startEvent id="s"/><scriptTask id="w"><script>x = 1</script></scriptTask>'
    (tmp_path / "p.bpmn").write_text(diagram(body, "s>w"))
    coloured = re.compile(r"\x1b\[3\d")
    assert coloured.search(bpmn_on_a_terminal(["run", "p.bpmn"], tmp_path)[0])
    assert not coloured.search(bpmn_on_a_terminal(["run", "p.bpmn"], tmp_path, NO_COLOR="1")[0])
    assert "✔" not in bpmn_on_a_terminal(["run", "p.bpmn", "--json"], tmp_path)[0]


def test_a_decision_is_asked_for_and_the_end_of_the_input_leaves_the_task(tmp_path, diagram):
    body = '<startEvent id="s"/><userTask id="u" name="Check"/>'
    (tmp_path / "p.bpmn").write_text(diagram(body, "s>u"))
    printed, code = bpmn_on_a_terminal(["run", "p.bpmn"], tmp_path, ["", "perhaps", "y", ""])
    assert code == 0, printed
    printed, code = bpmn_on_a_terminal(["run", "p.bpmn"], tmp_path, ["\x04"])
    assert code == 3, printed
    assert "`mlkit bpmn approve " in printed


def test_an_answer_to_a_task_that_is_done_meanwhile_is_not_lost_silently(tmp_path, diagram):
    body = '<startEvent id="s"/><userTask id="u" name="Check"/>'
    (tmp_path / "p.bpmn").write_text(diagram(body, "s>u"))
    done = f"cd {tmp_path} && {sys.executable} -m mlkit bpmn reject u --as bob"

    def meanwhile():
        subprocess.run(done, shell=True, check=True, capture_output=True)
        return "y\n\n"

    printed, code = bpmn_on_a_terminal(["run", "p.bpmn"], tmp_path, asked={"Approve?": meanwhile})
    assert code == 0
    assert "bob has completed it" in printed


FORM = """<extensionElements><camunda:formData>
<camunda:formField id="v" label="Value" type="string" defaultValue="${who}"/>
<camunda:formField id="ok" label="Fine" type="boolean" defaultValue="false"/>
</camunda:formData></extensionElements>"""


def test_enter_takes_the_defaults_and_they_do_not_steer_the_terminal(tmp_path, diagram):
    body = f'<startEvent id="s"/><userTask id="u">{FORM}</userTask>'
    (tmp_path / "p.bpmn").write_text(diagram(body, "s>u"))
    arguments = ["run", "p.bpmn", "--var", "who=\x1b[31mX"]
    printed, code = bpmn_on_a_terminal(arguments, tmp_path, ["", ""])
    assert code == 0
    assert "\x1b[31mX" not in printed
    assert "Value [\\x1b[31mX]" in printed
    (instance,) = re.findall(r"(\w{8})  completed", printed)
    shown = bpmn_on_a_terminal(["show", instance, "--json"], tmp_path)[0]
    assert json.loads(shown)["variables"] == {"who": "\x1b[31mX", "v": "\x1b[31mX", "ok": False}


FIELDS = (
    '<userTask id="u" name="Ask"><extensionElements><camunda:formData>'
    '<camunda:formField id="pin" label="Pin" type="long" mlkit:secret="true"/>'
    '<camunda:formField id="db_password" label="Database" type="string"/>'
    '<camunda:formField id="rate" label="Rate" type="double"/>'
    "</camunda:formData></extensionElements></userTask>"
)


def test_a_secret_that_is_typed_is_not_echoed(tmp_path, diagram):
    (tmp_path / "p.bpmn").write_text(
        diagram('<startEvent id="s"/><endEvent id="e"/>' + FIELDS, "s>u u>e")
    )
    # What is typed before a prompt for a secret is dropped, as by any program that asks for one.
    asked = {
        "Pin: ": lambda: "wrong-4711\n",
        "not a long\r\nPin: ": lambda: "471147\n",
        "Database: ": lambda: "hunter22-x\n",
        "Rate []: ": lambda: "0.5\n",
    }
    printed, code = bpmn_on_a_terminal(["run", "p.bpmn"], tmp_path, asked=asked)
    assert code == 0, printed
    assert "error: Pin: ****** is not a long" in printed
    assert not [each for each in ("wrong-4711", "471147", "hunter22-x") if each in printed]
    with Session(tmp_path / ".mlkit") as session:
        (row,) = session.journal.rows()
        (root,) = session.state(row).roots()
    assert root.variables == {"pin": 471147, "db_password": "hunter22-x", "rate": 0.5}


def test_a_secret_that_is_required_is_asked_for_without_an_echo(tmp_path, diagram):
    required = '<camunda:validation><camunda:constraint name="required"/></camunda:validation>'
    fields = FIELDS.replace('type="string"/>', f'type="string">{required}</camunda:formField>')
    (tmp_path / "p.bpmn").write_text(
        diagram('<startEvent id="s"/><endEvent id="e"/>' + fields, "s>u u>e")
    )
    assert bpmn_on_a_terminal(["run", "p.bpmn", "--no-input"], tmp_path)[1] == 3
    asked = {"Database: ": lambda: "hunter22-x\n"}
    printed, code = bpmn_on_a_terminal(["complete", "u", "--set", "rate=2"], tmp_path, asked=asked)
    assert (code, "hunter22-x" in printed, "Pin" in printed) == (0, False, False), printed
    assert bpmn_on_a_terminal(["run", "p.bpmn", "--no-input"], tmp_path)[1] == 3
    given = ["complete", "u", "--set", "db_password=x"]
    assert bpmn_on_a_terminal(given, tmp_path)[1] == 0
