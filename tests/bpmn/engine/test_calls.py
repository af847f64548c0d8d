"""Call activities (13.3.5): processes and global tasks, in the file and beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlkit.bpmn.definition.parser import parse, parse_text
from mlkit.bpmn.engine.events import Complete, Start
from mlkit.bpmn.lint.validation import lint
from mlkit.bpmn.runtime.diagrams import engine_of

BPMN = 'xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"'
PLAIN = f"<definitions {BPMN}>"
CAMUNDA = f'<definitions {BPMN} xmlns:camunda="http://camunda.org/schema/1.0/bpmn">'
ZEEBE = f'<definitions {BPMN} xmlns:zeebe="http://camunda.org/schema/zeebe/1.0">'
CALLEE = (
    '<process id="q"><startEvent id="qs"/><scriptTask id="qt"><script>pass</script></scriptTask>'
    '<endEvent id="qe"/><sequenceFlow id="q1" sourceRef="qs" targetRef="qt"/>'
    '<sequenceFlow id="q2" sourceRef="qt" targetRef="qe"/></process>'
)
FLOWS = (
    '<sequenceFlow id="f1" sourceRef="s" targetRef="c"/>'
    '<sequenceFlow id="f2" sourceRef="c" targetRef="e"/>'
)


def caller(head: str, inner: str = "", called: str = "q", beside: str = CALLEE) -> str:
    call = f'<callActivity id="c" calledElement="{called}">{inner}</callActivity>'
    body = f'<startEvent id="s"/>{call}<endEvent id="e"/>{FLOWS}'
    return f'{head}<process id="p" isExecutable="true">{body}</process>{beside}</definitions>'


@pytest.fixture
def run(play_xml):
    """Run a file whose called script answers `y` and shows what it saw."""

    def go(xml: str, **variables):
        seen = []

        def answer(element, found):
            seen.append(found)
            return {"y": 2}

        return play_xml(xml, answer).start(**variables), seen

    return go


@pytest.mark.parametrize(
    ("head", "passed", "returned"),
    [(PLAIN, {"x": 1}, {"x": 1, "y": 2}), (ZEEBE, {"x": 1}, {"x": 1, "y": 2}),
     (CAMUNDA, {}, {"x": 1})],
)  # fmt: skip
def test_an_unmapped_call_passes_what_its_dialect_says(run, head, passed, returned):
    done, seen = run(caller(head), x=1)
    assert seen == [passed]
    assert done.variables == returned
    assert done.completed() == ["s", "qs", "qt", "qe", "c", "e"]
    assert done.state.status == "completed"


def test_camunda_mappings_pass_single_variables(run):
    inner = (
        '<extensionElements><camunda:in source="x" target="a"/>'
        '<camunda:in sourceExpression="${x + 1}" target="b"/>'
        '<camunda:out source="y" target="z"/></extensionElements>'
    )
    done, seen = run(caller(CAMUNDA, inner), x=1, other=5)
    assert seen == [{"a": 1, "b": 2}]
    assert done.variables == {"x": 1, "other": 5, "z": 2}


def test_camunda_can_pass_all_variables(run):
    inner = '<extensionElements><camunda:in variables="all"/><camunda:out variables="all"/>'
    done, seen = run(caller(CAMUNDA, inner + "</extensionElements>"), x=1)
    assert seen == [{"x": 1}]
    assert done.variables == {"x": 1, "y": 2}


def test_zeebe_can_keep_its_variables_to_itself(run):
    inner = (
        '<extensionElements><zeebe:calledElement processId="q" propagateAllChildVariables="false"'
        ' propagateAllParentVariables="false"/><zeebe:ioMapping><zeebe:input source="=x + 1"'
        ' target="a"/><zeebe:output source="=y * 10" target="z"/></zeebe:ioMapping>'
        "</extensionElements>"
    )
    done, seen = run(caller(ZEEBE, inner), x=1)
    assert seen == [{"a": 2}]
    assert done.variables == {"x": 1, "z": 20}


def test_the_called_process_does_not_run_by_itself(play_xml):
    done = play_xml(caller(PLAIN), lambda *_: None)
    assert [each.id for each in done.engine.processes] == ["p"]


def test_a_global_task_can_be_called(run):
    task = '<globalScriptTask id="q" scriptLanguage="python"><script>y = 2</script>'
    done, seen = run(caller(PLAIN, beside=task + "</globalScriptTask>"), x=1)
    assert seen == [{"x": 1}]
    assert done.variables["y"] == 2
    assert done.completed() == ["s", "q", "c", "e"]


def test_an_error_in_the_called_process_is_caught_at_the_call(play_xml):
    xml = caller(PLAIN).replace(
        "</process>",
        '<boundaryEvent id="b" attachedToRef="c"><errorEventDefinition/></boundaryEvent>'
        '<endEvent id="late"/><sequenceFlow id="f3" sourceRef="b" targetRef="late"/></process>',
        1,
    )
    done = play_xml(xml, lambda *_: "!BAD").start()
    assert done.completed() == ["s", "qs", "b", "late"]
    assert done.state.status == "completed"


def test_each_item_can_call_the_process(run):
    loop = (
        '<multiInstanceLoopCharacteristics camunda:collection="items" camunda:elementVariable="x"'
        ' camunda:outputCollection="out" camunda:outputElement="${y}"/>'
    )
    inner = '<extensionElements><camunda:in source="x" target="x"/><camunda:out source="y"'
    done, seen = run(caller(CAMUNDA, inner + ' target="y"/></extensionElements>' + loop),
                     items=[1, 2])  # fmt: skip
    assert seen == [{"x": 1}, {"x": 2}]
    assert done.variables["out"] == [2, 2]


def test_a_process_that_calls_itself_for_ever_is_an_incident(play_xml):
    xml = caller(PLAIN, called="p", beside="").replace('isExecutable="true"', "")
    done = play_xml(xml).start()
    assert done.state.effective_status == "incident"
    (message,) = [a.incident.message for a in done.state.activations.values() if a.incident]
    assert "deeper than 100" in message


def test_a_process_in_a_file_beside_it(tmp_path):
    (tmp_path / "main.bpmn").write_text(caller(PLAIN, beside=""))
    (tmp_path / "other.bpmn").write_text(f"{CAMUNDA}{CALLEE}</definitions>")
    (tmp_path / "broken.bpmn").write_text("<definitions")
    found = parse(tmp_path / "main.bpmn")
    assert not lint(found, tmp_path)
    engine = engine_of(found)
    state = engine.create()
    engine.apply(state, Start({"x": 1}), 0.0)
    (working,) = [each for each in state.activations.values() if each.status == "working"]
    assert working.node == "other.bpmn#qt"
    assert state.visible(working.scope) == {"x": 1}
    engine.apply(state, Complete(working.id, {"y": 2}), 0.0)
    assert state.status == "completed"
    again = parse_text((tmp_path / "main.bpmn").read_bytes(), Path("gone/main.bpmn"),
                       found.resources)  # fmt: skip
    assert set(again.called) == {"other.bpmn#q"}


def test_a_called_file_is_linted_too(tmp_path):
    (tmp_path / "main.bpmn").write_text(caller(PLAIN, beside=""))
    broken = CALLEE.replace("pass", "1 +")
    (tmp_path / "other.bpmn").write_text(f"{PLAIN}{broken}</definitions>")
    (problem,) = lint(parse(tmp_path / "main.bpmn"), tmp_path)
    assert (problem.rule, problem.element) == ("script.syntax", "other.bpmn#qt")


def test_two_files_with_the_called_process_are_an_error(tmp_path):
    (tmp_path / "main.bpmn").write_text(caller(PLAIN, beside=""))
    for name in ("a.bpmn", "b.bpmn"):
        (tmp_path / name).write_text(f"{PLAIN}{CALLEE}</definitions>")
    (problem,) = lint(parse(tmp_path / "main.bpmn"), tmp_path)
    assert problem.rule == "call.missing"
    assert "a.bpmn, b.bpmn" in problem.message


def test_an_expression_chooses_among_the_processes_of_the_file_and_beside_it(tmp_path):
    other = f'{PLAIN}<process id="r"><startEvent id="a"/><userTask id="b"/></process></definitions>'
    (tmp_path / "other.bpmn").write_text(
        other.replace("</process>", '<sequenceFlow id="g" sourceRef="a" targetRef="b"/></process>')
    )
    xml = caller(CAMUNDA, called="${which}").encode()
    stored = parse_text(xml, tmp_path / "main.bpmn").resources
    (tmp_path / "other.bpmn").unlink()
    definitions = parse_text(xml, tmp_path / "main.bpmn", stored)
    assert lint(definitions, tmp_path) == []
    engine = engine_of(definitions)
    for which, waits in (("q", "qt"), ("r", "other.bpmn#b"), ("none", "c")):
        state = engine.create()
        engine.apply(state, Start({"which": which}), 0.0)
        places = [each.node for each in state.activations.values() if not each.body]
        assert places == [waits]
        assert any(each.incident for each in state.activations.values()) is (which == "none")
