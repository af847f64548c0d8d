"""Commands with `--server`: the same output, errors and exit codes as on the journal itself."""

from __future__ import annotations

import json
import re
import sys
import time

import pytest

from mlkit.bpmn import Client
from mlkit.bpmn.backends.server import ServerBackend
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.runtime.session import Session, Settings
from mlkit.bpmn.scenarios.files import write_files
from mlkit.cli.main import main
from mlkit.errors import InputMissing, UsageError

V1 = "/api/v1"
ENDS = '<startEvent id="s"/><endEvent id="e"/>'
FORM = (
    '<userTask id="u" name="Look" camunda:candidateGroups="owners"><extensionElements>'
    '<camunda:formData><camunda:formField id="rate" label="Rate" type="double"/>'
    "</camunda:formData></extensionElements></userTask>"
)
ASSIGNED = '<userTask id="u" name="Sign" camunda:assignee="ann"/>'
CATCH = (
    '<intermediateCatchEvent id="m"><messageEventDefinition messageRef="Paid"/>'
    '</intermediateCatchEvent><intermediateCatchEvent id="g"><signalEventDefinition'
    ' signalRef="Stop"/></intermediateCatchEvent>'
)
TIMER = (
    '<intermediateCatchEvent id="t"><timerEventDefinition><timeDuration>PT9H</timeDuration>'
    "</timerEventDefinition></intermediateCatchEvent>"
)
SCRIPT = '<scriptTask id="work" scriptFormat="python"><script>{}</script></scriptTask>'
AD_HOC = '<adHocSubProcess id="h"><userTask id="a" name="Ask"/></adHocSubProcess>'
CYCLE = (
    '<startEvent id="s"><timerEventDefinition><timeCycle>0 6 * * *</timeCycle>'
    '</timerEventDefinition></startEvent><endEvent id="e"/>'
)
CALLED = (
    '<startEvent id="s"/><startEvent id="n"><messageEventDefinition messageRef="Paid"/>'
    '</startEvent><endEvent id="e"/>'
)
BODIES = {
    "form": (ENDS + FORM, "s>u u>e"),
    "sign": (ENDS + ASSIGNED, "s>u u>e"),
    "mail": (ENDS + CATCH, "s>m m>g g>e"),
    "late": (ENDS + TIMER, "s>t t>e"),
    "good": (ENDS + SCRIPT.format("print('hello'); y = [x] * 3"), "s>work work>e"),
    "stop": (ENDS + SCRIPT.format("raise ValueError('no')"), "s>work work>e"),
    "soon": (ENDS + TIMER.replace("PT9H", "PT1S"), "s>t t>e"),
    "adhoc": (ENDS + AD_HOC, "s>h h>e"),
    "daily": (CYCLE, "s>e"),
    "called": (CALLED + FORM, "s>u n>u u>e"),
}
TIMES = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\d+ s ago")
STATES = re.compile("waiting|running|completed")
STATE_AT_REST = {"good": "completed", "stop": "incident"}


class Terminal:
    """Runs commands in this process, on the journal of a server or through the server."""

    def __init__(self, server, capsys, monkeypatch):
        self.server, self.capsys, self.monkeypatch = server, capsys, monkeypatch

    def run(self, *arguments):
        self.monkeypatch.setattr(sys, "argv", ["mlkit", "bpmn", *map(str, arguments)])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        out, err = self.capsys.readouterr()
        return left.value.code, out, err

    def here(self, *arguments):
        return self.run(*arguments, "--state", self.server.state)

    def there(self, *arguments):
        return self.run(*arguments, "--server", self.server.url)

    def begin(self, key, **options):
        """Start an instance; return its id when it rests."""
        body = {"process": key, **options}
        instance = self.server("POST", f"{V1}/instances", json=body).json()["instance"]
        wanted = STATE_AT_REST.get(key, "waiting")

        def rests():
            return self.server("GET", f"{V1}/instances/{instance}").json()["state"] == wanted

        self.server.wait(rests)
        return instance

    def same(self, act, *begin, **options):
        """Compare what commands say of two instances, one by each way; return the exit code."""
        told = []
        for run, place in (
            (self.here, f" --state {self.server.state}"),
            (self.there, f" --server {self.server.url}"),
        ):
            instance = self.begin(*begin, **options)
            code, out, err = run(*(each.format(instance) for each in act))
            text = (out + err).replace(instance, "ID").replace(place, " PLACE")
            told.append((code, TIMES.sub("AT", text)))
        assert told[0] == told[1]
        return told[0]


@pytest.fixture(scope="module")
def deployed(server, tmp_path_factory):
    for key in BODIES:
        xml = _diagram_of(key)
        found = server("POST", f"{V1}/definitions", files=[("file", (f"{key}.bpmn", xml))])
        assert found.status_code == 201, found.text
    return server


@pytest.fixture
def terminal(deployed, capsys, monkeypatch):
    return Terminal(deployed, capsys, monkeypatch)


@pytest.fixture
def both(terminal):
    """Run a command that reads, by both ways; return what both say."""

    def run(*arguments):
        here, there = terminal.here(*arguments), terminal.there(*arguments)
        assert TIMES.sub("AT", here[1]) == TIMES.sub("AT", there[1])
        assert (here[0], here[2]) == (there[0], there[2])
        return there

    return run


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


def test_a_scenario_of_a_server_is_played_where_its_diagram_is(terminal, tmp_path):
    instance = terminal.begin("form", variables={"x": 2, "password": "hunter22-x"})
    done = terminal.there("complete", f"{instance}/u", "--set", "rate=0.5", "--as", "bob")
    assert done[0] == 0
    file = tmp_path / "tests" / "s.json"
    file.parent.mkdir()
    code, _, err = terminal.there("scenario", instance, "-o", file, "--no-files")
    assert (code, "not played: form.bpmn is not here" in err) == (0, True)
    (tmp_path / "form.bpmn").write_text(_diagram_of("form"))
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
    changed.write_text(_diagram_of("form").replace('id="rate"', 'id="other"'))
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
        "uses.bpmn": _diagram_of("uses", USES, flows),
        "inner.bpmn": _diagram_of("inner", ENDS + inner, "s>work work>e"),
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
        assert client.diagram(instance).decode() == _diagram_of("form")
        assert client.progress(instance)["elements"]["s"]["count"] == 1
        with pytest.raises(InputMissing, match="no diagram is named 'x'"):
            client.picture(instance, diagram="x")
        with pytest.raises(UsageError, match="theme: 'pink'"):
            client.picture(instance, theme="pink")
    assert terminal.there("render", "--instance", "0" * 12)[0] == 66
    # The file of today, by how far the instance has come.
    (tmp_path / "now.bpmn").write_text(_diagram_of("form").replace('name="Look"', 'name="See"'))
    text = terminal.there("render", tmp_path / "now.bpmn", "--instance", instance)[1]
    assert "See" in text


def _diagram_of(key, body="", flows=""):
    from tests.bpmn.conftest import diagram

    if not body:
        body, flows = BODIES[key]
    return diagram(body, flows).replace('process id="p"', f'process id="{key}"')


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
    xml = _diagram_of("beside", ENDS + fork + body, "s>g g>work g>t t>e work>e")
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
    (tmp_path / "mail.bpmn").write_text(_diagram_of("mail"))
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
