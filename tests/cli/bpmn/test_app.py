"""`mlkit bpmn` as people and scripts use it: real processes, output, exit codes."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from commands import run_mlkit
from processes import started

from mlkit.bpmn.journal import open_journal

SHOWCASE = Path(__file__).parents[3] / "examples" / "bpmn" / "showcase"


@pytest.fixture
def mlkit(tmp_path):
    def run(*arguments, stdin=""):
        return run_mlkit("bpmn", *arguments, cwd=tmp_path, input=stdin)

    return run


@pytest.fixture
def showcase(tmp_path):
    shutil.copytree(SHOWCASE, tmp_path / "showcase")
    return tmp_path / "showcase" / "pipeline.bpmn"


def steps(document):
    return [each["element"] for each in document["trace"] if each["event"] == "completed"]


def test_the_showcase_trains_asks_and_deploys(mlkit, showcase, tmp_path):
    first = mlkit("run", showcase, "--var", "owner=ann", "--var", "source=clicks.csv", "--json")
    assert (first.returncode, first.stderr) == (3, "")
    document = json.loads(first.stdout)
    assert (document["schema"], document["state"]) == ("mlkit.bpmn.instance", "waiting")
    assert steps(document) == ["start", "fetch_data", "train_model"]
    (waiting,) = document["waiting"]
    assert waiting["assignee"] == "ann"
    accuracy = document["variables"]["accuracy"]
    assert waiting["form"][0]["default"] == accuracy
    assert accuracy > document["variables"]["baseline"]

    listed = json.loads(mlkit("tasks", "--assignee", "ann", "--json").stdout)["tasks"]
    assert [each["task"] for each in listed] == [waiting["task"]]
    assert json.loads(mlkit("tasks", "--assignee", "bob", "--json").stdout)["tasks"] == []
    refused = mlkit("complete", waiting["task"], "--set", "accuracy=1", "--set", "what=1")
    assert refused.returncode == 65
    assert "what: no such field" in refused.stderr
    assert "accuracy: is read-only" in refused.stderr

    second = mlkit("approve", waiting["task"], "--comment", "fine", "--json")
    assert second.returncode == 0
    document = json.loads(second.stdout)
    assert document["state"] == "completed"
    assert steps(document)[3:] == ["approve", "decision", "deploy_model", "deployed"]
    model = json.loads(Path(document["variables"]["deployed_to"]).read_text())
    assert len(model["weights"]) == 4
    assert document["variables"]["comment"] == "fine"


def test_a_rejected_model_is_not_deployed(mlkit, showcase):
    document = json.loads(
        mlkit("run", showcase, "--var", "owner=a", "--var", "source=clicks.csv", "--json").stdout
    )
    done = mlkit("reject", document["waiting"][0]["task"], "--json")
    assert steps(json.loads(done.stdout))[-1] == "rejected"


class Mailbox(socketserver.StreamRequestHandler):
    """As much SMTP as one mail needs."""

    def handle(self):
        self.wfile.write(b"220 ready\r\n")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.mails.append(b"".join(lines).decode())
            self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")


def test_the_showcase_mails_when_fetching_fails(mlkit, showcase):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mailbox) as server:
        server.mails = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_address[1]}"
        done = mlkit(
            "run", showcase, "--var", "owner=ann", "--var", "source=none.csv",
            "--var", f"mail_server={address}", "--json",
        )  # fmt: skip
        server.shutdown()
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert steps(document) == ["start", "fetch_failed", "mail_failure", "not_fetched"]
    assert {"element": "fetch_data", "event": "terminated"}.items() <= document["trace"][1].items()
    (mail,) = server.mails
    assert "To: ann@localhost" in mail
    assert "none.csv: No such file or directory" in mail


def write(tmp_path, diagram, body, flows):
    path = tmp_path / "p.bpmn"
    path.write_text(diagram(body, flows))
    return path


ENDS = '<startEvent id="s"/><endEvent id="e"/>'


def test_failed_and_incident_exit_1(mlkit, tmp_path, diagram):
    path = write(
        tmp_path,
        diagram,
        ENDS + '<scriptTask id="w"><script>1 / 0</script></scriptTask>',
        "s>w w>e",
    )
    done = mlkit("run", path)
    assert done.returncode == 1
    assert "incident at w: line 1: ZeroDivisionError" in done.stderr
    assert "Traceback" not in done.stderr.replace("mlkit bpmn logs", "")
    instance = done.stdout.split()[0]
    printed = mlkit("logs", instance).stdout
    assert 'File "w", line 1' in printed
    assert "worker" not in printed
    body = '<startEvent id="s"/><endEvent id="e"><errorEventDefinition errorRef="Bad"/></endEvent>'
    document = json.loads(mlkit("run", write(tmp_path, diagram, body, "s>e"), "--json").stdout)
    assert (document["state"], document["error"]["code"]) == ("failed", "BAD")


def test_retry_and_cancel(mlkit, tmp_path, diagram):
    source = "open(execution.folder + '/flag').close()"
    body = ENDS + f'<scriptTask id="w"><script>{source}</script></scriptTask>'
    instance = mlkit("run", write(tmp_path, diagram, body, "s>w w>e")).stdout.split()[0]
    assert mlkit("retry", instance).returncode == 1
    (tmp_path / "flag").touch()
    assert mlkit("retry", instance).returncode == 0
    refused = mlkit("cancel", instance)
    assert refused.returncode == 2
    assert "is completed" in refused.stderr


def test_variables_come_from_a_file_too(mlkit, tmp_path, diagram):
    path = write(tmp_path, diagram, ENDS + '<task id="t"/>', "s>t t>e")
    given = tmp_path / "input.json"
    given.write_text('{"a": [1, 2.5], "b": "file"}')
    done = mlkit("run", path, "--vars", given, "--var", "b=option", "--json")
    assert json.loads(done.stdout)["variables"] == {"a": [1, 2.5], "b": "option"}
    for content, code in (("[1]", 65), ('{"a": ', 65), (None, 66)):
        given.unlink()
        if content is not None:
            given.write_text(content)
        refused = mlkit("run", path, "--vars", given)
        assert (refused.returncode, refused.stdout) == (code, "")
        assert refused.stderr.startswith(f"error: {given}: ")
        given.touch()


def test_messages_and_signals_from_outside(mlkit, tmp_path, diagram):
    body = ENDS + '<intermediateCatchEvent id="m"><messageEventDefinition messageRef="Paid"/>'
    body += '</intermediateCatchEvent><intermediateCatchEvent id="c"><signalEventDefinition '
    body += 'signalRef="Stop"/></intermediateCatchEvent>'
    path = write(tmp_path, diagram, body, "s>m m>c c>e")
    # Sent before anybody waits: kept, and taken by the first that does.
    assert mlkit("message", "paid", "--key", "k1", "--set", "total=9").returncode == 66
    first = mlkit("run", path, "--business-key", "k1", "--json")
    assert json.loads(first.stdout)["waiting"][0]["message"] == "paid"
    mlkit("message", "paid", "--key", "other")
    sent = json.loads(mlkit("message", "paid", "--key", "k1", "--set", "total=9", "--json").stdout)
    assert len(sent["receivers"]) == 1
    kept = mlkit("message", "paid", "--key", "k2")
    assert "kept" in kept.stderr
    second = json.loads(mlkit("run", path, "--business-key", "k2", "--json").stdout)
    assert second["waiting"][0]["signal"] == "stop"
    done = json.loads(mlkit("signal", "stop", "--json").stdout)
    assert [each["state"] for each in done["receivers"]] == ["completed", "completed"]
    third = mlkit("run", path, "--business-key", "k3")
    fourth = mlkit("run", path, "--business-key", "k3")
    assert (third.returncode, fourth.returncode) == (3, 3)
    assert mlkit("message", "paid", "--key", "k3").returncode == 2


def test_the_commands_that_run_names_can_be_copied_whatever_data_holds(mlkit, tmp_path, diagram):
    body = ENDS + '<receiveTask id="r" messageRef="Paid"/>'
    path = tmp_path / "p.bpmn"
    path.write_text(diagram(body, "s>r r>e").replace('name="paid"', 'name="Order paid"'))
    key = "1; touch owned #'"
    run = mlkit("run", path, "--business-key", key, "--state", "my state")
    (command,) = re.findall("`(.*)`", run.stderr)
    assert shlex.split(command) == [
        "mlkit", "bpmn", "message", "Order paid", "--key", key, "--state", "my state"
    ]  # fmt: skip
    assert mlkit(*shlex.split(command)[2:]).stdout.split()[-1] == "completed"


def test_commands_do_not_wait_for_timers_but_for_further_attempts(mlkit, tmp_path, diagram):
    timer = "<timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition>"
    cycle = "<extensionElements><camunda:failedJobRetryTimeCycle>R2/PT0.2S"
    cycle += "</camunda:failedJobRetryTimeCycle></extensionElements>"
    source = "y = 1 / (execution.attempt - 1)"
    body = ENDS + '<parallelGateway id="g"/><userTask id="a"/><userTask id="b"/>'
    body += (
        f'<boundaryEvent id="t" attachedToRef="b" cancelActivity="false">{timer}</boundaryEvent>'
    )
    body += f'<scriptTask id="w">{cycle}<script>{source}</script></scriptTask>'
    body += '<receiveTask id="r" messageRef="Paid"/>'
    path = write(tmp_path, diagram, body, "s>g g>a g>b g>r a>w w>e b>e r>e t>e")
    mlkit("run", path, "--until", "0")
    assert mlkit("claim", "b", "--assignee", "ann").returncode == 0
    assert mlkit("message", "paid").returncode == 0
    done = mlkit("approve", "a", "--json")
    assert done.returncode == 3
    document = json.loads(done.stdout)
    assert steps(document)[-2:] == ["w", "e"]
    assert sorted(each["for"] for each in document["waiting"]) == ["person", "timer"]


def test_a_simulated_clock_does_not_wait(mlkit, tmp_path, diagram):
    timer = "<timerEventDefinition><timeDuration>P30D</timeDuration></timerEventDefinition>"
    body = ENDS + f'<intermediateCatchEvent id="t">{timer}</intermediateCatchEvent>'
    path = write(tmp_path, diagram, body, "s>t t>e")
    document = json.loads(mlkit("run", path, "--clock", "simulated", "--json").stdout)
    start, fired = document["trace"][0]["at"], document["trace"][1]["at"]
    assert document["state"] == "completed"
    assert start[:10] != fired[:10]
    bounded = mlkit("run", path, "--clock", "simulated", "--until", "60")
    assert bounded.returncode == 3


def test_service_tasks_call_python(mlkit, tmp_path, diagram):
    (tmp_path / "steps.py").write_text(
        "from mlkit.bpmn import BpmnError\n"
        "def double(x): return {'y': x * 2}\n"
        "def refuse(): raise BpmnError('NO', 'not today')\n"
    )
    body = ENDS + '<serviceTask id="a" camunda:class="steps:double"/>'
    body += '<serviceTask id="b" camunda:type="external" camunda:topic="refuse"/>'
    path = write(tmp_path, diagram, body, "s>a a>b b>e")
    unbound = mlkit("run", path)
    assert unbound.returncode == 65
    assert "b: 'refuse' is not a Python callable" in unbound.stderr
    assert not (tmp_path / ".mlkit").exists()
    done = mlkit("run", path, "--task", "refuse=steps:refuse", "--var", "x=4", "--json")
    document = json.loads(done.stdout)
    assert document["variables"]["y"] == 8
    assert document["error"] == {"code": "NO", "message": "not today"}


def test_lint_lists_all_problems_and_list_shows_instances(mlkit, tmp_path, diagram):
    body = ENDS + '<scriptTask id="w" scriptFormat="groovy"><script>x</script></scriptTask>'
    path = write(tmp_path, diagram, body + '<task id="lost"/>', "s>w w>e")
    done = mlkit("lint", path, "--json")
    assert done.returncode == 1
    (file,) = json.loads(done.stdout)["files"]
    assert {each["rule"] for each in file["problems"]} == {"script.format", "node.unreachable"}
    path = write(tmp_path, diagram, ENDS, "s>e")
    mlkit("run", path)
    (row,) = json.loads(mlkit("list", "--json").stdout)["instances"]
    assert row["state"] == "completed"
    assert "startEvent" in mlkit("history", row["instance"]).stdout
    assert "completed" in mlkit("show", row["instance"][:4]).stdout


def test_a_task_is_named_by_its_element_where_one_instance_waits_at_it(mlkit, tmp_path, diagram):
    path = write(tmp_path, diagram, ENDS + '<userTask id="check"/>', "s>check check>e")
    mlkit("run", path)
    assert mlkit("approve", "check").returncode == 0
    mlkit("run", path)
    mlkit("run", path)
    both = mlkit("approve", "check")
    assert both.returncode == 66
    assert "several tasks of 'check'" in both.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["run", "none.bpmn"], 66, "none.bpmn"),
        (["show", "abc"], 66, "no journal"),
        (["run", "x", "--var", "novalue"], 2, "expected NAME=VALUE"),
        (["run", "x", "--clock", "lunar"], 2, "lunar"),
        (["approve", "abc"], 66, "no journal"),
    ],
)
def test_wrong_use_is_a_one_line_error(mlkit, arguments, code, text):
    done = mlkit(*arguments)
    assert done.returncode == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "p.bpmn", "--until", "-1"), ("message", "m", "--ttl", "-1"),
        ("run", "p.bpmn", "--clock", "lunar"), ("run", "p.bpmn", "--var", "x"),
    ],
)  # fmt: skip
def test_values_that_no_option_takes_are_wrong_use(mlkit, arguments):
    refused = mlkit(*arguments)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr


def test_a_task_says_until_when_and_how_urgent_and_a_cancelled_instance_why(
    mlkit, tmp_path, diagram
):
    body = '<startEvent id="s"/><endEvent id="e"/><userTask id="u" camunda:dueDate="${day}"'
    (tmp_path / "p.bpmn").write_text(diagram(body + ' camunda:priority="50"/>', "s>u u>e"))
    ran = mlkit("run", "p.bpmn", "--var", 'day="2030-01-31"', "--json")
    instance = json.loads(ran.stdout)["instance"]
    (task,) = json.loads(mlkit("tasks", "--json").stdout)["tasks"]
    assert (task["due"], task["priority"]) == ("2030-01-31", "50")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", task["created"])
    assert task["since"] == task["created"]  # Its older name.
    assert "cancelled: too late" in mlkit("cancel", instance, "--reason", "too late").stderr
    assert "too late" in mlkit("show", instance).stdout


def test_resume_says_that_another_process_runs_the_instance(mlkit, tmp_path, diagram):
    body = '<startEvent id="s"/><endEvent id="e"/><userTask id="u"/>'
    (tmp_path / "p.bpmn").write_text(diagram(body, "s>u u>e"))
    instance = json.loads(mlkit("run", "p.bpmn", "--json").stdout)["instance"]
    assert "another process" not in mlkit("resume", instance).stderr
    journal = open_journal(tmp_path / ".mlkit")
    journal.own(journal.find(instance))
    refused = mlkit("resume", instance)
    journal.close()
    assert f"instance {instance} runs in another process" in refused.stderr


def test_an_instance_keeps_the_limits_and_the_environment_of_its_run(
    mlkit, tmp_path, diagram, monkeypatch
):
    monkeypatch.setenv("TOKEN", "t0k")
    source = "import os, time; print(os.environ.get('TOKEN'))\n"
    source += f"while not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.02)"
    body = ENDS + f'<userTask id="u"/><scriptTask id="w"><script>{source}</script></scriptTask>'
    path = write(tmp_path, diagram, body, "s>u u>w w>e")
    mlkit("run", path, "--timeout", "3", "--env", "TOKEN")
    late = mlkit("approve", "u")
    assert late.returncode == 1
    assert "stopped after 3 s (--timeout)" in late.stderr
    (tmp_path / "go").touch()
    instance = late.stdout.split()[0]
    assert "t0k" in mlkit("logs", instance).stdout
    again = mlkit("retry", instance, "--timeout", "300")
    assert again.returncode == 0, again.stderr


def test_instances_keep_their_interpreters_also_together(mlkit, tmp_path, diagram):
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nOTHER=1 exec {sys.executable} "$@"\n')
    other.chmod(0o755)
    source = "import os; mine = 'OTHER' in os.environ"
    timer = "<timerEventDefinition><timeDuration>PT0.1S</timeDuration></timerEventDefinition>"
    body = ENDS + f'<scriptTask id="w"><script>{source}</script></scriptTask>'
    body += f'<intermediateCatchEvent id="t">{timer}</intermediateCatchEvent>'
    path = write(tmp_path, diagram, body, "s>t t>w w>e")
    for chosen in ([], ["--python", other], []):
        mlkit("run", path, "--until", "0", *chosen)
    mlkit("resume")
    listed = json.loads(mlkit("list", "--json").stdout)["instances"]
    shown = [json.loads(mlkit("show", each["instance"], "--json").stdout) for each in listed]
    assert [each["variables"]["mine"] for each in shown] == [False, True, False]


def test_a_command_for_an_instance_that_runs_elsewhere_is_taken_there(mlkit, tmp_path, diagram):
    source = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)"
    body = ENDS + '<parallelGateway id="g"/><userTask id="u"/><parallelGateway id="j"/>'
    body += f'<scriptTask id="w"><script>{source}</script></scriptTask>'
    path = write(tmp_path, diagram, body, "s>g g>u g>w u>j w>j j>e")
    command = [sys.executable, "-m", "mlkit", "bpmn", "run", str(path), "--json"]
    with started(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as running:
        while not (work := list(tmp_path.glob(".mlkit/work/*"))):
            assert running.poll() is None
            time.sleep(0.02)
        done = mlkit("approve", "u", "--json")
        assert done.returncode == 3
        assert json.loads(done.stdout)["state"] == "running"
        assert "runs in another process" in done.stderr
        (work[0] / "go").touch()
        document = json.loads(running.communicate()[0])
    assert (document["state"], document["variables"]) == ("completed", {"approved": True})


def test_lint_tells_all_files_though_one_is_broken(mlkit, tmp_path, diagram):
    (tmp_path / "a.bpmn").write_text("<oops")
    (tmp_path / "b.bpmn").write_text(diagram('<task id="alone"/>', "alone>alone"))
    found = mlkit("lint", "a.bpmn", "b.bpmn", "none.bpmn")
    assert found.returncode == 65
    assert "a.bpmn:1: not XML" in found.stderr
    assert "nothing starts [process.start]" in found.stdout
    document = json.loads(mlkit("lint", "a.bpmn", "b.bpmn", "--json").stdout)
    rules = [[each["rule"] for each in file["problems"]] for file in document["files"]]
    assert rules == [["file.broken"], ["node.unreachable", "process.start"]]


@pytest.mark.parametrize("attribute", ["script", "camunda:script"])
def test_a_script_may_stand_in_an_attribute(mlkit, tmp_path, diagram, attribute):
    body = f'<startEvent id="s"/><scriptTask id="w" {attribute}="x = 1&#10;y = x + 1"/>'
    (tmp_path / "p.bpmn").write_text(diagram(body, "s>w"))
    ran = mlkit("run", "p.bpmn", "--json")
    assert json.loads(ran.stdout)["variables"] == {"x": 1, "y": 2}
    assert ran.stderr == ""


def test_what_data_holds_does_not_steer_the_terminal(mlkit, showcase):
    owner = json.dumps("\x1b[2Jann\nroot")
    ran = mlkit(
        "run", showcase, "--no-input", "--var", f"owner={owner}", "--var", "source=clicks.csv"
    )
    assert ran.returncode == 3
    listed = mlkit("tasks").stdout
    assert "\x1b" not in ran.stdout + ran.stderr + listed
    assert "for \\x1b[2Jann\\nroot" in listed
    assert len(listed.splitlines()) == 1


def test_a_settings_file_names_the_journal_for_all_commands(mlkit, tmp_path):
    url = "postgresql://ann:s3cret@127.0.0.1:1/flows"
    (tmp_path / "mlkit.toml").write_text(f'[bpmn]\njournal = "{url}"\n')
    for command in (["list"], ["tasks"], ["mail", "list"], ["run", "nothing.bpmn"]):
        done = mlkit(*command)
        assert done.returncode == (66 if command[0] == "run" else 69), done.stderr
        assert "s3cret" not in done.stderr
    (tmp_path / "mlkit.toml").write_text('[bpmn]\nurl = "x"\n')
    assert mlkit("list").returncode == 78
