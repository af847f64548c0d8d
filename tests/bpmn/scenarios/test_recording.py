"""Instances become scenarios that play as they ran."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlkit.bpmn.definition import timers
from mlkit.bpmn.runtime.clock import SimulatedClock
from mlkit.bpmn.runtime.session import Settings
from mlkit.bpmn.scenarios.recording import duration, leave_order_open, record
from mlkit.bpmn.scenarios.run import ScenarioRun, run_scenario, seconds
from mlkit.bpmn.scenarios.scenario import load, text
from mlkit.cli.main import app

ENDS = '<startEvent id="s"/><endEvent id="e"/>'
EXAMPLES = Path(__file__).parents[3] / "examples" / "bpmn"


@pytest.fixture
def relive(tmp_path):
    """Run a scenario as an instance that stays; return the scenario that is recorded of it."""

    def go(scenario, folder=tmp_path, scripts=False):
        begin = timers.schedule("date", scenario.start, 0.0).due
        until = None if scenario.until is None else begin + seconds(scenario.until)
        settings = Settings(workers=1, clock=SimulatedClock(begin), until=until)
        with ScenarioRun(tmp_path / "state", settings, scenario) as session:
            session.fill_stores()
            path, key, message = folder / scenario.diagram, scenario.key, scenario.message
            row = session.begin(path, scenario.variables, key, message, scenario.tasks)
            session.advance([row])
            return record(session, session.journal.get(row.number), tmp_path, scripts)

    return go


def replay(recording, tmp_path):
    """Play what was recorded, after it was written to a file and read again."""
    (tmp_path / "recorded.json").write_text(text(recording.scenario))
    (scenario,) = load(tmp_path / "recorded.json")
    return run_scenario(scenario, tmp_path, Settings(workers=1))


def parse(tmp_path, diagram, body, flows, **more):
    (tmp_path / "p.bpmn").write_text(diagram(body, flows))
    (tmp_path / "s.json").write_text(json.dumps({"diagram": "p.bpmn", "expect": {}, **more}))
    return load(tmp_path / "s.json")[0]


def test_answers_messages_timers_and_failures_are_met_again(tmp_path, diagram, relive):
    body = (
        f'{ENDS}<userTask id="u"/><receiveTask id="r" messageRef="Paid"/>'
        '<scriptTask id="t"><extensionElements><camunda:failedJobRetryTimeCycle>R3/PT1M'
        "</camunda:failedJobRetryTimeCycle></extensionElements><script>1/0</script></scriptTask>"
        '<intermediateCatchEvent id="w"><timerEventDefinition><timeDuration>PT2H</timeDuration>'
        "</timerEventDefinition></intermediateCatchEvent>"
    )
    given = parse(
        tmp_path, diagram, body, "s>u u>t t>r r>w w>e",
        start="2026-03-01T08:00:00Z", key="order-7", variables={"total": 12.5},
        answers=[{"task": "u", "after": "P1DT3H", "set": {"ok": True}}],
        mocks={"t": [{"fail": "no answer"}, {"set": {"sent": 3}}]},
        messages=[{"name": "paid", "after": "P2D", "key": "order-7", "set": {"paid": 12.5}}],
    )  # fmt: skip
    recording = relive(given)
    found = recording.scenario
    assert recording.notes == []
    assert (found.start, found.key, found.variables) == (
        "2026-03-01T08:00:00.000Z", "order-7", {"total": 12.5}
    )  # fmt: skip
    assert [(each.task, each.after, each.set) for each in found.answers] == [
        ("u", "P1DT3H", {"ok": True})
    ]
    assert found.expect.state == "completed", found.expect
    assert [(each.name, each.key, each.after) for each in found.messages] == [
        ("paid", "order-7", "P2D")
    ]
    assert [each.fail or each.set for each in found.mocks["t"]] == ["no answer", {"sent": 3}]
    assert found.expect.variables == {"total": 12.5, "ok": True, "sent": 3, "paid": 12.5}
    assert replay(recording, tmp_path).differences == []


def test_a_waiting_instance_is_recorded_up_to_its_last_event(tmp_path, diagram, relive):
    body = f'{ENDS}<userTask id="u"/><userTask id="v"/>'
    given = parse(tmp_path, diagram, body, "s>u u>v v>e", answers=[{"task": "u", "after": "PT5M"}])
    recording = relive(given)
    assert (recording.scenario.expect.state, recording.scenario.expect.waiting) == (
        "waiting", ["v"]
    )  # fmt: skip
    assert replay(recording, tmp_path).differences == []


def test_values_that_json_lacks_make_their_task_run(tmp_path, diagram, relive):
    body = (
        f'{ENDS}<scriptTask id="t"><script>found = {{1, 2}}; n = len(found)</script></scriptTask>'
    )
    recording = relive(parse(tmp_path, diagram, body, "s>t t>e"))
    assert recording.scenario.mocks == {}
    assert recording.scenario.expect.variables == {"n": 2}
    played = replay(recording, tmp_path)
    assert played.differences == []


def test_scripts_run_where_that_is_wanted(tmp_path, diagram, relive):
    body = f'{ENDS}<scriptTask id="t"><script>n = 1</script></scriptTask>'
    given = parse(tmp_path, diagram, body, "s>t t>e")
    assert relive(given).scenario.mocks["t"].set == {"n": 1}
    recording = relive(given, scripts=True)
    assert recording.scenario.mocks == {}
    assert replay(recording, tmp_path).differences == []


def test_what_ended_in_another_order_is_expected_in_none(tmp_path, diagram, relive):
    body = (
        f'{ENDS}<parallelGateway id="g"/><parallelGateway id="j"/>'
        '<scriptTask id="a"><script>1</script></scriptTask>'
        '<scriptTask id="b"><script>1</script></scriptTask>'
    )
    recording = relive(parse(tmp_path, diagram, body, "s>g g>a g>b a>j b>j j>e"))
    expect = recording.scenario.expect
    at = expect.trace.index("a")
    expect.trace[at], expect.trace[at + 1] = expect.trace[at + 1], expect.trace[at]
    assert leave_order_open(recording.scenario, replay(recording, tmp_path))
    assert replay(recording, tmp_path).differences == []


def test_a_cancelled_instance_is_refused_and_writes_nothing(tmp_path, diagram, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.bpmn").write_text(diagram(ENDS + '<userTask id="u"/>', "s>u u>e"))
    run = CliRunner().invoke
    identifier = run(app, ["bpmn", "run", "p.bpmn"]).stdout.split()[0]
    assert run(app, ["bpmn", "cancel", identifier]).exit_code == 0
    found = run(app, ["bpmn", "scenario", identifier, "-o", "s.json"])
    assert (found.exit_code, "is cancelled" in found.stderr) == (2, True)
    assert not (tmp_path / "s.json").exists()


def test_the_command_writes_what_test_plays(tmp_path, diagram, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").mkdir()
    (tmp_path / "p.bpmn").write_text(diagram(ENDS + '<userTask id="u"/>', "s>u u>e"))
    run = CliRunner().invoke
    identifier = run(app, ["bpmn", "run", "p.bpmn", "--var", "owner=[b]"]).stdout.split()[0]
    assert run(app, ["bpmn", "complete", "u", "--set", "n=3"]).exit_code == 0
    found = run(app, ["bpmn", "scenario", identifier, "-o", "tests/s.json", "--name", "mine"])
    assert found.exit_code == 0, found.output
    played = run(app, ["bpmn", "test", "tests/s.json"])
    assert played.exit_code == 0
    assert "mine" in played.stdout
    document = json.loads((tmp_path / "tests" / "s.json").read_text())
    assert (document["diagram"], document["variables"]) == ("../p.bpmn", {"owner": "[b]"})
    printed = run(app, ["bpmn", "scenario", identifier])
    assert json.loads(printed.stdout)["diagram"] == "p.bpmn"
    whole = json.loads(run(app, ["bpmn", "scenario", identifier, "--json"]).stdout)
    assert whole["scenario"] == json.loads(printed.stdout)
    assert (whole["notes"], whole["differences"]) == ([], [])


def test_a_diagram_that_has_changed_plays_otherwise(tmp_path, diagram, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.bpmn").write_text(diagram(ENDS, "s>e"))
    run = CliRunner().invoke
    identifier = run(app, ["bpmn", "run", "p.bpmn"]).stdout.split()[0]
    (tmp_path / "p.bpmn").write_text(diagram(ENDS + '<userTask id="u"/>', "s>u u>e"))
    found = run(app, ["bpmn", "scenario", identifier, "-o", "s.json"])
    assert found.exit_code == 1
    assert 'difference: state: expected "completed", is "waiting"' in found.stderr


@pytest.mark.parametrize("example", ["rollout", "propensity", "scraping"])
def test_scenarios_of_the_examples_are_recorded_as_they_are_played(tmp_path, example, relive):
    folder = EXAMPLES / example
    for given in load(folder / "scenarios.json")[:1]:
        recording = relive(given, folder)
        assert replay(recording, tmp_path).differences == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [(0, "PT0S"), (1.5, "PT1.5S"), (86400, "P1D"), (97323.25, "P1DT3H2M3.25S"), (-1, "PT0S")],
)
def test_durations_are_written_in_iso_8601(given, expected):
    assert duration(given) == expected
    assert seconds(duration(given)) == max(0, given)
