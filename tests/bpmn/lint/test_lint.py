"""What lint finds, and how the parser takes hostile or broken files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlkit.bpmn.definition import xml_documents
from mlkit.bpmn.definition.parser import parse, parse_text
from mlkit.bpmn.lint.validation import lint
from mlkit.bpmn.runtime.documents import root_variables
from mlkit.bpmn.runtime.session import Session
from mlkit.errors import BadData, InputMissing

EMPTY = b'<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"/>'
ENDS = '<startEvent id="s"/><endEvent id="e"/>'
SHOWCASE = Path(__file__).parents[3] / "examples" / "bpmn" / "showcase" / "pipeline.bpmn"


@pytest.mark.parametrize(
    ("body", "flows", "expected"),
    [
        ('<task id="a"/><task id="b"/>', "a>b b>a", "process.start p"),
        (ENDS + '<task id="a"/>', "s>e", "node.unreachable a"),
        (ENDS, "s>e s>gone", "flow.dangling f1"),
        (ENDS + '<task id="a"/>', "s>a a>s a>e", "flow.dangling f1"),
        (ENDS, "s>e e>e", "flow.dangling f1"),
        (ENDS + '<boundaryEvent id="b" attachedToRef="x"><timerEventDefinition><timeDuration>PT1S'
         "</timeDuration></timerEventDefinition></boundaryEvent>", "s>e", "boundary.host b"),
        (ENDS + '<task id="a"/><boundaryEvent id="b" attachedToRef="a" cancelActivity="false">'
         "<errorEventDefinition/></boundaryEvent>", "s>a a>e b>e", "boundary.error b"),
        (ENDS + '<intermediateCatchEvent id="c"><errorEventDefinition/></intermediateCatchEvent>',
         "s>c c>e", "event.place c"),
        (ENDS + '<intermediateCatchEvent id="c"><conditionalEventDefinition/>'
         "</intermediateCatchEvent>", "s>c c>e", "expression.empty c"),
        (ENDS + '<intermediateThrowEvent id="l"><linkEventDefinition name="L"/>'
         "</intermediateThrowEvent>", "s>l", "link.target l"),
        (ENDS + '<intermediateCatchEvent id="m"><messageEventDefinition messageRef="None"/>'
         "</intermediateCatchEvent>", "s>m m>e", "reference.missing m"),
        (ENDS + '<intermediateCatchEvent id="t"><timerEventDefinition/></intermediateCatchEvent>',
         "s>t t>e", "timer.empty t"),
        (ENDS + '<scriptTask id="w"><script>x = = 1</script></scriptTask>', "s>w w>e",
         "script.syntax w"),
        (ENDS + f'<scriptTask id="w"><script>{"-" * 200_000}1</script></scriptTask>', "s>w w>e",
         "script.syntax w"),
        (ENDS + '<scriptTask id="w"/>', "s>w w>e", "script.empty w"),
        (ENDS + '<scriptTask id="w" scriptFormat="groovy"><script>x</script></scriptTask>',
         "s>w w>e", "script.format w"),
        (ENDS + '<scriptTask id="w" camunda:resource="../../etc/passwd"/>', "s>w w>e",
         "script.resource w"),
        (ENDS + '<serviceTask id="w"/>', "s>w w>e", "task.unbound w"),
        (ENDS + '<serviceTask id="w" camunda:class="no.such.module:f"/>', "s>w w>e",
         "task.unbound w"),
        (ENDS + '<exclusiveGateway id="g" default="no"/>', "s>g g>e?x", "flow.default g"),
        (ENDS + '<parallelGateway id="g"/>', "s>g g>e?x", "flow.condition f1"),
        (ENDS + '<eventBasedGateway id="g"/><task id="a"/>', "s>g g>a a>e", "gateway.event a"),
        (ENDS + '<task id="a"/>', "s>a a>e?__import__('os')",
         "expression.broken f1"),
        (ENDS + '<task id="a"><multiInstanceLoopCharacteristics/></task>', "s>a a>e",
         "loop.size a"),
        (ENDS + '<task id="a"><standardLoopCharacteristics/></task>', "s>a a>e",
         "loop.size a"),
        (ENDS + '<task id="a" completionQuantity="0"/>', "s>a a>e", "token.quantity a"),
        (ENDS + '<task id="a" isForCompensation="true"/>', "s>a a>e", "flow.dangling f0"),
        (ENDS + '<task id="a" isForCompensation="true"/>', "s>e", "node.unreachable a"),
        (ENDS + '<task id="a"/><boundaryEvent id="b" attachedToRef="a"><compensateEventDefinition/>'
         "</boundaryEvent>", "s>a a>e", "compensation.handler b"),
        (ENDS + '<intermediateThrowEvent id="c"><compensateEventDefinition activityRef="gone"/>'
         "</intermediateThrowEvent>", "s>c c>e", "compensation.activity c"),
        (ENDS + '<task id="a"/><boundaryEvent id="b" attachedToRef="a"><cancelEventDefinition/>'
         "</boundaryEvent>", "s>a a>e b>e", "cancel.place b"),
        ('<startEvent id="s"/><endEvent id="e"><cancelEventDefinition/></endEvent>', "s>e",
         "cancel.place e"),
        (ENDS + '<transaction id="t"><startEvent id="i"/><endEvent id="x"><cancelEventDefinition/>'
         '</endEvent><sequenceFlow id="y" sourceRef="i" targetRef="x"/></transaction>', "s>t t>e",
         "cancel.boundary t"),
        (ENDS + '<callActivity id="c"/>', "s>c c>e", "call.missing c"),
        (ENDS + '<callActivity id="c" calledElement="${name}"/>', "s>c c>e", "call.missing c"),
        (ENDS + '<eventBasedGateway id="g" eventGatewayType="Parallel"/>', "s>g",
         "gateway.event g"),
        (ENDS + '<eventBasedGateway id="g" eventGatewayType="Parallel"/>', "s>g",
         "gateway.parallel g"),
        (ENDS + '<adHocSubProcess id="h"><startEvent id="i"/></adHocSubProcess>', "s>h h>e",
         "adhoc.event i"),
        (ENDS + '<businessRuleTask id="r" camunda:decisionRef="d"/>', "s>r r>e",
         "task.decision r"),
        (ENDS + '<businessRuleTask id="r"><extensionElements><zeebe:calledDecision decisionId="d"/>'
         "</extensionElements></businessRuleTask>", "s>r r>e", "task.decision r"),
        (ENDS + '<mine:box xmlns:mine="urn:mine" id="b"/>', "s>e", "element.foreign b"),
        (ENDS + '<scripttask id="b"/>', "s>e", "element.unsupported b"),
        (ENDS + '<subProcess id="x" triggeredByEvent="true"/>', "s>e", "subprocess.event x"),
        (ENDS + '<subProcess id="x" triggeredByEvent="true"><startEvent id="i">'
         '<signalEventDefinition signalRef="Stop"/></startEvent><standardLoopCharacteristics '
         'loopMaximum="2"/></subProcess>', "s>e", "subprocess.event x"),
        (ENDS + '<task id="a"><dataInputAssociation id="i"><assignment><from>1</from><to>a b</to>'
         "</assignment></dataInputAssociation></task>", "s>a a>e", "data.assignment i"),
        (ENDS + '<complexGateway id="g"/><task id="a"/>', "s>a s>g a>g g>e", "gateway.complex g"),
        (ENDS + '<callActivity id="g" calledElement="x"/>', "s>g g>e", "call.missing g"),
        (ENDS + '<subProcess id="x" triggeredByEvent="true"><startEvent id="i"/></subProcess>',
         "s>x x>e", "subprocess.event x"),
        (ENDS + '<task id="a"><extensionElements><camunda:executionListener/></extensionElements>'
         "</task>", "s>a a>e", "listener.code a"),
        (ENDS + '<userTask id="u"><extensionElements><camunda:formData><camunda:formField id="f" '
         'type="colour"/></camunda:formData></extensionElements></userTask>', "s>u u>e",
         "form.type u"),
        (ENDS + '<userTask id="u" camunda:formKey="a.form"/>', "s>u u>e", "form.missing u"),
        (ENDS + '<task id="s"/>', "s>e", "id.missing s"),
        (ENDS + '<intermediateThrowEvent id="m"><messageEventDefinition messageRef="Paid" '
         'camunda:topic="x"/><signalEventDefinition signalRef="Stop"/></intermediateThrowEvent>',
         "s>m m>e", "event.implementation m"),
        (ENDS + '<endEvent id="m"><messageEventDefinition camunda:topic="x"/></endEvent>', "s>m",
         "task.unbound m"),
        (ENDS + '<task id="a"><extensionElements><camunda:odd/></extensionElements></task>',
         "s>a a>e", "vendor.ignored d"),
        (ENDS + '<task id="a" camunda:odd="1"/>', "s>a a>e", "vendor.ignored d"),
        (ENDS + '</process><process id="p2" isExecutable="true"><startEvent id="s2"/>', "",
         "process.several test.bpmn"),
    ],
)  # fmt: skip
def test_each_problem_is_found_with_its_rule_and_element(problems, diagram, body, flows, expected):
    assert expected in problems(diagram(body, flows))


def test_problems_carry_their_line(tmp_path):
    path = tmp_path / "p.bpmn"
    path.write_text(
        '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL">\n<process id="p">\n'
        '<startEvent id="s"/>\n\n<task id="lost"/>\n</process></definitions>'
    )
    assert ("node.unreachable", 5) in [(p.rule, p.line) for p in lint(parse(path), tmp_path)]


def test_what_modelers_write_beside_the_flow_only_warns(problems, diagram):
    body = ENDS + '<dataObjectReference id="d" dataObjectRef="o"/><dataObject id="o"/>'
    body += '<textAnnotation id="n"><text>note</text></textAnnotation>'
    body += '<task id="a"><property id="q" name="__targetRef_placeholder"/>'
    body += '<dataInputAssociation id="i"><sourceRef>d</sourceRef><targetRef>q</targetRef>'
    body += "</dataInputAssociation></task>"
    found = problems(diagram(body, "s>a a>e").replace('"true"', '"false"'))
    assert set(found) == {"process.executable p", "data.drawn i"}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"no xml", b"<a/>", b"<definitions/>", b"\xff\xfe\x00", b"<a><b></a>",
        b'<!DOCTYPE d [<!ENTITY x "y">]>' + EMPTY.replace(b"/>", b">&x;</definitions>"),
        b'<!DOCTYPE d SYSTEM "http://127.0.0.1:1/x.dtd">' + EMPTY,
    ],
)  # fmt: skip
def test_hostile_and_broken_documents_are_refused(content):
    with pytest.raises(BadData, match=r"x\.bpmn"):
        parse_text(content, Path("x.bpmn"))


def test_a_billion_laughs_costs_nothing():
    lines = ['<!DOCTYPE d [<!ENTITY a0 "ha">']
    lines += [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 30)]
    bomb = "\n".join(lines) + ']><definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL">'
    with pytest.raises(BadData):
        parse_text((bomb + "&a29;</definitions>").encode(), Path("x.bpmn"))


def test_enormous_and_missing_files(tmp_path, monkeypatch):
    monkeypatch.setattr(xml_documents, "MAX_BYTES", 100)
    (tmp_path / "x.bpmn").write_text(" " * 101)
    with pytest.raises(BadData, match="larger than"):
        parse(tmp_path / "x.bpmn")
    with pytest.raises(InputMissing):
        parse(tmp_path / "none.bpmn")


def test_a_fifo_is_no_diagram_and_no_script(tmp_path, diagram):
    os.mkfifo(tmp_path / "x.bpmn")
    os.mkfifo(tmp_path / "work.py")
    with pytest.raises(InputMissing, match="not a regular file"):
        parse(tmp_path / "x.bpmn")
    task = '<scriptTask id="t" scriptFormat="python" camunda:resource="work.py"/>'
    found = parse_text(diagram(ENDS + task, "s>t t>e").encode(), tmp_path / "y.bpmn")
    assert [each.message for each in found.problems if "regular" in each.message]


def test_vendors_spell_one_notion_in_several_ways(play):
    for vendor in ("camunda", "activiti", "flowable"):
        body = ENDS + f'<userTask id="u" {vendor}:assignee="ann"/>'
        xmlns = f'xmlns:{vendor}="http://{vendor}.org/bpmn"'
        body = body if vendor == "camunda" else body.replace("<userTask", f"<userTask {xmlns}")
        done = play(body, "s>u u>e").start()
        assert done.state.activations[done.find("u")].wait.assignee == "ann"
    zeebe = '<userTask id="u"><extensionElements><zeebe:assignmentDefinition assignee="=owner"/>'
    done = play(ENDS + zeebe + "</extensionElements></userTask>", "s>u u>e").start(owner="bob")
    assert done.state.activations[done.find("u")].wait.assignee == "bob"


def test_zeebe_says_until_when_and_how_urgent(play):
    inner = '<zeebe:taskSchedule dueDate="=day"/><zeebe:priorityDefinition priority="70"/>'
    body = ENDS + f'<userTask id="u"><extensionElements>{inner}</extensionElements></userTask>'
    done = play(body, "s>u u>e").start(day="2030-01-31")
    wait = done.state.activations[done.find("u")].wait
    assert (wait.due, wait.priority) == ("2030-01-31", "70")


def test_a_business_key_of_its_own_is_told_for_a_called_process(problems, diagram):
    inner = '<extensionElements><camunda:in businessKey="{}"/></extensionElements>'
    body = ENDS + f'<callActivity id="c" calledElement="q">{inner}</callActivity>'
    roots = '<process id="q"><startEvent id="qs"/></process>'
    own = diagram(body.format("#{execution.processBusinessKey}"), "s>c c>e", roots)
    other = diagram(body.format("${order}"), "s>c c>e", roots)
    own, other = (
        each.replace("http://camunda.org/schema/zeebe/1.0", "urn:z") for each in (own, other)
    )
    assert problems(own) == []
    assert problems(other) == ["call.key c"]


def test_lanes_are_candidate_groups(play):
    lanes = (
        '<laneSet id="l"><lane id="l1" name="owners"><flowNodeRef>u</flowNodeRef></lane></laneSet>'
    )
    done = play(lanes + ENDS + '<userTask id="u"/>', "s>u u>e").start()
    assert done.state.activations[done.find("u")].wait.groups == ["owners"]


@pytest.mark.parametrize("kind", ["choreography", "conversation", "globalConversation"])
def test_what_is_beside_processes_and_cannot_run_is_an_error(problems, diagram, kind):
    xml = diagram(ENDS, "s>e", f'<{kind} id="x"/>')
    assert problems(xml) == ["element.unsupported x"]


def test_a_decision_runs_once_a_callable_is_bound(diagram, tmp_path):
    (tmp_path / "rules.py").write_text("def discount(total):\n    return total / 10\n")
    body = ENDS + '<businessRuleTask id="r" camunda:decisionRef="d" camunda:resultVariable="off"/>'
    (tmp_path / "d.bpmn").write_text(diagram(body, "s>r r>e"))
    with Session(tmp_path / "state", create=True) as session:
        row = session.begin(tmp_path / "d.bpmn", {"total": 50}, bindings={"d": "rules:discount"})
        session.advance([row])
        assert root_variables(session.state(row))["off"] == 5


@pytest.mark.parametrize(
    ("place", "is_there"),
    [("own.part:run", True), ("own.none:run", False), ("os.path:join", True), ("sys.x:y", False)],
)
def test_a_function_is_looked_for_without_running_its_package(
    problems, diagram, tmp_path, place, is_there
):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "__init__.py").write_text("raise SystemExit('lint ran this')")
    (tmp_path / "own" / "part.py").write_text("def run(): pass")
    found = problems(diagram(f'{ENDS}<serviceTask id="w" camunda:class="{place}"/>', "s>w w>e"))
    assert (found == []) is is_there


RACE = ENDS + '<parallelGateway id="g"/><parallelGateway id="j"/>'
TASK = '<scriptTask id="{}" {}><script>{}</script>{}</scriptTask>'
SEVERAL = (
    "<multiInstanceLoopCharacteristics><loopCardinality>2</loopCardinality>"
    "</multiInstanceLoopCharacteristics>"
)
MAPPED = (
    "<extensionElements><camunda:inputOutput><camunda:outputParameter "
    'name="z">${x}</camunda:outputParameter></camunda:inputOutput></extensionElements>'
)
FORK = "s>g g>a g>b a>j b>j j>e"


@pytest.mark.parametrize(
    ("one", "other", "more", "found"),
    [
        ("x = 1", "x = 2", "", ["data.race b"]),
        ("x = 1", "for x in [1]: pass", "", ["data.race b"]),
        ("x = []", "x['k'] = 2", "", ["data.race b"]),
        ("x.append(1)", "x.extend([2])", "", ["data.race b"]),
        ("execution.setVariable('x', 1)", "x = 2", "", ["data.race b"]),
        ("import os\nos.remove('x')", "import os\nos.remove('x')", "", []),
        ("x.index(1)", "x.index(2)", "", []),
        ("x = 1", "y = x\ndef f(): x = 1\n[x for x in [1]]", "", []),
        ("_x = 1", "_x = 2", "", []),
        ("x = 1", "x = 2", SEVERAL, []),
        ("x = 1", "x = 2", MAPPED, []),
    ],
)  # fmt: skip
def test_two_branches_that_set_one_name_are_a_warning(problems, diagram, one, other, more, found):
    body = RACE + TASK.format("a", "", one, "") + TASK.format("b", "", other, more)
    assert problems(diagram(body, FORK)) == found


@pytest.mark.parametrize(
    ("flows", "found"),
    [
        ("s>a a>b b>e", []),  # one after the other
        ("s>x x>a?n x>b?m a>e b>e", []),  # one or the other
        ("s>g g>a g>j a>j j>b b>e", []),  # behind the join
        ("s>a s>b a>e b>e", ["data.race b"]),  # two flows that leave a start event
    ],
)
def test_only_what_can_run_at_once_races(problems, diagram, flows, found):
    body = ENDS + TASK.format("a", "", "x = 1", "") + TASK.format("b", "", "x = 2", "")
    for node, tag in (("g", "parallelGateway"), ("j", "parallelGateway"),
                      ("x", "exclusiveGateway")):  # fmt: skip
        body += f'<{tag} id="{node}"/>' if f">{node}" in flows else ""
    assert problems(diagram(body, flows)) == found


def test_what_a_non_interrupting_event_starts_races_with_its_task(problems, diagram):
    guard = '<boundaryEvent id="t" attachedToRef="a" cancelActivity="false"><timerEventDefinition>'
    guard += "<timeDuration>PT1S</timeDuration></timerEventDefinition></boundaryEvent>"
    body = ENDS + TASK.format("a", "", "x = 1", "") + TASK.format("b", "", "x = 2", "") + guard
    assert problems(diagram(body, "s>a a>e t>b b>e")) == ["data.race b"]


@pytest.mark.parametrize(
    ("source", "races"),
    [("x &lt;- 1", True), ("x$part[2] &lt;- 1", True), ("x[1] == 3", False), ("x &lt; -1", False)],
)
def test_scripts_in_r_race_too(diagram, tmp_path, source, races):
    body = (
        RACE + TASK.format("a", 'scriptFormat="R"', source, "") + TASK.format("b", "", "x = 2", "")
    )
    found = lint(parse_text(diagram(body, FORK).encode(), tmp_path / "t.bpmn"), tmp_path)
    assert any(each.rule == "data.race" for each in found) == races


REFERENCE = """<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d">
<category id="c"><categoryValue id="cv" value="v"/></category><message id="m" name="order"/>
<message id="unnamed"/><collaboration id="co"><participant id="p1" processRef="p"/>
<participant id="p2" processRef="q"/>
<messageFlow id="mf" sourceRef="t" targetRef="w" messageRef="m"/></collaboration>
<process id="p"><supports>p</supports><startEvent id="s"/><task id="t"/><subProcess id="sub">
<categoryValueRef>cv</categoryValueRef></subProcess><intermediateCatchEvent id="i">
<messageEventDefinition messageRef="unnamed"/></intermediateCatchEvent><endEvent id="e"/>
<sequenceFlow id="f1" sourceRef="s" targetRef="t"/>
<sequenceFlow id="f2" sourceRef="t" targetRef="sub"/>
<sequenceFlow id="f3" sourceRef="sub" targetRef="i"/>
<sequenceFlow id="f4" sourceRef="i" targetRef="e"/>
</process><process id="q"><task id="w"/></process></definitions>"""


def test_models_as_the_standard_has_them_are_free_of_errors(tmp_path):
    definitions = parse_text(REFERENCE.encode(), tmp_path / "test.bpmn")
    found = lint(definitions, tmp_path)
    assert [each for each in found if each.severity == "error"] == []
    assert {each.rule for each in found} == {"flow.message", "subprocess.empty"}


def test_broken_xml_names_its_line(tmp_path):
    with pytest.raises(BadData, match=r"test\.bpmn:3: not XML"):
        parse_text(b"<a>\n\n<b></a>", tmp_path / "test.bpmn")
