"""What vendors' modelers write beside the standard, run as they mean it."""

from __future__ import annotations

import pytest

from mlkit.bpmn.engine.effects import Subscribe
from mlkit.bpmn.engine.events import Fail
from mlkit.bpmn.people import tasks

BPMN = "http://www.omg.org/spec/BPMN/20100524/MODEL"
SEVEN = {
    "camunda": "http://camunda.org/schema/1.0/bpmn",
    "activiti": "http://activiti.org/bpmn",
    "flowable": "http://flowable.org/bpmn",
}
ZEEBE = "http://camunda.org/schema/zeebe/1.0"
ROW = (
    '<startEvent id="s"/>{}<endEvent id="e"/><sequenceFlow id="f1" sourceRef="s" targetRef="{}"/>'
    '<sequenceFlow id="f2" sourceRef="{}" targetRef="e"/>'
)
# Callables that any machine has; what they would do is answered by the test.
CALL = "json:dumps"


def seven(prefix: str, body: str, node: str, roots: str = "") -> str:
    body = ROW.format(body.replace("v:", f"{prefix}:"), node, node)
    return (
        f'<definitions xmlns="{BPMN}" xmlns:{prefix}="{SEVEN[prefix]}">{roots}'
        f'<process id="p" isExecutable="true" {prefix}:historyTimeToLive="180">{body}</process>'
        "</definitions>"
    )


def eight(body: str, node: str, roots: str = "") -> str:
    platform = (
        'xmlns:modeler="http://camunda.org/schema/modeler/1.0" '
        'modeler:executionPlatform="Camunda Cloud" modeler:executionPlatformVersion="8.6.0"'
    )
    body = ROW.format(body, node, node)
    return (
        f'<definitions xmlns="{BPMN}" xmlns:zeebe="{ZEEBE}" {platform}>{roots}'
        f'<process id="p" isExecutable="true">{body}</process></definitions>'
    )


def inside(*elements: str) -> str:
    return f"<extensionElements>{''.join(elements)}</extensionElements>"


def waiting(done) -> tasks.Task:
    (task,) = tasks.waiting("i", done.engine, done.state)
    return task


@pytest.mark.parametrize("prefix", SEVEN)
def test_people_of_the_older_dialects(play_xml, prefix):
    body = (
        '<userTask id="u" v:assignee="${owner}" v:candidateUsers="ann, bob" '
        'v:candidateGroups="${groups}" v:dueDate="${due}" v:priority="${50 + 1}" '
        'v:asyncBefore="true" v:asyncAfter="true" v:exclusive="false"/>'
    )
    done = play_xml(seven(prefix, body, "u"))
    done.start(owner="eve", groups=["ops", "ml"], due="2030-01-31")
    task = waiting(done)
    assert (task.assignee, task.users, task.groups) == ("eve", ["ann", "bob"], ["ops", "ml"])
    assert (task.due, task.priority) == ("2030-01-31", "51")


@pytest.mark.parametrize("prefix", ["activiti", "flowable"])
def test_form_properties(play_xml, prefix):
    field = (
        '<v:formProperty id="days" name="Days" type="long" required="true" variable="d"/>'
        '<v:formProperty id="how" type="enum" default="fast"><v:value id="fast" name="Fast"/>'
        '<v:value id="slow" name="Slow"/></v:formProperty>'
    )
    done = play_xml(seven(prefix, f'<userTask id="u">{inside(field)}</userTask>', "u")).start()
    days, how = waiting(done).form
    assert (days.id, days.label, days.type, days.required) == ("d", "Days", "long", True)
    assert (how.type, how.options) == ("enum", {"fast": "Fast", "slow": "Slow"})


@pytest.mark.parametrize("prefix", SEVEN)
@pytest.mark.parametrize(
    "named",
    [f'v:class="{CALL}"', f'v:delegateExpression="${{{CALL}}}"',
     f'v:type="external" v:topic="{CALL}"', f'implementation="{CALL}"'],
)  # fmt: skip
def test_service_tasks_name_their_code_in_several_ways(play_xml, prefix, named):
    body = f'<serviceTask id="t" {named} v:resultVariable="r"/>'
    done = play_xml(seven(prefix, body, "t"), lambda node, _: {"r": node}).start()
    assert done.runs == ["t"]
    assert done.variables == {"r": "t"}


@pytest.mark.parametrize("prefix", SEVEN)
def test_an_expression_computes_a_result(play_xml, prefix):
    body = '<serviceTask id="t" v:expression="${n * 2}" v:resultVariable="r"/>'
    done = play_xml(seven(prefix, body, "t")).start(n=4)
    assert done.variables == {"n": 4, "r": 8}


@pytest.mark.parametrize("prefix", SEVEN)
def test_a_collection_of_the_older_dialects(play_xml, prefix):
    body = (
        '<scriptTask id="t" scriptFormat="python"><multiInstanceLoopCharacteristics '
        'v:collection="${items}" v:elementVariable="item"/><script>pass</script></scriptTask>'
    )
    seen = []
    play_xml(seven(prefix, body, "t"), lambda _, v: seen.append(v["item"]) or {}).start(
        items=[1, 2]
    )
    assert seen == [1, 2]


@pytest.mark.parametrize("prefix", SEVEN)
def test_failures_are_retried_as_the_dialect_says(play_xml, prefix):
    cycle = inside("<v:failedJobRetryTimeCycle>R3/PT10S</v:failedJobRetryTimeCycle>")
    body = f'<scriptTask id="t">{cycle}<script>pass</script></scriptTask>'
    done = play_xml(seven(prefix, body, "t"), lambda *_: "broken").start()
    began = done.now
    done.tick().tick()
    assert (len(done.runs), done.now - began) == (3, 20)
    assert done.state.effective_status == "incident"


def test_the_variables_of_a_caught_error(play_xml):
    body = (
        '<scriptTask id="t"><script>pass</script></scriptTask><boundaryEvent id="b" '
        'attachedToRef="t"><errorEventDefinition errorRef="Bad" camunda:errorCodeVariable="code" '
        'camunda:errorMessageVariable="text"/></boundaryEvent>'
        '<sequenceFlow id="f3" sourceRef="b" targetRef="e"/>'
    )
    roots = '<error id="Bad" errorCode="BAD" name="bad"/>'
    done = play_xml(seven("camunda", body, "t", roots), lambda *_: "!BAD").start()
    assert done.variables["code"] == "BAD"
    assert done.state.status == "completed"


@pytest.mark.parametrize("prefix", SEVEN)
@pytest.mark.parametrize("kind", ["intermediateThrowEvent", "endEvent"])
def test_a_message_event_may_call_code(play_xml, prefix, kind):
    thrown = f'<messageEventDefinition v:type="external" v:topic="{CALL}"/>'
    body = f'<{kind} id="m" name="tell them">{thrown}</{kind}>'
    xml = seven(prefix, body, "m")
    if kind == "endEvent":
        xml = xml.replace('<sequenceFlow id="f2" sourceRef="m" targetRef="e"/>', "")
        xml = xml.replace('<endEvent id="e"/>', "")
    done = play_xml(xml, lambda *_: {"told": True}).start()
    assert done.runs == ["m"]
    assert done.variables == {"told": True}
    assert done.state.status == "completed"


def test_code_of_a_message_event_that_fails_is_an_incident_at_the_event(play_xml):
    thrown = f'<messageEventDefinition camunda:class="{CALL}"/>'
    body = f'<intermediateThrowEvent id="m">{thrown}</intermediateThrowEvent>'
    done = play_xml(seven("camunda", body, "m"), lambda *_: None).start()
    done.apply(Fail(done.find("m"), "no connection"))
    assert done.state.effective_status == "incident"


# -- zeebe -------------------------------------------------------------------------------------


def test_zeebe_people(play_xml):
    body = '<userTask id="u">' + inside(
        "<zeebe:userTask/>",
        '<zeebe:assignmentDefinition assignee="=owner" candidateUsers="=users" '
        'candidateGroups="ops,ml"/>',
        '<zeebe:taskSchedule dueDate="=due"/>', '<zeebe:priorityDefinition priority="=40 + 2"/>',
    ) + "</userTask>"  # fmt: skip
    done = play_xml(eight(body, "u")).start(owner="eve", users=["ann"], due="2030-01-31")
    task = waiting(done)
    assert (task.assignee, task.users, task.groups) == ("eve", ["ann"], ["ops", "ml"])
    assert (task.due, task.priority) == ("2030-01-31", "42")


@pytest.mark.parametrize("kind", ["serviceTask", "sendTask", "businessRuleTask", "scriptTask"])
def test_zeebe_jobs_map_their_variables(play_xml, kind):
    body = f'<{kind} id="t">' + inside(
        f'<zeebe:taskDefinition type="{CALL}" retries="2"/>',
        '<zeebe:ioMapping><zeebe:input source="=order.total * 2" target="amount"/>'
        '<zeebe:output source="=answer + 1" target="result"/></zeebe:ioMapping>',
    ) + f"</{kind}>"  # fmt: skip
    seen = []

    def answer(_, variables):
        seen.append(variables["amount"])
        return "broken" if len(seen) == 1 else {"answer": 6}

    done = play_xml(eight(body, "t"), answer).start(order={"total": 3})
    done.tick()
    assert seen == [6, 6]
    assert done.variables == {"order": {"total": 3}, "result": 7}


def test_a_zeebe_message_event_with_a_job_calls_code(play_xml):
    job = inside(f'<zeebe:taskDefinition type="{CALL}"/>')
    body = f'<intermediateThrowEvent id="m">{job}<messageEventDefinition/></intermediateThrowEvent>'
    done = play_xml(eight(body, "m"), lambda *_: {"told": True}).start()
    assert (done.runs, done.state.status) == (["m"], "completed")


def test_a_zeebe_script_is_an_expression(play_xml):
    script = inside('<zeebe:script expression="=for x in xs return x * 2" resultVariable="r"/>')
    done = play_xml(eight(f'<scriptTask id="t">{script}</scriptTask>', "t")).start(xs=[1, 2])
    assert done.variables["r"] == [2, 4]


def test_a_zeebe_loop_gathers_what_each_item_gives(play_xml):
    loop = inside(
        '<zeebe:loopCharacteristics inputCollection="=xs" inputElement="x" '
        'outputCollection="ys" outputElement="=y + 1"/>'
    )
    body = (
        f'<serviceTask id="t">{inside(f"<zeebe:taskDefinition type={CALL!r}/>")}'
        f"<multiInstanceLoopCharacteristics>{loop}</multiInstanceLoopCharacteristics></serviceTask>"
    )
    done = play_xml(eight(body, "t"), lambda _, v: {"y": v["x"] * 10}).start(xs=[1, 2])
    assert done.variables == {"xs": [1, 2], "ys": [11, 21]}


def test_a_zeebe_subscription_waits_for_its_key(play_xml):
    key = inside('<zeebe:subscription correlationKey="=order.id"/>')
    roots = f'<message id="Paid" name="paid">{key}</message>'
    body = '<receiveTask id="r" messageRef="Paid"/>'
    done = play_xml(eight(body, "r", roots)).start(order={"id": "o-7"})
    (wanted,) = [each for each in done.engine.pending(done.state) if isinstance(each, Subscribe)]
    assert (wanted.name, wanted.key) == ("paid", "o-7")
