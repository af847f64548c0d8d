"""Expressions in files of Camunda 7, Activiti and Flowable."""

from __future__ import annotations

import pytest
from bpmn.definition.vendor_files import TWICE, computed, file, flow, line


@pytest.mark.parametrize("value", ["true", None, 1])
def test_a_condition_that_is_no_boolean_is_an_incident(play_xml, value):
    gate = '<exclusiveGateway id="g" default="f1"/>' + flow("yes", "g", "e", "${x}")
    done = play_xml(file(gate + line("g"))).start(x=value)
    assert done.state.effective_status == "incident"


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


def test_a_script_in_juel_is_an_expression(play_xml):
    body = '<scriptTask id="t" scriptFormat="juel" v:resultVariable="i"><script>${i + 1}</script>'
    body += '</scriptTask><task id="w"><extensionElements><v:executionListener event="start">'
    body += "<v:script scriptFormat=\"juel\">${execution.setVariable('j', i)}</v:script>"
    body += "</v:executionListener></extensionElements></task>"
    assert play_xml(file(body + line("t", "w"))).start(i=1).variables == {"i": 2, "j": 2}


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
