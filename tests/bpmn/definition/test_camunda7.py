"""What files of Camunda 7, Activiti and Flowable mean, where their engines have own rules."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mlkit.bpmn.engine.events import Throw

SPACES = {
    "camunda": "http://camunda.org/schema/1.0/bpmn",
    "flowable": "http://flowable.org/bpmn",
    "activiti": "http://activiti.org/bpmn",
    "operaton": "http://operaton.org/schema/1.0/bpmn",
}


def file(body: str, roots: str = "", vendor: str = "camunda", more: str = "") -> str:
    """Write a file of a vendor; its attributes are written `v:name`."""
    return (
        f'<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d" '
        f'xmlns:v="{SPACES[vendor]}">{roots}'
        f'<process id="p" isExecutable="true"><startEvent id="s"/><endEvent id="e"/>{body}'
        f"</process>{more}</definitions>"
    )


def flow(name: str, source: str, target: str, condition: str = "") -> str:
    inner = f"<conditionExpression>{condition}</conditionExpression>" if condition else ""
    ends = f'sourceRef="{source}" targetRef="{target}"'
    return f'<sequenceFlow id="{name}" {ends}>{inner}</sequenceFlow>'


def line(*nodes: str) -> str:
    ends = ["s", *nodes, "e"]
    return "".join(flow(f"f{n}", a, b) for n, (a, b) in enumerate(pairwise(ends)))


MANY = (
    '<multiInstanceLoopCharacteristics isSequential="{}" v:collection="${{items}}" '
    'v:elementVariable="i"/>'
)
TWICE = (
    "<multiInstanceLoopCharacteristics><loopCardinality>2</loopCardinality>"
    "</multiInstanceLoopCharacteristics>"
)


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


@pytest.mark.parametrize(("x", "waits"), [(1, "u"), (2, None)])
def test_a_condition_after_a_start_event_counts(play_xml, x, waits):
    flows = flow("f0", "s", "u", "${x == 1}") + flow("f1", "u", "e")
    done = play_xml(file('<userTask id="u"/>' + flows)).start(x=x)
    assert done.state.effective_status == ("waiting" if waits else "incident")


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


def undone(host: str, handler: str) -> str:
    work = f"""v:expression="${{log.concat('{handler}')}}" v:resultVariable="log\""""
    return (
        f'<boundaryEvent id="b{host}" attachedToRef="{host}"><compensateEventDefinition/>'
        f'</boundaryEvent><serviceTask id="{handler}" isForCompensation="true" {work}/>'
        f'<association id="as{host}" sourceRef="b{host}" targetRef="{handler}"/>'
    )


@pytest.mark.parametrize(("vendor", "log"), [("camunda", "SI"), (None, "S")])
def test_what_is_inside_a_subprocess_is_compensated_beside_its_own_handler(play_xml, vendor, log):
    inside = '<startEvent id="si"/><task id="i"/>' + undone("i", "I") + flow("i1", "si", "i")
    body = f'<subProcess id="sub">{inside}</subProcess>{undone("sub", "S")}'
    body += '<intermediateThrowEvent id="t"><compensateEventDefinition/></intermediateThrowEvent>'
    text = file(body + line("sub", "t"))
    if vendor is None:  # a file of the standard with vendor's attributes declares them inside
        text = text.replace(f' xmlns:v="{SPACES["camunda"]}"', "", 1).replace(
            "<serviceTask ", f'<serviceTask xmlns:v="{SPACES["camunda"]}" '
        )
    done = play_xml(text).start(log="")
    assert done.variables["log"] == log


CALLED = """<process id="q" isExecutable="true"><startEvent id="sq"/><endEvent id="eq">
<errorEventDefinition errorRef="E"/></endEvent><sequenceFlow id="fq" sourceRef="sq" targetRef="eq"/>
</process>"""
ERROR = '<error id="E" errorCode="E42" v:errorMessage="bad ${x}"/>'


def call(mappings: str) -> str:
    return (
        f'<callActivity id="c" calledElement="q"><extensionElements>{mappings}</extensionElements>'
        '</callActivity><boundaryEvent id="b" attachedToRef="c"><errorEventDefinition errorRef="E" '
        'v:errorCodeVariable="code" v:errorMessageVariable="text"/></boundaryEvent>'
        '<userTask id="h"/>' + flow("h1", "b", "h") + flow("h2", "h", "e")
    )


@pytest.mark.parametrize("out", ['<v:out variables="all"/>', '<v:out source="why" target="why"/>'])
def test_a_call_that_an_error_ends_maps_its_outputs_in_camunda(play_xml, out):
    mappings = f'<v:in source="x" target="x"/><v:in sourceExpression="stock" target="why"/>{out}'
    done = play_xml(file(call(mappings) + line("c"), ERROR, more=CALLED)).start(x=3)
    assert done.variables["why"] == "stock"
    assert (done.variables["code"], done.variables["text"]) == ("E42", "bad 3")
    other = play_xml(file(call(mappings) + line("c"), ERROR, "flowable", CALLED)).start(x=3)
    assert "why" not in other.variables


def test_the_message_of_an_error_that_has_none_is_null(play_xml):
    silent = '<error id="E" errorCode="E42"/>'
    done = play_xml(file(call("") + line("c"), silent, more=CALLED)).start()
    assert (done.variables["code"], done.variables["text"]) == ("E42", None)


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


@pytest.mark.parametrize("value", ["true", None, 1])
def test_a_condition_that_is_no_boolean_is_an_incident(play_xml, value):
    gate = '<exclusiveGateway id="g" default="f1"/>' + flow("yes", "g", "e", "${x}")
    done = play_xml(file(gate + line("g"))).start(x=value)
    assert done.state.effective_status == "incident"


def test_an_error_that_is_not_declared_is_its_own_code(play_xml):
    task = '<scriptTask id="t"><script>1</script></scriptTask><userTask id="h"/>'
    task += '<boundaryEvent id="b" attachedToRef="t"><errorEventDefinition errorRef="BAD"/>'
    task += "</boundaryEvent>" + flow("h1", "b", "h") + flow("h2", "h", "e")
    done = play_xml(file(task + line("t")), lambda *_: None).start()
    done.apply(Throw(done.find("t"), "BAD"))
    assert done.find("h")


def test_ids_that_two_processes_share_are_refused(problems):
    twin = '<process id="q"><startEvent id="s"/><endEvent id="e"/></process>'
    assert {"id.missing s", "id.missing e"} <= set(problems(file(line(), more=twin)))
    same = '<process id="p"><startEvent id="s2"/></process>'
    assert "id.missing p" in problems(file(line(), more=same))


def computed(name: str, expression: str, result: str = "r") -> str:
    return f'<serviceTask id="{name}" v:expression="{expression}" v:resultVariable="{result}"/>'


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("${execution.processBusinessKey}", "K1"),
        ("${execution.getBusinessKey()}", "K1"),
        ("${execution.processInstanceId}", "abc"),
        ("${execution.id}", "abc"),
        ("${execution.processDefinitionId}", "p"),
        ("${execution.currentActivityId}", "t"),
        ("${'abc'.charAt(1)}", "b"),
        ("${order.getTotal()}", 5),
        ("${var:equals(x, 3)}", True),
        ("${variables:get('x') + 1}", 4),
        ("${vars:getOrDefault(nothing, 7)}", 7),
        ("${var:isNotEmpty(nothing)}", False),
        ("${var:lte(x, 3) && !var:exists(nothing)}", True),
        ("${'var:equals(' == 'x'}", False),
        ("${var:containsAny(list, 9, 2) && !var:containsAny(list, 7)}", True),
    ],
)
def test_expressions_of_vendors(play_xml, expression, expected):
    from mlkit.bpmn.engine.events import Start

    task = computed("t", expression.replace("&", "&amp;"))
    done = play_xml(file(task + line("t") + '<userTask id="u"/>' + flow("z", "t", "u")))
    done.apply(Start({"x": 3, "order": {"total": 5}, "list": [1, 2]}, key="K1", instance="abc"))
    assert done.variables["r"] == expected


def test_an_expression_sets_variables(play_xml):
    task = computed("t", "${execution.setVariable('y', x + 1)}") + '<userTask id="u"/>'
    task += computed("t2", "${execution.setVariableLocal('z', 1)}")
    task += computed("t3", "${execution.removeVariable('x')}")
    done = play_xml(file(task + line("t", "t2", "t3", "u"))).start(x=3)
    assert done.variables == {"y": 4, "z": 1, "r": None}


@pytest.mark.parametrize(
    "expression", ["${execution.foo}", "${execution.getFoo(1)}", "${var:often(x)}", "${var:eq(x)}"]
)
def test_what_an_execution_does_not_know_is_a_lint_error(problems, expression):
    assert "expression.broken t" in problems(file(computed("t", expression) + line("t")))


def repeated(inner: str) -> str:
    loop = '<multiInstanceLoopCharacteristics v:collection="${items}" v:elementVariable="i"/>'
    return f'<subProcess id="sub">{loop}{inner}</subProcess>'


def ending(attribute: str) -> str:
    return f'<endEvent id="t"><terminateEventDefinition v:{attribute}="true"/></endEvent>'


def test_terminate_all_ends_what_called_too(play_xml):
    called = '<process id="q" isExecutable="true"><startEvent id="sq"/>' + ending("terminateAll")
    called += flow("fq", "sq", "t") + "</process>"
    body = '<parallelGateway id="g"/><userTask id="other"/><userTask id="last"/>'
    body += '<callActivity id="c" calledElement="q"/>' + line("g", "other")
    body += flow("gc", "g", "last") + flow("gl", "last", "c") + flow("ce", "c", "e")
    done = play_xml(file(body, vendor="flowable", more=called)).start()
    done.complete("last")
    assert done.state.status == "completed"
    assert ("other", "terminated") in done.trace


def test_terminate_multi_instance_ends_all_iterations_and_goes_on(play_xml):
    inner = '<startEvent id="s1"/><userTask id="u"/>' + ending("terminateMultiInstance")
    inner += flow("g1", "s1", "u") + flow("g2", "u", "t")
    body = repeated(inner) + '<userTask id="after"/>' + line("sub", "after")
    done = play_xml(file(body, vendor="flowable")).start(items=[1, 2, 3])
    done.complete("u")
    assert [each.node for each in done.state.activations.values()] == ["after"]


def test_a_plain_terminate_ends_its_own_scope(play_xml):
    inner = '<startEvent id="s1"/><userTask id="u"/>' + ending("other").replace(
        ' v:other="true"', ""
    )
    inner += flow("g1", "s1", "u") + flow("g2", "u", "t")
    done = play_xml(file(repeated(inner) + line("sub"))).start(items=[1, 2])
    done.complete("u")
    assert done.state.status == "running"
    done.complete("u")
    assert done.state.status == "completed"


def test_names_of_user_tasks_are_computed(play_xml):
    from mlkit.bpmn.people import tasks
    from mlkit.bpmn.runtime import documents

    body = '<userTask id="u" name="Approve order ${id}"/>'
    body += f'<userTask id="many" name="Task #${{loopCounter}}">{TWICE}</userTask>'
    done = play_xml(file(body + line("u", "many"))).start(id="A7")

    def names() -> list[str]:
        listed = [each.name for each in tasks.waiting("i", done.engine, done.state)]
        shown = documents.waiting("i", done.engine, done.state)
        assert [each["name"] for each in shown] == listed
        return listed

    assert names() == ["Approve order A7"]
    done.complete("u")
    assert names() == ["Task #0", "Task #1"]


def test_data_objects_begin_with_their_values(play_xml):
    def data(name: str, kind: str, value: str) -> str:
        inner = f"<extensionElements><v:value>{value}</v:value></extensionElements>"
        named = f'id="d_{name}" name="{name}" itemSubjectRef="xsd:{kind}"'
        return f"<dataObject {named}>{inner}</dataObject>"

    body = data("a", "string", "x") + data("b", "int", "5") + data("c", "boolean", "true")
    done = play_xml(file(body + '<userTask id="u"/>' + line("u"), vendor="flowable")).start(a="y")
    assert done.variables == {"a": "y", "b": 5, "c": True}


@pytest.mark.parametrize(
    "attribute", ["triggerable", "useLocalScopeForResultVariable", "taskIdVariableName"]
)
def test_attributes_that_would_change_a_run_are_errors(problems, attribute):
    body = f'<serviceTask id="t" v:expression="${{1}}" v:{attribute}="true"/>' + line("t")
    assert "attribute.unsupported t" in problems(file(body, vendor="flowable"))


@pytest.mark.parametrize(
    ("body", "vendor", "problem"),
    [
        ('<userTask id="t" v:taskCompleterVariableName="who"/>', "flowable", "attribute"),
        ('<userTask id="t" v:businessCalendarName="work"/>', "flowable", "attribute"),
        (('<userTask id="t"><extensionElements><v:variableListenerEventDefinition/>'
         "</extensionElements></userTask>"), "flowable", "extension"),
        (('<callActivity id="t" calledElement="q" v:calledElementBinding="version" '
         'v:calledElementVersion="3"/>'), "camunda", "attribute"),
        (('<callActivity id="t" calledElement="q"><extensionElements><v:out source="a" '
         'targetExpression="${b}"/></extensionElements></callActivity>'), "flowable", "extension"),
        (('<intermediateCatchEvent id="t"><conditionalEventDefinition v:variableName="a">'
         "<condition>${a > b}</condition></conditionalEventDefinition></intermediateCatchEvent>"),
         "camunda", "attribute"),
        (('<intermediateCatchEvent id="t"><conditionalEventDefinition v:variableEvents="delete">'
         "<condition>${a}</condition></conditionalEventDefinition></intermediateCatchEvent>"),
         "camunda", "attribute"),
        (('<scriptTask id="t" scriptFormat="javascript" v:autoStoreVariables="true"><script>var x'
         "</script></scriptTask>"), "flowable", "attribute"),
        # What says the same as is done anyway.
        (('<intermediateCatchEvent id="t"><conditionalEventDefinition v:variableName="a" '
         "v:variableEvents=\"update, create\"><condition>${a.b == 'c'}</condition>"
         "</conditionalEventDefinition></intermediateCatchEvent>"), "camunda", ""),
        ('<callActivity id="t" calledElement="q" v:calledElementBinding="deployment"/>',
         "camunda", ""),
        ('<serviceTask id="t" v:expression="${1}" v:triggerable="false"/>', "flowable", ""),
    ],
)  # fmt: skip
def test_what_a_vendor_says_of_a_run_is_done_or_an_error(problems, body, vendor, problem):
    body = body.replace("a > b", "a &gt; b")
    found = problems(file(body + line("t"), vendor=vendor, more=CALLED.replace("E42", "")))
    unsupported = [each.partition(".")[0] for each in found if ".unsupported" in each]
    assert unsupported == ([problem] if problem else [])


@pytest.mark.parametrize(
    ("mapped", "end"),
    [
        ('includeChildExceptions="true">java.lang.Exception', "h"),
        (">", "h"),
        (">java.lang.IllegalStateException", None),
    ],
)
def test_an_expression_that_fails_is_the_error_that_it_is_mapped_to(play_xml, mapped, end):
    mapping = f'<v:mapException errorCode="E" {mapped}</v:mapException>'
    body = f'<serviceTask id="t" v:expression="${{1 / 0}}"><extensionElements>{mapping}'
    body += '</extensionElements></serviceTask><boundaryEvent id="b" attachedToRef="t">'
    body += '<errorEventDefinition errorRef="E"/></boundaryEvent><userTask id="h"/>'
    roots = '<error id="E" errorCode="E"/>'
    text = file(body + line("t") + flow("h1", "b", "h"), roots, vendor="flowable")
    done = play_xml(text).start()
    assert done.state.effective_status == ("waiting" if end else "incident")


def test_a_script_in_juel_is_an_expression(play_xml):
    body = '<scriptTask id="t" scriptFormat="juel" v:resultVariable="i"><script>${i + 1}</script>'
    body += '</scriptTask><task id="w"><extensionElements><v:executionListener event="start">'
    body += "<v:script scriptFormat=\"juel\">${execution.setVariable('j', i)}</v:script>"
    body += "</v:executionListener></extensionElements></task>"
    assert play_xml(file(body + line("t", "w"))).start(i=1).variables == {"i": 2, "j": 2}


def test_the_index_of_an_item_has_the_name_that_flowable_gives_it(play_xml):
    loop = MANY.format("true").replace("/>", ' v:elementIndexVariable="at"/>')
    body = f'<serviceTask id="t" v:expression="${{total + at}}" v:resultVariable="total">{loop}'
    done = play_xml(file(body + "</serviceTask>" + line("t"), vendor="flowable"))
    assert done.start(items=[5, 5, 5], total=0).variables["total"] == 3


def test_what_changes_nothing_is_one_warning(problems):
    body = '<userTask id="u" v:odd="1" v:diagramRelationId="2"><extensionElements><v:properties/>'
    body += "</extensionElements></userTask>" + line("u")
    assert problems(file(body)) == ["vendor.ignored d"]


def test_an_unconditional_flow_excuses_the_default_one_in_these_files(play_xml):
    body = '<userTask id="t" default="f1"/><userTask id="a"/>' + line("t")
    body += flow("plain", "t", "a") + flow("x", "t", "a", "${n > 1}").replace(">1", "&gt;1")
    done = play_xml(file(body.replace("n > 1", "n gt 1"))).start(n=1)
    done.complete("t")
    assert done.completed("e") == []
    assert done.find("a")


def test_document_order_decides_in_these_files(play_xml):
    gate = '<exclusiveGateway id="g"><outgoing>one</outgoing>'
    gate += "<outgoing>two</outgoing></exclusiveGateway>"
    body = gate + '<userTask id="a"/><userTask id="b"/>' + flow("f0", "s", "g")
    body += flow("two", "g", "b", "${true}") + flow("one", "g", "a", "${true}")
    body += flow("ae", "a", "e") + flow("be", "b", "e")
    assert play_xml(file(body)).start().find("b")


def listener(event: str, expression: str, kind: str = "executionListener") -> str:
    return f'<v:{kind} event="{event}" expression="{expression}"/>'


def log(event: str, kind: str = "executionListener") -> str:
    """Listen by adding to the variable `log`."""
    seen = f"${{execution.setVariable('log', log += '{event} ')}}".replace("log += ", "log.concat(")
    return listener(event, seen.replace(" ')}", " '))}"), kind)


def with_listeners(start: str, *inner: str, kind: str) -> str:
    return f"{start}<extensionElements>{''.join(inner)}</extensionElements></{kind}>"


@pytest.mark.parametrize("vendor", ["camunda", "operaton", "flowable"])
def test_execution_listeners_set_variables(play_xml, vendor):
    task = with_listeners(
        '<serviceTask id="t" v:expression="${x}" v:resultVariable="r">',
        log("start"),
        log("end"),
        kind="serviceTask",
    )
    gate = with_listeners(
        '<exclusiveGateway id="g">', log("start"), log("end"), kind="exclusiveGateway"
    )
    body = (
        task
        + gate
        + '<userTask id="u"/>'
        + flow("f0", "s", "t")
        + flow("f2", "g", "u")
        + flow("f3", "u", "e")
    )
    body += with_listeners(
        '<sequenceFlow id="f1" sourceRef="t" targetRef="g">', log("take"), kind="sequenceFlow"
    )
    done = play_xml(file(body, vendor=vendor)).start(x=3, log="")
    assert done.variables["log"] == "start end take start end "


def test_task_listeners_see_the_task(play_xml):
    told = listener("create", "${execution.setVariable('who', task.assignee)}", "taskListener")
    done_ = listener("complete", "${task.setVariable('by', task.getName())}", "taskListener")
    body = with_listeners(
        '<userTask id="u" name="Check ${x}" v:assignee="ann">', told, done_, kind="userTask"
    )
    done = play_xml(file(body + '<userTask id="after"/>' + line("u", "after"))).start(x=3)
    assert done.variables["who"] == "ann"
    done.complete("u")
    assert done.variables["by"] == "Check 3"


def test_each_iteration_and_what_is_ended_early_is_heard(play_xml):
    body = with_listeners('<userTask id="u">', log("start"), log("end"), kind="userTask")
    body = body.replace("</userTask>", TWICE + "</userTask>")
    body += '<boundaryEvent id="b" attachedToRef="u"><timerEventDefinition>'
    body += "<timeDuration>PT1H</timeDuration></timerEventDefinition></boundaryEvent>"
    body += '<userTask id="late"/>' + flow("b1", "b", "late") + flow("b2", "late", "e") + line("u")
    done = play_xml(file(body)).start(log="")
    done.complete("u").tick()
    assert done.variables["log"] == "start start end end "


def test_a_listener_that_fails_is_an_incident_and_can_be_tried_again(play_xml):
    from mlkit.bpmn.engine.events import Retry

    bad = listener("start", "${execution.setVariable('y', missing + 1)}")
    body = with_listeners('<userTask id="u">', bad, kind="userTask")
    done = play_xml(file(body + line("u"))).start()
    assert done.state.effective_status == "incident"
    done.variables["missing"] = 1
    done.apply(Retry())
    assert (done.state.effective_status, done.variables["y"]) == ("waiting", 2)


def test_a_process_is_heard(play_xml):
    body = with_listeners("", log("start"), log("end"), kind="x").removesuffix("</x>")
    done = play_xml(file(body + line())).start(log="")
    assert done.state.status == "completed"


@pytest.mark.parametrize(
    "attribute", ['class="x"', 'delegateExpression="${x}"', 'event="timeout" expression="${1}"']
)
def test_listeners_whose_code_is_not_there_are_lint_errors(problems, attribute):
    body = with_listeners(
        '<userTask id="u">',
        f'<v:taskListener event="create" {attribute}/>'.replace('event="create" event', "event"),
        kind="userTask",
    )
    assert problems(file(body + line("u"))) in (["listener.code u"], ["task.unbound u"])


def test_a_receive_task_without_a_message_waits_for_its_own_id(play_xml):
    done = play_xml(file('<receiveTask id="r"/>' + line("r"))).start()
    assert next(iter(done.state.activations.values())).wait.name == "r"
    assert done.receive("r").state.status == "completed"


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


def test_retries_are_computed(play_xml):
    cycle = "<v:failedJobRetryTimeCycle>${cycle}</v:failedJobRetryTimeCycle>"
    cycle = f"<extensionElements>{cycle}</extensionElements>"
    body = f'<scriptTask id="t">{cycle}<script>1</script></scriptTask>' + line("t")
    done = play_xml(file(body), lambda *_: "broken").start(cycle="R3/PT1S")
    done.tick().tick()
    assert (done.runs, done.state.effective_status) == (["t"] * 3, "incident")
    assert (
        play_xml(file(body), lambda *_: "broken").start(cycle="often").state.effective_status
        == "incident"
    )


def test_flowable_skips_where_that_is_enabled(play_xml):
    body = '<userTask id="u" v:skipExpression="${skip}"/>' + line("u")
    name = "_FLOWABLE_SKIP_EXPRESSION_ENABLED"
    assert play_xml(file(body, vendor="flowable")).start(skip=True).find("u")
    done = play_xml(file(body, vendor="flowable")).start(skip=True, **{name: True})
    assert done.state.status == "completed"
    done = play_xml(file(body, vendor="flowable")).start(skip=False, **{name: True})
    assert done.find("u")


@pytest.mark.parametrize(
    ("answer", "caught"), [({"ok": False}, True), ({"ok": True}, False), ("timeout!", True)]
)
def test_errors_of_external_tasks(play_xml, answer, caught):
    event = '<v:errorEventDefinition id="x" errorRef="E" expression="${}"/>'
    inner = event.format("{!ok}") + event.format(
        "{externalTask.getErrorMessage().contains('timeout')}"
    ).replace('"x"', '"y"')
    body = '<serviceTask id="t" v:type="external" v:topic="json:dumps">'
    body += f"<extensionElements>{inner}</extensionElements></serviceTask>"
    body += '<boundaryEvent id="b" attachedToRef="t">'
    body += '<errorEventDefinition errorRef="E"/></boundaryEvent><userTask id="h"/>'
    body += flow("b1", "b", "h") + flow("b2", "h", "e") + line("t")
    done = play_xml(file(body, '<error id="E" errorCode="E1"/>'), lambda *_: answer).start()
    assert ("h" in [each.node for each in done.state.activations.values()]) == caught


def test_joins_that_vendors_count_otherwise_are_a_warning(problems):
    body = '<parallelGateway id="g"/><exclusiveGateway id="m"/>'
    body += '<parallelGateway id="j"/><userTask id="a"/>'
    body += (
        flow("f0", "s", "g") + flow("f1", "g", "m") + flow("f2", "g", "m") + flow("f3", "m", "j")
    )
    body += flow("f4", "g", "a") + flow("f5", "a", "j") + flow("f6", "j", "e")
    assert "gateway.tokens j" in problems(file(body))
    body = '<parallelGateway id="g"/><parallelGateway id="j"/><userTask id="a"/><userTask id="b"/>'
    body += (
        flow("f0", "s", "g") + flow("f1", "g", "a") + flow("f2", "g", "b") + flow("f3", "a", "j")
    )
    assert "gateway.tokens j" not in problems(
        file(body + flow("f4", "b", "j") + flow("f5", "j", "e"))
    )


@pytest.mark.parametrize(
    ("written", "caught"),
    [("", True), ("app.errors.Refused", True), ("java.lang.Exception", False)],
)
def test_exceptions_count_as_errors(play_xml, written, caught):
    inner = f'<v:mapException errorCode="E1">{written}</v:mapException>'
    body = f'<serviceTask id="t" v:class="json:dumps"><extensionElements>{inner}'
    body += '</extensionElements></serviceTask><boundaryEvent id="b" attachedToRef="t">'
    body += '<errorEventDefinition errorRef="E1"/></boundaryEvent><userTask id="h"/>'
    body += flow("b1", "b", "h") + flow("b2", "h", "e") + line("t")
    done = play_xml(file(body, vendor="flowable"), lambda *_: "line 3: Refused: no").start()
    assert done.state.effective_status == ("waiting" if caught else "incident")


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
