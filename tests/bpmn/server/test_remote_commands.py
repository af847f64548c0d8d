"""Commands with `--server`: the same output, errors and exit codes as on the journal itself."""

from __future__ import annotations

import json
import re
import time

import pytest
from bpmn.server.remote import BODIES, ENDS, SCRIPT, STATES, TIMER, V1, Terminal, diagram_of

from mlkit.bpmn.backends.server import ServerBackend
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.runtime.session import Session, Settings


def test_what_is_read_is_the_same(terminal, both):
    keys = BODIES.keys() - {"daily", "soon"}
    instances = {key: terminal.begin(key, variables={"x": 2}) for key in sorted(keys)}
    for extra in ((), ("--json",)):
        code, out, _ = both("list", *extra)
        assert code == 0
        assert all(each in out for each in instances.values())
        for command in ("show", "history", "logs", "artifacts"):
            for each in instances.values():
                assert both(command, each[:8], *extra)[0] == 0
        assert "Look  for owners" in both("tasks", *extra)[1] or extra
        both("tasks", "--group", "owners", *extra)
        both("tasks", "--assignee", "ann", *extra)
        both("schedules", "list", *extra)
    assert "hello" in terminal.there("logs", instances["good"])[1]
    found = json.loads(terminal.there("tasks", "--group", "owners", "--json")[1])["tasks"]
    assert [field["id"] for field in found[0]["form"]] == ["rate"]
    terminal.server("PUT", f"{V1}/stores/best", json={"value": [1, {"a": None}]})
    assert re.search(r"best = .*  \(\d+ s ago\)\n", both("stores")[1])  # No instance has set it.
    both("stores", "--json")
    both("retries")
    both("retries", "--json", "--process", "p", "--element", "w")


@pytest.mark.parametrize("extra", [(), ("--json",)])
@pytest.mark.parametrize(
    ("act", "key", "code"),
    [
        (("complete", "{}/u", "--set", "rate=0.5", "--as", "bob"), "form", 0),
        (("complete", "{}/u", "--set", "rate=much"), "form", 65),
        (("complete", "{}/u", "--as", "bob"), "sign", 2),
        (("complete", "{}/nothing"), "sign", 66),
        (("approve", "{}/u", "--comment", "good", "--as", "ann"), "sign", 0),
        (("reject", "{}/u", "--as", "ann"), "sign", 0),
        (("claim", "{}/u", "--as", "eve"), "form", 0),
        (("claim", "{}/u", "--release"), "sign", 0),
        (("claim", "{}/u", "--as", ""), "sign", 2),
        (("delegate", "{}/u", "--to", "bob", "--as", "ann"), "sign", 0),
        (("cancel", "{}", "--reason", "late"), "late", 0),
        (("suspend", "{}", "--reason", "wrong prices"), "form", 0),
        (("unsuspend", "{}"), "form", 2),
        (("retry", "{}"), "form", 2),
        (("start", "{}", "a"), "adhoc", 3),
        (("start", "{}", "nothing"), "adhoc", 2),
    ],
)
def test_what_moves_instances_says_the_same(terminal, act, key, code, extra):
    assert terminal.same((*act, *extra), key)[0] == code


def test_messages_and_signals_arrive(terminal):
    told = []
    for run in (terminal.here, terminal.there):
        instance = terminal.begin("mail", business_key="k1")
        paid = run("message", "paid", "--key", "k1", "--set", "sum=9")

        def signals(one=instance):
            found = terminal.server("GET", f"{V1}/instances/{one}").json()
            return found["waiting"] and found["waiting"][0].get("signal") == "stop"

        terminal.server.wait(signals)
        stopped, kept = run("signal", "stop", "--json"), run("message", "never")
        assert kept == (0, "", "nobody waits for message 'never'; kept\n")
        # A server answers before the instance has moved on.
        said = STATES.sub("STATE", str((paid, stopped, kept)))
        told.append(said.replace(instance, "ID"))
    assert told[0] == told[1]
    assert told[0].count("ID") == 2


def test_an_incident_is_tried_again(terminal):
    instance = terminal.begin("stop")
    code, out, _ = terminal.there("retry", instance)
    assert code in (1, 3)
    assert instance in out
    terminal.server.wait(lambda: len(_logs(terminal, instance)) == 2)
    refused = terminal.there("retry", instance, "--timeout", "9")
    assert (refused[0], "limits of its own" in refused[2]) == (2, True)


def test_a_command_waits_until_an_instance_of_a_server_rests(terminal):
    for key, code, state in (
        ("soon", 0, "completed"), ("stop", 1, "incident"), ("form", 3, "waiting"),
    ):  # fmt: skip
        instance = terminal.there("start", key, "--var", "x=1")[1].split()[0]
        found, out, _ = terminal.there("resume", instance)
        assert (found, out) == (code, f"{instance}  {state}\n")
    for extra, text in ((("--all",), "itself"), ((instance, "--timeout", "9"), "of its own")):
        code, _, err = terminal.there("resume", *extra)
        assert (code, text in err) == (2, True)


def test_a_command_waits_for_times_beside_an_incident_and_for_what_was_sent(terminal):
    body = SCRIPT.format("raise ValueError('no')") + TIMER.replace("PT9H", "PT2S")
    fork = '<parallelGateway id="g"/>'
    xml = diagram_of("beside", ENDS + fork + body, "s>g g>work g>t t>e work>e")
    files = [("file", ("beside.bpmn", xml))]
    assert terminal.server("POST", f"{V1}/definitions", files=files).status_code == 201
    instance = terminal.there("start", "beside")[1].split()[0]
    assert terminal.there("resume", instance)[:2] == (1, f"{instance}  incident\n")
    shown = terminal.server("GET", f"{V1}/instances/{instance}").json()
    assert [each["for"] for each in shown["waiting"]] == []

    answers = [
        {"state": "waiting", "waiting": [{"for": "message"}], "pending": 1},
        {"state": "incident", "waiting": [{"for": "retry"}], "pending": 0},
        {"state": "running", "waiting": [], "pending": 0},
        {"state": "waiting", "waiting": [{"for": "message"}], "pending": 0},
    ]
    asked = iter(answers)

    class Server:
        def instance(self, _):
            return next(asked)

    assert ServerBackend(Server()).wait(instance) == {
        "state": "waiting", "waiting": [{"for": "message"}],
    }  # fmt: skip


def test_what_was_sent_to_an_instance_and_not_taken_is_counted(tmp_path):
    (tmp_path / "mail.bpmn").write_text(diagram_of("mail"))
    with Session(tmp_path / "state", Settings(workers=1), create=True) as session:
        service, row = Service(session), session.begin(tmp_path / "mail.bpmn", {})
        session.advance([row])
        assert service.show(row.id)["pending"] == 0
        session.write(lambda journal: journal.mailbox.send("paid", "", {}, time.time() + 60))
        assert service.show(row.id)["pending"] == 1
        session.advance([session.journal.find(row.id)])
        shown = service.show(row.id)
        assert (shown["pending"], shown["waiting"][0]["for"]) == (0, "signal")


def test_a_new_instance_runs_from_a_task_of_a_server(terminal, tmp_path):
    instance = terminal.begin("good", variables={"x": 3})
    code, out, err = terminal.there("rerun", instance, "--from", "work", "--json")
    assert code in (0, 3), err
    new = json.loads(out)["instance"]
    assert new != instance
    terminal.server.wait(lambda: "completed" in terminal.there("show", new)[1])
    assert "y = [3, 3, 3]" in terminal.there("show", new)[1]
    assert terminal.there("rerun", instance, "--from", "none")[0] == 66
    for extra in (("--file", tmp_path / "x.bpmn"), ("--timeout", 9)):
        code, _, err = terminal.there("rerun", instance, "--from", "work", *extra)
        assert (code, "leave out" in err) == (2, True)


def test_names_of_people_do_not_break_lines(terminal, both):
    instance = terminal.begin("sign")
    code, _, err = terminal.there("delegate", f"{instance}/u", "--to", "bob\nerror: no")
    assert code == 0
    assert "waiting for bob\\nerror: no: Sign" in err
    assert both("delegate", f"{instance}/u", "--to", "")[2].startswith("error: --to: ")


def _logs(terminal, instance):
    return json.loads(terminal.there("logs", instance, "--json")[1])["logs"]


def test_a_deployed_definition_starts_by_its_key(terminal):
    said = []
    for run in (terminal.here, terminal.there):
        code, out, err = run(
            "start", "called", "--var", "x=2", "--business-key", "b7", "--as", "ann", "--json"
        )
        assert (code, err.count("error")) == (3, 0)
        instance = json.loads(out)["instance"]
        terminal.server.wait(lambda one=instance: "waiting" in terminal.there("show", one)[1])
        found = json.loads(terminal.there("show", instance, "--json")[1])
        assert (found["variables"], found["business_key"]) == ({"x": 2}, "b7")
        first = json.loads(terminal.there("history", instance, "--json")[1])["trace"][0]
        audit = terminal.server("GET", f"{V1}/audit?instance={instance}").json()["entries"]
        assert [each["who"] for each in audit if each["action"] == "start"] == ["ann"]
        said.append((found["version"], first["element"]))
    assert said == [(1, "s")] * 2


def test_a_start_may_name_a_version_a_message_and_a_key_that_starts_once(terminal, tmp_path):
    (tmp_path / "vars.json").write_text('{"x": 3}')
    for number, run in enumerate((terminal.here, terminal.there)):
        once = ("--idempotency-key", f"called-{number}")
        act = ("start", "called", "--message", "paid", "--vars", tmp_path / "vars.json", *once)
        first, again = (run(*act)[1].split()[0] for _ in range(2))
        assert first == again
        code, _, err = run("start", "called", *once)
        assert (code, "used for another request" in err) == (2, True)
        terminal.server.wait(lambda one=first: "waiting" in terminal.there("show", one)[1])
        trace = json.loads(terminal.there("history", first, "--json")[1])["trace"]
        assert trace[0]["element"] == "n"
        assert run("start", "called", "--version", "1")[0] == 3
        code, _, err = run("start", "called", "--version", "2")
        assert (code, "no definition 'called version 2'" in err) == (66, True)
        code, _, err = run("start", "called", "--message", "none")
        assert (code, "none" in err) == (66, True)
        assert run("start", "nothing")[0] == 66
        assert run("start", "called", "--end")[0] == 2
        code, _, err = run("start", first, "u", "--var", "x=1")
        assert (code, "leave out ELEMENT" in err) == (2, True)
    refused = terminal.there("start", "called", "--timeout", "9")
    assert (refused[0], "limits of its own" in refused[2]) == (2, True)


def test_schedules_are_paused_resumed_and_run(terminal, both):
    assert "paused" in terminal.there("schedules", "pause", "daily")[1]
    assert "paused" in both("schedules", "list")[1]
    code, out, _ = terminal.there("schedules", "resume", "daily/s", "--as", "ann", "--json")
    assert (code, json.loads(out)["paused"]) == (0, False)
    code, out, _ = terminal.there("schedules", "run", "daily", "--json")
    assert code in (0, 3)
    assert json.loads(out)["process"] == "daily"
    assert both("schedules", "pause", "none")[0] == 66


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("show", "x"), 2),
        (("show", ""), 2),
        (("cancel", "../me"), 2),
        (("complete", "-/u"), 2),
        (("complete", "nothing"), 66),
        (("delegate", "u", "--to", " "), 2),
    ],
)
def test_errors_are_the_same(both, command, code):
    assert both(*command)[0] == code


def test_who_came_first_is_reported_for_the_id_of_an_element(terminal, both):
    instance = terminal.begin("sign")
    assert terminal.there("approve", f"{instance}/u", "--as", "ann")[0] == 0
    code, _, err = both("complete", f"{instance}/u")
    assert code == 2
    assert "ann has completed it" in err


def test_hints_lead_back_to_the_server(terminal, monkeypatch):
    instance = terminal.begin("sign")
    _, _, err = terminal.there("claim", f"{instance}/u", "--as", "ann")
    task = re.search(rf"{instance}/\d+", err)[0]
    assert f"mlkit bpmn approve {task} --server {terminal.server.url}`" in err
    monkeypatch.setenv("MLKIT_BPMN_SERVER", terminal.server.url)
    _, _, err = terminal.run("claim", f"{instance}/u", "--as", "ann")
    assert f"mlkit bpmn approve {task}`" in err
    late = terminal.begin("late")
    assert "resume" not in terminal.there("cancel", late)[2]


def test_the_server_is_chosen_by_option_variable_or_settings(terminal, monkeypatch, tmp_path):
    instance = terminal.begin("sign")
    monkeypatch.chdir(tmp_path)
    url, state = terminal.server.url, terminal.server.state
    (tmp_path / "mlkit.toml").write_text(f'[bpmn]\nserver = "{url}"\n')
    assert instance in terminal.run("list")[1]
    assert terminal.run("list", "--state", tmp_path / "none")[0] == 66
    assert instance in terminal.run("list", "--state", state)[1]
    (tmp_path / "mlkit.toml").write_text("")
    monkeypatch.setenv("MLKIT_BPMN_SERVER", url)
    assert instance in terminal.run("list")[1]
    code, _, err = terminal.run("list", "--server", url, "--state", state)
    assert (code, "--server and --state cannot be combined" in err) == (2, True)
    code, _, err = terminal.run("list", "--state", state, "--token-file", "t")
    assert (code, "--token-file is for a server" in err) == (2, True)


def test_a_server_that_is_not_there_is_reported(terminal, tmp_path):
    code, _, err = terminal.run("list", "--server", "http://127.0.0.1:9")
    assert (code, "cannot be reached" in err) == (69, True)
    assert terminal.run("tasks", "--server", "ftp://x")[0] == 2
    missing = terminal.there("list", "--token-file", tmp_path / "none")
    assert missing[0] in (66, 78)


def test_a_token_says_who_acts_and_what_they_may(own_server, tmp_path, capsys, monkeypatch):
    from tests.bpmn.conftest import diagram

    (tmp_path / "all").write_text("aaaa\n")
    (tmp_path / "ann").write_text("bbbb\n")
    (tmp_path / "tokens").write_text("aaaa\nbbbb participant ann\n")
    server = own_server("--token-file", str(tmp_path / "tokens"))
    terminal = Terminal(server, capsys, monkeypatch)
    body, flows = BODIES["sign"]
    (tmp_path / "sign.bpmn").write_text(diagram(body, flows))
    assert terminal.there("deploy", tmp_path / "sign.bpmn")[0] == 78
    all_, ann = (("--token-file", tmp_path / name) for name in ("all", "ann"))
    assert terminal.there("deploy", tmp_path / "sign.bpmn", *all_)[0] == 0
    server.http.headers["authorization"] = "Bearer aaaa"
    instance = terminal.begin("p")
    _, _, err = terminal.there("claim", f"{instance}/u", *ann)
    assert f"--server {server.url} --token-file {tmp_path / 'ann'}`" in err
    for command in (("cancel", instance), ("start", "p")):
        code, _, err = terminal.there(*command, *ann)
        assert (code, "ann may not" in err) == (78, True)
    assert terminal.there("approve", f"{instance}/u", *ann)[0] == 0
    history = json.loads(terminal.there("history", instance, "--json", *all_)[1])
    assert [each["by"] for each in history["trace"] if each["element"] == "u"] == ["ann"]
