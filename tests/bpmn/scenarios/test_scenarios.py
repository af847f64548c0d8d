"""Scenarios: a simulated clock, prepared answers, mocks, and what is said when a run differs."""

from __future__ import annotations

import json

import pytest

from mlkit.bpmn.runtime.session import Settings
from mlkit.bpmn.scenarios.run import run_scenario
from mlkit.bpmn.scenarios.scenario import load
from mlkit.errors import BadData, InputMissing

ENDS = '<startEvent id="s"/><endEvent id="e"/>'


@pytest.fixture
def play(tmp_path, diagram):
    """Play a scenario of a diagram; gives its result."""

    def go(body, flows, **scenario):
        (tmp_path / "p.bpmn").write_text(diagram(body, flows))
        scenario = {"diagram": "p.bpmn", "expect": {}, **scenario}
        (tmp_path / "s.json").write_text(json.dumps(scenario))
        return run_scenario(load(tmp_path / "s.json")[0], tmp_path, Settings(workers=1))

    return go


def catch(key, definition):
    return f'<intermediateCatchEvent id="{key}">{definition}</intermediateCatchEvent>'


def timer(text, kind="timeDuration"):
    return f"<timerEventDefinition><{kind}>{text}</{kind}></timerEventDefinition>"


def completed(result):
    return [e["element"] for e in result.document["trace"] if e["event"] == "completed"]


def test_timers_fire_in_order_and_the_clock_shows_it(play):
    body = ENDS + '<parallelGateway id="g"/>' + catch("slow", timer("P2D"))
    body += catch("fast", timer("PT1H")) + catch("middle", timer("P1D"))
    flows = "s>g g>slow g>fast g>middle slow>e fast>e middle>e"
    result = play(body, flows, start="2030-05-01T00:00:00Z")
    assert [each for each in completed(result) if each not in "sge"] == ["fast", "middle", "slow"]
    assert result.document["trace"][-1]["at"] == "2030-05-03T00:00:00.000Z"
    assert result.elapsed == 2 * 86400


@pytest.mark.parametrize(("after", "path"), [("PT1H", "done"), ("P3D", "late")])
def test_an_answer_comes_before_or_after_a_timer(play, after, path):
    body = '<startEvent id="s"/><userTask id="u"/><endEvent id="done"/><endEvent id="late"/>'
    body += f'<boundaryEvent id="b" attachedToRef="u">{timer("P1D")}</boundaryEvent>'
    result = play(body, "s>u u>done b>late", answers=[{"task": "u", "after": after}])
    assert completed(result)[-1] == path
    unused = ["the answer to 'u' was not used"]
    assert result.differences == ([] if path == "done" else unused)


def test_the_clock_does_not_jump_while_a_script_runs(play):
    body = '<startEvent id="s"/><scriptTask id="w"><script>import time; time.sleep(0.3)</script>'
    body += '</scriptTask><endEvent id="e"/><endEvent id="late"/>'
    body += f'<boundaryEvent id="b" attachedToRef="w">{timer("PT0.1S")}</boundaryEvent>'
    assert completed(play(body, "s>w w>e b>late"))[-1] == "e"


def test_retries_of_a_mock_wait_on_the_simulated_clock(play):
    retry = "<extensionElements><camunda:failedJobRetryTimeCycle>R3/PT1H"
    retry += "</camunda:failedJobRetryTimeCycle></extensionElements>"
    body = ENDS + f'<scriptTask id="w">{retry}<script>1/0</script></scriptTask>'
    mocks = {"w": [{"fail": "no"}, {"fail": "no"}, {"set": {"x": 3}}]}
    result = play(body, "s>w w>e", mocks=mocks, expect={"variables": {"x": 3}})
    assert result.differences == []
    assert result.elapsed == 7200
    assert result.document["trace"][1]["attempt"] == 3


def test_a_mock_may_throw_and_an_uncaught_error_fails(play):
    body = ENDS + '<scriptTask id="w"><script>x = 1</script></scriptTask>'
    expect = {"state": "failed", "error": "BAD"}
    mocks = {"w": {"error": "BAD", "message": "so"}}
    assert play(body, "s>w w>e", mocks=mocks, expect=expect).differences == []
    mocks = {"w": {"fail": "broken"}}
    expect = {"state": "incident", "incidents": ["w"]}
    assert play(body, "s>w w>e", mocks=mocks, expect=expect).differences == []


def test_a_mocked_service_task_needs_no_callable(play):
    body = ENDS + '<serviceTask id="w" camunda:topic="charge"/>'
    result = play(body, "s>w w>e", mocks={"w": {"set": {"paid": True}}})
    assert result.document["variables"] == {"paid": True}
    with pytest.raises(BadData, match="charge"):
        play(body, "s>w w>e")


def test_messages_and_signals_come_in_time(play):
    message = '<messageEventDefinition messageRef="Paid"/>'
    signal = '<signalEventDefinition signalRef="Stop"/>'
    body = ENDS + catch("m", message) + catch("g", signal)
    result = play(
        body, "s>m m>g g>e", key="k1",
        messages=[{"name": "paid", "key": "k1", "after": "P1D", "set": {"total": 9}}],
        signals=[{"name": "stop", "after": "P2D"}],
        expect={"state": "completed", "variables": {"total": 9}},
    )  # fmt: skip
    assert result.differences == []
    assert result.elapsed == 2 * 86400


def test_until_bounds_a_cycle(play):
    body = '<startEvent id="s"/><userTask id="u"/><endEvent id="e"/><endEvent id="n"/>'
    cycle = timer("R/P1D", "timeCycle")
    body += (
        f'<boundaryEvent id="b" attachedToRef="u" cancelActivity="false">{cycle}</boundaryEvent>'
    )
    result = play(body, "s>u u>e b>n", until="P3DT1H", expect={"waiting": ["u"]})
    assert completed(result).count("n") == 3
    assert result.differences == []


def test_a_form_refuses_a_wrong_answer(play):
    form = '<camunda:formData><camunda:formField id="n" type="long"/></camunda:formData>'
    body = ENDS + f'<userTask id="u"><extensionElements>{form}</extensionElements></userTask>'
    result = play(body, "s>u u>e", answers=[{"task": "u", "set": {"n": "many"}}])
    assert "n: 'many' is not a long" in result.differences[0]


@pytest.mark.parametrize(
    ("expect", "text"),
    [
        ({"state": "failed"}, 'state: expected "failed", is "completed"'),
        ({"trace": ["s", "e"]}, 'trace: expected ["s", "e"], is ["s", "w", "e"]'),
        ({"passes": ["e", "w"]}, "passes: 'w' did not complete at its place"),
        ({"passes": ["nowhere"]}, "passes: 'nowhere' did not complete at all"),
        ({"avoids": ["w"]}, "'w' completed, which it must not"),
        ({"terminated": ["w"]}, 'terminated: expected ["w"], is []'),
        ({"variables": {"x": 2}}, "variable x: expected 2, is 1"),
        ({"variables": {"y": 2}}, "variable y: expected 2, is not there"),
        ({"variables": {"x": None}}, "variable x: expected null, is 1"),
        ({"holds": ["x > 1"]}, "holds: x > 1: is false"),
        ({"holds": ["y > 1"]}, "holds: y > 1: "),
        ({"waiting": ["w"]}, 'waiting: expected ["w"], is []'),
        ({"error": "BAD"}, 'error: expected "BAD", is null'),
    ],
)
def test_each_difference_is_one_line(play, expect, text):
    body = ENDS + '<scriptTask id="w"><script>x = 1</script></scriptTask>'
    (found,) = play(body, "s>w w>e", expect=expect).differences
    assert found.startswith(text)


@pytest.mark.parametrize(
    ("document", "error", "text"),
    [
        ("{", BadData, "s.json"),
        ("[]", BadData, "no scenario"),
        ('{"diagram": "p.bpmn"}', BadData, "expect"),
        ('{"diagram": "p.bpmn", "expect": {}, "anwsers": []}', BadData, "anwsers"),
        ('{"diagram": "p.bpmn", "expect": {"state": 3}}', BadData, r"\$\[0\].expect.state"),
        ('{"diagram": "none.bpmn", "expect": {}}', InputMissing, "none.bpmn"),
        ('{"diagram": "p.bpmn", "expect": {}, "mocks": {"q": {}}}', InputMissing, "'q'"),
        ('{"diagram": "p.bpmn", "expect": {}, "start": "soon"}', BadData, "soon"),
        ('{"diagram": "p.bpmn", "expect": {}, "until": "soon"}', BadData, "soon"),
    ],
)
def test_a_broken_scenario_is_refused(tmp_path, diagram, document, error, text):
    (tmp_path / "p.bpmn").write_text(diagram(ENDS, "s>e"))
    (tmp_path / "s.json").write_text(document)
    with pytest.raises(error, match=text):
        run_scenario(load(tmp_path / "s.json")[0], tmp_path, Settings())


def test_the_command_reports_and_exits_1_on_a_difference(mlkit, tmp_path, diagram):
    (tmp_path / "p.bpmn").write_text(diagram(ENDS, "s>e"))
    good = {"name": "goes", "diagram": "p.bpmn", "expect": {"state": "completed"}}
    bad = {"name": "stays", "diagram": "p.bpmn", "expect": {"state": "waiting"}}
    (tmp_path / "s.json").write_text(json.dumps([good, bad]))
    done = mlkit("bpmn", "test", "s.json")
    assert done.returncode == 1
    assert "ok   s.json: goes" in done.stdout
    assert 'state: expected "waiting", is "completed"' in done.stdout
    assert "1 of 2 scenarios as expected" in done.stderr
    document = json.loads(mlkit("bpmn", "test", "s.json", "--json").stdout)
    assert [each["passed"] for each in document["scenarios"]] == [True, False]
    assert document["failed"] == 1
    assert not (tmp_path / ".mlkit").exists()
    (tmp_path / "s.json").write_text(json.dumps(good))
    assert mlkit("bpmn", "test", "s.json").returncode == 0
    assert mlkit("bpmn", "test", "none.json").returncode == 66
