"""Which way files of Camunda 7, Activiti and Flowable go, and what is refused there."""

from __future__ import annotations

import pytest
from bpmn.definition.vendor_files import CALLED, SPACES, call, file, flow, line

from mlkit.bpmn.engine.events import Throw


@pytest.mark.parametrize(("x", "waits"), [(1, "u"), (2, None)])
def test_a_condition_after_a_start_event_counts(play_xml, x, waits):
    flows = flow("f0", "s", "u", "${x == 1}") + flow("f1", "u", "e")
    done = play_xml(file('<userTask id="u"/>' + flows)).start(x=x)
    assert done.state.effective_status == ("waiting" if waits else "incident")


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


def test_the_message_of_an_error_that_has_none_is_null(play_xml):
    silent = '<error id="E" errorCode="E42"/>'
    done = play_xml(file(call("") + line("c"), silent, more=CALLED)).start()
    assert (done.variables["code"], done.variables["text"]) == ("E42", None)


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


def test_a_receive_task_without_a_message_waits_for_its_own_id(play_xml):
    done = play_xml(file('<receiveTask id="r"/>' + line("r"))).start()
    assert next(iter(done.state.activations.values())).wait.name == "r"
    assert done.receive("r").state.status == "completed"


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
