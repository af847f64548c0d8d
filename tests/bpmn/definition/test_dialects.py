"""What the modelers of Camunda, Zeebe, Activiti and Flowable write means what it means there."""

from __future__ import annotations

import pytest

from mlkit.bpmn.definition.parser import parse
from mlkit.bpmn.engine.behaviors.starting import by_message
from mlkit.bpmn.engine.events import Retry, Start
from mlkit.bpmn.lint.validation import lint

ENDS = '<startEvent id="s"/><endEvent id="e"/>'
TIMER = "<timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition>"
STOP = '<signalEventDefinition signalRef="Stop"/>'
FLOWABLE = 'xmlns:flowable="http://flowable.org/bpmn"'


def extension(inner: str) -> str:
    return f"<extensionElements>{inner}</extensionElements>"


def mapping(kind: str, source: str, target: str) -> str:
    return extension(
        f'<zeebe:ioMapping><zeebe:{kind} source="{source}" target="{target}"/></zeebe:ioMapping>'
    )


CARRIES = extension('<camunda:in source="m" target="x"/>')


# -- what events map -------------------------------------------------------------------------------


def test_an_event_that_waits_for_time_sets_its_outputs(play):
    body = f'{ENDS}<intermediateCatchEvent id="t">{mapping("output", "=true", "late")}{TIMER}'
    done = play(f"{body}</intermediateCatchEvent>", "s>t t>e").start()
    assert done.variables == {}
    assert done.tick().variables == {"late": True}


def test_an_event_waits_for_what_its_inputs_say(play):
    timer = "<timerEventDefinition><timeDuration>=pause</timeDuration></timerEventDefinition>"
    inputs = mapping("input", "=&quot;PT&quot; + string(n) + &quot;H&quot;", "pause")
    body = f'{ENDS}<intermediateCatchEvent id="t">{inputs}{timer}</intermediateCatchEvent>'
    done = play(body, "s>t t>e").start(n=2)
    before = done.now
    assert done.tick().now == before + 7200
    assert done.variables == {"n": 2}


def test_a_start_event_sets_its_outputs(play):
    body = f'<startEvent id="s">{mapping("output", "=n + 1", "n")}</startEvent><endEvent id="e"/>'
    assert play(body, "s>e").start(n=1).variables == {"n": 2}


@pytest.mark.parametrize(
    ("definition", "answer"),
    [('<errorEventDefinition errorRef="Bad"/>', "!BAD"), ("<errorEventDefinition/>", "broken")],
)
def test_a_boundary_event_that_catches_an_error_sets_its_outputs(play, definition, answer):
    body = f'{ENDS}<scriptTask id="w"><script>1</script></scriptTask><endEvent id="f"/>'
    body += f'<boundaryEvent id="b" attachedToRef="w">{mapping("output", "=42", "why")}'
    done = play(f"{body}{definition}</boundaryEvent>", "s>w w>e b>f", lambda *_: answer).start()
    assert done.completed("f", "e") == ["f"]
    assert done.variables == {"why": 42}


def test_an_event_sub_process_that_catches_an_escalation_sets_its_outputs(play, arrows):
    start = f'<startEvent id="is">{mapping("output", "=1", "risen")}<escalationEventDefinition/>'
    inside = f'{start}</startEvent><endEvent id="ie"/>{arrows("is>ie", "i")}'
    body = f'<startEvent id="s"/><subProcess id="h" triggeredByEvent="true">{inside}</subProcess>'
    body += '<endEvent id="e"><escalationEventDefinition escalationRef="Up"/></endEvent>'
    done = play(body, "s>e").start()
    assert done.completed("ie") == ["ie"]
    assert done.variables == {"risen": 1}


def test_an_output_that_fails_is_an_incident_which_a_retry_maps_again(play, as_json):
    body = f'{ENDS}<intermediateCatchEvent id="t">{extension("")}{TIMER}</intermediateCatchEvent>'
    outputs = mapping("output", "${n}", "m")
    done = play(body.replace(extension(""), outputs), "s>t t>e").start().tick()
    assert done.state.effective_status == "incident"
    done.variables["n"] = 5
    done.apply(Retry())
    assert done.state.status == "completed"
    assert done.variables["m"] == 5


@pytest.mark.parametrize(
    "throws",
    [
        f'{mapping("input", "=n + 1", "x")}{STOP}',
        STOP.replace("/>", f">{CARRIES}</signalEventDefinition>"),
    ],
)  # fmt: skip
def test_a_signal_carries_what_its_event_maps(play, throws):
    body = f'{ENDS}<parallelGateway id="g"/><intermediateCatchEvent id="c">{STOP}'
    body += f'</intermediateCatchEvent><intermediateThrowEvent id="t">{throws}'
    done = play(f"{body}</intermediateThrowEvent>", "s>g g>c g>t c>e t>e").start(n=1, m=2)
    assert done.state.status == "completed"
    assert done.variables == {"n": 1, "m": 2, "x": 2}
    assert done.sent[0].variables == {"x": 2}


def test_a_passing_throw_event_sets_its_outputs(play):
    event = (
        f'<intermediateThrowEvent id="t">{mapping("output", "=1", "x")}</intermediateThrowEvent>'
    )
    assert play(ENDS + event, "s>t t>e").start().variables == {"x": 1}


# -- zeebe's multi-instance ------------------------------------------------------------------------


def test_zeebe_counts_turns_from_one_and_names_the_counts_in_its_way(play):
    loop = '<zeebe:loopCharacteristics inputCollection="=list" inputElement="x"'
    loop += ' outputCollection="seen" outputElement="=loopCounter"/>'
    enough = "<completionCondition>=numberOfCompletedInstances &gt;= 2</completionCondition>"
    marker = f'<multiInstanceLoopCharacteristics isSequential="true">{extension(loop)}{enough}'
    body = f'{ENDS}<task id="w">{marker}</multiInstanceLoopCharacteristics></task>'
    done = play(body, "s>w w>e").start(list=[7, 8, 9])
    assert done.variables["seen"] == [1, 2, None]


# -- camunda, activiti, flowable -------------------------------------------------------------------


def test_fields_of_a_delegate_are_its_variables(play):
    fields = '<camunda:field name="a" stringValue="hi"/><camunda:field name="b" expression="${n}"/>'
    fields += "<camunda:field name='c'><camunda:string>text</camunda:string></camunda:field>"
    body = f'{ENDS}<serviceTask id="w" camunda:class="json:dumps">{extension(fields)}</serviceTask>'
    seen = []
    play(body, "s>w w>e", lambda _, variables: seen.append(variables) or {}).start(n=3)
    assert seen == [{"n": 3, "a": "hi", "b": 3, "c": "text"}]


def test_the_initiator_is_a_variable_that_nobody_has_to_give(play):
    body = '<startEvent id="s" camunda:initiator="who"/><endEvent id="e"/>'
    body += '<userTask id="u" camunda:assignee="${who}"/>'
    asked = play(body, "s>u u>e").start()
    assert asked.state.activations[asked.find("u")].wait.assignee is None
    told = play(body, "s>u u>e").start(who="ann")
    assert told.state.activations[told.find("u")].wait.assignee == "ann"


@pytest.mark.parametrize(
    ("attributes", "path"),
    [
        ("", "amt"),
        ('variable="amount"', "amount"),
        ('expression="#{order.total}"', "order.total"),
    ],
)  # fmt: skip
def test_a_form_property_may_set_another_variable(play, attributes, path):
    prop = extension(f'<camunda:formProperty id="amt" type="long" {attributes}/>')
    done = play(f'{ENDS}<userTask id="u">{prop}</userTask>', "s>u u>e").start(order={"total": 3})
    (field,) = done.engine.graph.behaviors["u"].node.work.form
    assert field.id == path


def test_a_lane_is_the_group_of_tasks_in_its_sub_processes_too(play, arrows):
    lane = (
        '<laneSet id="ls"><lane id="l" name="owners"><flowNodeRef>sp</flowNodeRef></lane></laneSet>'
    )
    inside = f'<startEvent id="is"/><userTask id="u"/>{arrows("is>u", "i")}'
    done = play(f'{lane}{ENDS}<subProcess id="sp">{inside}</subProcess>', "s>sp sp>e").start()
    assert done.state.activations[done.find("u")].wait.groups == ["owners"]


def test_flowable_gives_all_variables_to_a_process_that_inherits_them(play_xml):
    space = 'xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"'
    call = '<callActivity id="c" calledElement="q" flowable:inheritVariables="{}"/>'
    flow = '<sequenceFlow id="{0}" sourceRef="{1}" targetRef="{2}"/>'
    outer = f"{ENDS}{{}}{flow.format('f', 's', 'c')}{flow.format('g', 'c', 'e')}"
    inner = f'<startEvent id="qs"/><userTask id="u"/>{flow.format("h", "qs", "u")}'
    for inherits, seen in (("true", {"x": 1}), ("false", {})):
        done = play_xml(
            f'<definitions {space} {FLOWABLE}><process id="p">{outer.format(call.format(inherits))}'
            f'</process><process id="q">{inner}</process></definitions>'
        ).start(x=1)
        waiting = done.state.activations[done.find("u")]
        assert done.state.visible(waiting.scope) == seen


# -- how a process begins --------------------------------------------------------------------------


RECEIVERS = '<receiveTask id="r" messageRef="Paid" instantiate="true"/><endEvent id="e"/>'
RECEIVERS += '<receiveTask id="q" messageRef="Gone" instantiate="true"/><userTask id="u"/>'
GONE = '<message id="Paid" name="paid"/><message id="Gone" name="gone"/>'


def test_the_first_of_several_receive_tasks_begins_a_process(play):
    done = play(RECEIVERS, "r>u q>u u>e", roots=GONE).start().receive("r")
    assert [each.node for each in done.state.activations.values()] == ["u"]


def test_a_message_begins_a_process_at_its_receive_task_or_behind_its_gateway(play):
    done = play(RECEIVERS, "r>u q>u u>e", roots=GONE)
    node = next(by_message(done.engine.processes[0], "gone"))
    assert done.apply(Start({"x": 1}, node)).completed() == ["q"]
    body = '<eventBasedGateway id="g" instantiate="true"/><endEvent id="e"/>'
    for each, message in (("m", "Paid"), ("n", "Gone")):
        definition = f'<messageEventDefinition messageRef="{message}"/>'
        body += f'<intermediateCatchEvent id="{each}">{definition}</intermediateCatchEvent>'
    done = play(body, "g>m g>n m>e n>e", roots=GONE)
    assert next(by_message(done.engine.processes[0], "gone")) == "n"


def test_a_process_begins_in_one_way(problems, diagram):
    two = diagram('<startEvent id="s"/><startEvent id="t"/><endEvent id="e"/>', "s>e t>e")
    assert "process.starts t" in problems(two)
    loop = '<standardLoopCharacteristics loopMaximum="2"/>'
    repeated = f'<receiveTask id="r" messageRef="Paid" instantiate="true">{loop}</receiveTask>'
    assert "process.starts r" in problems(diagram(f'{repeated}<endEvent id="e"/>', "r>e"))


# -- what a run would do otherwise is told before it starts ---------------------------------------


@pytest.mark.parametrize(
    ("attribute", "inner", "expected"),
    [
        ("", "<camunda:connector>y</camunda:connector>", "extension.unsupported w"),
        ('camunda:variableMappingClass="a.B"', "", "attribute.unsupported w"),
        ('camunda:asyncBefore="true"', "", None),
    ],
)  # fmt: skip
def test_attributes_that_change_a_run_are_errors(problems, diagram, attribute, inner, expected):
    task = f'<serviceTask id="w" camunda:class="json:dumps" {attribute}>{extension(inner)}'
    found = problems(diagram(f"{ENDS}{task}</serviceTask>", "s>w w>e"))
    assert found == ([expected] if expected else [])


@pytest.mark.parametrize("text", ["5 minutes", "R0/PT1H", "R3/PT1H/2026-01-01T00:00:00Z", "* * *"])
def test_a_timer_that_says_no_time_is_an_error(problems, diagram, text):
    timer = f"<timerEventDefinition><timeCycle>{text}</timeCycle></timerEventDefinition>"
    event = f'<intermediateCatchEvent id="t">{timer}</intermediateCatchEvent>'
    assert problems(diagram(ENDS + event, "s>t t>e")) == ["timer.value t"]


NEVER = [
    ("0 0 9 ? * 6L 2020", "it never occurs again"),
    ("* * * * * ? 2020-2025", "it never occurs again"),
    ("TZ=Europe/Berlin 0 0 9 1 1 ? 2021", "it never occurs again"),
    ("*/61 * * * *", "bad minute '*/61': steps are at most 59"),
    ("0 5/60 * * * ?", "bad minute '5/60': steps are at most 59"),
    ("0 0 */24 * * ?", "bad hour '*/24': steps are at most 23"),
    ("0 0 0 1,*/32 * ?", "bad day '*/32': steps are at most 31"),
    ("0 0 0 1 */13 ?", "bad month '*/13': steps are at most 12"),
    ("0 0 * * */8", "bad weekday '*/8': steps are at most 7"),
    ("0 0 0 L-31 * ?", "bad day 'L-31': no month has so many days"),
]


@pytest.mark.parametrize(("text", "why"), NEVER)
@pytest.mark.parametrize("node", ["startEvent", "intermediateCatchEvent"])
def test_a_cron_line_that_never_comes_is_an_error_of_lint(tmp_path, diagram, text, why, node):
    timer = f"<timerEventDefinition><timeCycle>{text}</timeCycle></timerEventDefinition>"
    event = f'<{node} id="t">{timer}</{node}>'
    catching = ENDS + event, "s>t t>e"
    starting = event + '<endEvent id="e"/>', "t>e"
    path = tmp_path / "p.bpmn"
    path.write_text(diagram(*(starting if node == "startEvent" else catching)))
    definitions = parse(path)
    assert not definitions.problems  # an instance that runs can still be read
    (found,) = lint(definitions, tmp_path)
    assert (found.rule, found.severity, found.element) == ("timer.never", "error", "t")
    assert found.line > 0
    assert found.message.endswith(why)


@pytest.mark.parametrize(
    "text", ["0 0 9 30 2 ?", "0 9 31 4,6,9,11 *", "0 0 9 ? 2 2#5 2027", "0 0 9 29 2 ? 2025"]
)
def test_a_day_that_no_year_has_is_an_error(problems, diagram, text):
    timer = f"<timerEventDefinition><timeCycle>{text}</timeCycle></timerEventDefinition>"
    event = f'<intermediateCatchEvent id="t">{timer}</intermediateCatchEvent>'
    assert problems(diagram(ENDS + event, "s>t t>e")) == ["timer.value t"]


@pytest.mark.parametrize("text", ["*/59 * * * *", "0 0 9 ? * 6L 2020-2190", "0 0 9 29 2 ?"])
def test_a_rare_cron_line_is_none(problems, diagram, text):
    timer = f"<timerEventDefinition><timeCycle>{text}</timeCycle></timerEventDefinition>"
    event = f'<intermediateCatchEvent id="t">{timer}</intermediateCatchEvent>'
    assert problems(diagram(ENDS + event, "s>t t>e")) == []


def test_retries_may_stand_in_the_marker_of_a_multi_instance(play):
    cycle = extension("<camunda:failedJobRetryTimeCycle>R3/PT1S</camunda:failedJobRetryTimeCycle>")
    marker = f"<multiInstanceLoopCharacteristics>{cycle}<loopCardinality>1</loopCardinality>"
    marker += "</multiInstanceLoopCharacteristics>"
    body = f'{ENDS}<scriptTask id="w">{marker}<script>1</script></scriptTask>'
    answers = iter(["broken", "broken", {}])
    done = play(body, "s>w w>e", lambda *_: next(answers)).start().tick().tick()
    assert done.state.status == "completed"


def test_what_an_ad_hoc_sub_process_would_gather_is_told(problems, diagram):
    listed = '<zeebe:adHoc activeElementsCollection="=[]" outputCollection="x" outputElement="=1"/>'
    inside = f'<adHocSubProcess id="h">{extension(listed)}<task id="t"/></adHocSubProcess>'
    assert problems(diagram(ENDS + inside, "s>h h>e")) == ["adhoc.output h"]


@pytest.mark.parametrize(
    ("body", "flows", "expected"),
    [
        (f'<startEvent id="s">{mapping("input", "=1", "x")}</startEvent><endEvent id="e"/>', "s>e",
         "event.mapping s"),
        ('<startEvent id="s"/><endEvent id="e"><errorEventDefinition errorRef="Odd"/></endEvent>',
         "s>e", "code.dynamic Odd"),
    ],
)  # fmt: skip
def test_what_cannot_be_mapped_or_computed_is_told(problems, diagram, body, flows, expected):
    roots = '<error id="Odd" errorCode="=reason"/>'
    assert problems(diagram(body, flows, roots)) == [expected]


def zeebe_task(*mappings: str) -> str:
    inside = f"<zeebe:ioMapping>{''.join(mappings)}</zeebe:ioMapping>"
    return (
        '<startEvent id="s"/><endEvent id="ok"/><endEvent id="bad"/>'
        '<exclusiveGateway id="g" default="f3"/><serviceTask id="w"><extensionElements>'
        f'<zeebe:taskDefinition type="json:dumps"/>{inside}</extensionElements></serviceTask>'
    )


def test_targets_within_objects_build_and_merge_them(play):
    seen = {}

    def work(element, variables):
        seen.update(variables)
        return {"fee": 7, "tax": 2}

    body = zeebe_task(
        '<zeebe:input source="=order.id" target="req.id"/>',
        '<zeebe:input source="=&quot;EUR&quot;" target="req.price.currency"/>',
        '<zeebe:output source="=fee" target="order.fee"/>',
        '<zeebe:output source="=tax" target="order.parts.tax"/>',
        '<zeebe:output source="=fee" target="fresh.deep.fee"/>',
    )
    flows = "s>w w>g g>ok?=order.fee=7 g>bad"
    done = play(body, flows, work).start(order={"id": 1}, req={"old": True})
    assert seen["req"] == {"id": 1, "price": {"currency": "EUR"}}
    assert done.completed()[-1] == "ok"
    merged = {"id": 1, "fee": 7, "parts": {"tax": 2}}
    assert done.variables == {
        "order": merged, "req": {"old": True}, "fresh": {"deep": {"fee": 7}}
    }  # fmt: skip


def test_a_part_of_what_is_no_object_replaces_it(play):
    body = zeebe_task('<zeebe:output source="=1" target="x.y"/>')
    done = play(body, "s>w w>g g>bad g>ok", lambda *_: {}).start(x=5)
    assert done.variables == {"x": {"y": 1}}


@pytest.mark.parametrize("target", ["", "order.", "a b", "=x", ".x"])
def test_targets_that_are_no_names_are_errors(problems, diagram, target):
    body = zeebe_task(f'<zeebe:output source="=1" target="{target}"/>')
    assert "io.target w" in problems(diagram(body, "s>w w>g g>bad g>ok"))
