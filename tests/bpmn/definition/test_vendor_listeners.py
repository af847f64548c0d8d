"""Listeners in files of Camunda 7, Activiti and Flowable."""

from __future__ import annotations

import pytest
from bpmn.definition.vendor_files import TWICE, file, flow, line


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
