"""How variables move in files of Camunda 7, Activiti and Flowable."""

from __future__ import annotations

import pytest
from bpmn.definition.vendor_files import CALLED, ERROR, MANY, call, file, flow, line


@pytest.mark.parametrize("vendor", ["camunda", "operaton", "flowable"])
@pytest.mark.parametrize("sequential", ["true", "false"])
def test_the_result_of_each_iteration_reaches_the_process(play_xml, vendor, sequential):
    loop = MANY.format(sequential)
    task = '<serviceTask id="t" v:expression="${total + i}" v:resultVariable="total">'
    task += loop + "</serviceTask>"
    done = play_xml(file(task + line("t"), vendor=vendor)).start(items=[1, 2, 3], total=0)
    assert done.variables["total"] == 6
    assert "i" not in done.variables


def test_what_people_fill_in_for_each_item_reaches_the_process(play_xml):
    task = f'<userTask id="u">{MANY.format("false")}</userTask><userTask id="after"/>'
    done = play_xml(file(task + line("u", "after"))).start(items=[1, 2])
    done.complete("u", votes=1).complete("u", votes=2)
    assert done.variables["votes"] == 2


def test_what_a_repeated_sub_process_or_call_sets_reaches_the_process(play_xml):
    inner = '<startEvent id="s1"/><serviceTask id="t" v:expression="${i}" v:resultVariable="last"/>'
    inner += '<endEvent id="e1"/>' + flow("g1", "s1", "t") + flow("g2", "t", "e1")
    sub = f'<subProcess id="sub">{MANY.format("true")}{inner}</subProcess>'
    called = '<extensionElements><v:in source="i" target="n"/><v:out source="n" target="seen"/>'
    called += f"</extensionElements>{MANY.format('true')}"
    call = f'<callActivity id="c" calledElement="q">{called}</callActivity>'
    other = '<process id="q" isExecutable="true"><startEvent id="sq"/><endEvent id="eq"/>'
    other += flow("fq", "sq", "eq") + "</process>"
    done = play_xml(file(sub + call + line("sub", "c"), more=other)).start(items=[1, 2, 3])
    assert (done.variables["last"], done.variables["seen"]) == (3, 3)


def test_files_without_a_vendor_keep_what_iterations_set(play, diagram):
    loop = "<multiInstanceLoopCharacteristics><loopCardinality>2</loopCardinality>"
    task = f'<userTask id="u">{loop}</multiInstanceLoopCharacteristics></userTask>'
    body = '<startEvent id="s"/><endEvent id="e"/><userTask id="after"/>' + task
    done = play(body, "s>u u>after after>e").start()
    done.complete("u", votes=1).complete("u", votes=2)
    assert "votes" not in done.variables


OUTPUT = """<extensionElements><v:inputOutput><v:inputParameter name="y">${x + 1}</v:inputParameter>
<v:outputParameter name="o">${y * 2}</v:outputParameter></v:inputOutput></extensionElements>"""


def test_output_parameters_add_to_what_an_activity_sets(play_xml):
    task = f'<serviceTask id="t" v:expression="${{y}}" v:resultVariable="r">{OUTPUT}</serviceTask>'
    person = f'<userTask id="u">{OUTPUT.replace("o", "o")}</userTask>'
    done = play_xml(file(task + person + line("t", "u"))).start(x=3)
    assert (done.variables["o"], done.variables["r"]) == (8, 4)
    assert "y" not in done.variables
    done.complete("u", comment="fine")
    assert done.state.status == "completed"
    assert done.trace[-2:] == [("u", "completed"), ("e", "completed")]


def test_a_message_sets_its_variables_beside_the_outputs_of_its_event(play_xml):
    output = '<v:inputOutput><v:outputParameter name="twice">${n * 2}</v:outputParameter>'
    output += "</v:inputOutput>"
    event = f'<intermediateCatchEvent id="m"><extensionElements>{output}</extensionElements>'
    event += '<messageEventDefinition messageRef="M"/></intermediateCatchEvent><userTask id="u"/>'
    done = play_xml(file(event + line("m", "u"), '<message id="M" name="m"/>')).start()
    done.receive("m", n=2)
    assert done.variables == {"n": 2, "twice": 4}


def io(*parameters: str) -> str:
    """Write a user task `u`; a parameter is `>name=value` (in) or `<name=value` (out)."""
    kinds = {">": "input", "<": "output"}
    inner = ""
    for each in parameters:
        name, _, value = each[1:].partition("=")
        kind = f"v:{kinds[each[0]]}Parameter"
        inner += f'<{kind} name="{name}">{value}</{kind}>'
    inner = f"<v:inputOutput>{inner}</v:inputOutput>"
    return f'<userTask id="u"><extensionElements>{inner}</extensionElements></userTask>'


def test_input_parameters_do_not_see_one_another(play_xml):
    task = io(">x=10", ">y=${x + 1}", "<o=${y}", "<p=${x}")
    done = play_xml(file(task + line("u"))).start(x=1)
    done.complete("u")
    assert done.variables == {"x": 1, "o": 2, "p": "10"}
    broken = play_xml(file(io(">a=${x}", ">b=${a}") + line("u"))).start(x=1)
    assert broken.state.effective_status == "incident"


def test_output_parameters_see_those_before_them_unless_a_local_one_hides_them(play_xml):
    task = io(">local=${x}", "<x=${x + 5}", "<y=${x + 1}", "<local=7", "<z=${local}")
    done = play_xml(file(task + line("u"))).start(x=1)
    done.complete("u")
    assert done.variables == {"x": 6, "y": 7, "local": "7", "z": 1}


def test_what_is_ended_early_sets_its_outputs(play_xml):
    boundary = (
        '<boundaryEvent id="b" attachedToRef="u"><signalEventDefinition signalRef="S"/>'
        '</boundaryEvent><userTask id="h"/>' + flow("h1", "b", "h")
    )
    task = io(">local=${x + 1}", "<o=${local * 2}")
    done = play_xml(file(task + boundary + line("u"), '<signal id="S" name="s"/>')).start(x=1)
    done.signal("s")
    assert done.variables == {"x": 1, "o": 4}


ESCALATES = """<process id="q" isExecutable="true"><startEvent id="sq"/>
<intermediateThrowEvent id="tq"><escalationEventDefinition escalationRef="X"/>
</intermediateThrowEvent><userTask id="uq"/><sequenceFlow id="q1" sourceRef="sq" targetRef="tq"/>
<sequenceFlow id="q2" sourceRef="tq" targetRef="uq"/></process>"""


def test_an_escalation_that_comes_to_a_called_process_passes_its_outputs(play_xml):
    mappings = '<v:in source="x" target="x"/><v:out source="x" target="y"/>'
    body = (
        f'<callActivity id="c" calledElement="q"><extensionElements>{mappings}</extensionElements>'
        '</callActivity><boundaryEvent id="b" attachedToRef="c"><escalationEventDefinition '
        'escalationRef="X"/></boundaryEvent><userTask id="h"/>' + flow("h1", "b", "h")
    )
    roots = '<escalation id="X" escalationCode="X1"/>'
    done = play_xml(file(body + line("c"), roots, more=ESCALATES)).start(x=3)
    assert done.variables == {"x": 3, "y": 3}


@pytest.mark.parametrize("out", ['<v:out variables="all"/>', '<v:out source="why" target="why"/>'])
def test_a_call_that_an_error_ends_maps_its_outputs_in_camunda(play_xml, out):
    mappings = f'<v:in source="x" target="x"/><v:in sourceExpression="stock" target="why"/>{out}'
    done = play_xml(file(call(mappings) + line("c"), ERROR, more=CALLED)).start(x=3)
    assert done.variables["why"] == "stock"
    assert (done.variables["code"], done.variables["text"]) == ("E42", "bad 3")
    other = play_xml(file(call(mappings) + line("c"), ERROR, "flowable", CALLED)).start(x=3)
    assert "why" not in other.variables


def test_all_local_variables_are_those_of_the_call_activity(play_xml):
    mappings = OUTPUT.removeprefix("<extensionElements>").removesuffix("</extensionElements>")
    mappings += '<v:in variables="all" local="true"/><v:out variables="all"/>'
    fine = CALLED.replace('<errorEventDefinition errorRef="E"/>', "").replace(
        '<endEvent id="eq">', '<userTask id="uq"/><endEvent id="eq">'
    )
    fine = fine.replace('targetRef="eq"', 'targetRef="uq"').replace(
        "</process>", flow("fq2", "uq", "eq") + "</process>"
    )
    done = play_xml(file(call(mappings) + line("c"), ERROR, more=fine)).start(x=3)
    inside = next(each for each in done.state.scopes.values() if each.called)
    assert inside.variables == {"y": 4}


def test_data_objects_begin_with_their_values(play_xml):
    def data(name: str, kind: str, value: str) -> str:
        inner = f"<extensionElements><v:value>{value}</v:value></extensionElements>"
        named = f'id="d_{name}" name="{name}" itemSubjectRef="xsd:{kind}"'
        return f"<dataObject {named}>{inner}</dataObject>"

    body = data("a", "string", "x") + data("b", "int", "5") + data("c", "boolean", "true")
    done = play_xml(file(body + '<userTask id="u"/>' + line("u"), vendor="flowable")).start(a="y")
    assert done.variables == {"a": "y", "b": 5, "c": True}


def test_the_index_of_an_item_has_the_name_that_flowable_gives_it(play_xml):
    loop = MANY.format("true").replace("/>", ' v:elementIndexVariable="at"/>')
    body = f'<serviceTask id="t" v:expression="${{total + at}}" v:resultVariable="total">{loop}'
    done = play_xml(file(body + "</serviceTask>" + line("t"), vendor="flowable"))
    assert done.start(items=[5, 5, 5], total=0).variables["total"] == 3


@pytest.mark.parametrize("written", ["items", "${items}"])
def test_loop_data_may_name_a_variable(play_xml, written):
    loop = f"<multiInstanceLoopCharacteristics><loopDataInputRef>{written}</loopDataInputRef>"
    loop += '<inputDataItem name="i"/></multiInstanceLoopCharacteristics>'
    body = f'<serviceTask id="t" v:expression="${{i}}" v:resultVariable="last">{loop}</serviceTask>'
    assert (
        play_xml(file(body + '<userTask id="u"/>' + line("t", "u")))
        .start(items=[4, 5])
        .variables["last"]
        == 5
    )


def test_variables_of_iterations_are_aggregated(play_xml):
    inner = '<v:variableAggregation target="reviews"><variable source="approved"/>'
    inner += '<variable sourceExpression="${score + 1}" target="points"/></v:variableAggregation>'
    loop = f"<multiInstanceLoopCharacteristics><extensionElements>{inner}</extensionElements>"
    loop += "<loopCardinality>2</loopCardinality></multiInstanceLoopCharacteristics>"
    body = f'<userTask id="u">{loop}</userTask><userTask id="after"/>' + line("u", "after")
    done = play_xml(file(body, vendor="flowable")).start(score=0)
    done.complete("u", approved=True, score=4).complete("u", approved=False, score=7)
    reviews = done.variables["reviews"]
    assert sorted(each["points"] for each in reviews) == [5, 8]
    assert sorted(each["approved"] for each in reviews) == [False, True]
    assert "approved" not in done.variables


def test_an_aggregation_that_calls_code_is_a_lint_error(problems):
    inner = '<v:variableAggregation target="x" delegateExpression="${bean}"/>'
    loop = f"<multiInstanceLoopCharacteristics><extensionElements>{inner}</extensionElements>"
    loop += "<loopCardinality>2</loopCardinality></multiInstanceLoopCharacteristics>"
    body = f'<userTask id="u">{loop}</userTask>' + line("u")
    assert "loop.aggregation u" in problems(file(body, vendor="flowable"))
