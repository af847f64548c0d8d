"""Listeners with scripts and callables: a worker does them, and the activity waits for it."""

from __future__ import annotations

import json

import pytest

CAMUNDA = 'xmlns:c="http://camunda.org/schema/1.0/bpmn"'


def activity(kind, listeners, inner="", more=""):
    extensions = f"<extensionElements>{listeners}</extensionElements>"
    return (
        f'<startEvent id="s"/><{kind} id="t" {CAMUNDA} {more}>{extensions}{inner}</{kind}>'
        '<endEvent id="e"/>'
    )


def listener(event, inside="", more="", kind="execution"):
    return f'<c:{kind}Listener event="{event}" {more}>{inside}</c:{kind}Listener>'


def script(text, language="python"):
    return f'<c:script scriptFormat="{language}">{text}</c:script>'


@pytest.fixture
def run(mlkit, diagram, tmp_path):
    """Run a diagram of one activity; return the document of its instance."""
    (tmp_path / "heard.py").write_text(
        "def note(log=None, x=0):\n    return {'log': [*(log or []), x]}\n"
        "def bad():\n    raise ValueError('no')\n"
    )

    def go(body, *more, flows="s>t t>e"):
        (tmp_path / "p.bpmn").write_text(diagram(body, flows))
        return json.loads(mlkit("bpmn", "run", "p.bpmn", "--json", *more).stdout)

    return go


def test_scripts_and_callables_run_before_and_after_an_activity_in_order(run):
    heard = (
        listener("start", script("order = ['a']")) + listener("start", more='expression="${x = 1}"')
        .replace("${x = 1}", "${execution.setVariable(&quot;b&quot;, order[0])}")
        + listener("start", more='class="note"') + listener("end", script("seen = [work, log]"))
    )  # fmt: skip
    inner = "<script>work = (b, log)</script>"
    found = run(activity("scriptTask", heard, inner), "--task", "note=heard:note", "--var", "x=7")
    assert found["state"] == "completed"
    assert found["variables"]["b"] == "a"
    assert found["variables"]["seen"] == [["a", [7]], [7]]
    assert [each["element"] for each in found["trace"]] == ["s", "t", "e"]


def test_those_of_a_user_task_run_when_it_is_created_and_completed(run, mlkit):
    heard = (
        listener("create", script("made = True"), kind="task")
        + listener("create", more='expression="${execution.setVariable(&quot;key&quot;,'
                                  ' task.taskDefinitionKey)}"', kind="task")
        + listener("complete", more='delegateExpression="${heard:note}"', kind="task")
    )  # fmt: skip
    found = run(activity("userTask", heard))
    assert found["state"] == "waiting"
    assert found["variables"] == {"made": True, "key": "t"}
    done = json.loads(mlkit("bpmn", "complete", "t", "--set", "x=5", "--json").stdout)
    assert done["state"] == "completed"
    assert done["variables"]["log"] == [5]


def test_each_iteration_and_a_subprocess_have_them(run, mlkit):
    loop = (
        "<multiInstanceLoopCharacteristics><loopCardinality>2</loopCardinality>"
        "</multiInstanceLoopCharacteristics>"
    )
    inner = loop + '<startEvent id="i"/>'
    found = run(activity("subProcess", listener("start", more='class="heard:note"'), inner))
    assert found["state"] == "completed"
    logs = json.loads(mlkit("bpmn", "logs", found["instance"], "--json").stdout)["logs"]
    assert sorted(each["iteration"] for each in logs) == ["0", "1"]


def test_one_that_fails_is_an_incident_and_retried(run, mlkit, tmp_path):
    found = run(activity("task", listener("end", more='class="heard:bad"')))
    assert found["state"] == "incident"
    assert "ValueError: no" in found["incidents"][0]["message"]
    (tmp_path / "heard.py").write_text("def bad():\n    return {'ok': 1}\n")
    again = json.loads(mlkit("bpmn", "retry", found["instance"], "--json").stdout)
    assert again["state"] == "completed"
    assert again["variables"]["ok"] == 1


def test_a_bpmn_error_of_one_is_caught(run):
    body = activity("task", listener("end", script("raise BpmnError('E')")))
    body += '<boundaryEvent id="b" attachedToRef="t"><errorEventDefinition/></boundaryEvent>'
    found = run(body + '<endEvent id="f"/>', flows="s>t t>e b>f")
    assert found["trace"][-1]["element"] == "f"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (activity("task", listener("start", more='class="no.Such"')), "task.unbound"),
        (activity("task", listener("start", script("x =")), ""), "script.syntax"),
        (activity("task", listener("start", script("x", "groovy"))), "script.format"),
        (activity("userTask", listener("assignment", script("x = 1"), kind="task")),
         "listener.code"),
        (activity("intermediateThrowEvent", listener("start", script("x = 1"))),
         "listener.code"),
        (activity("task", listener("start")), "listener.code"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_an_error_of_lint(mlkit, diagram, tmp_path, body, problem):
    (tmp_path / "p.bpmn").write_text(diagram(body, "s>t t>e"))
    done = mlkit("bpmn", "lint", "p.bpmn")
    assert done.returncode == 1
    assert problem in done.stdout + done.stderr


def test_javascript_is_heard_anywhere(run):
    pytest.importorskip("quickjs")
    heard = listener("start", script("execution.setVariable('x', 40 + 2)", "javascript"))
    assert run(activity("intermediateThrowEvent", heard))["variables"] == {"x": 42}
    task = script("task.setVariable('name', task.getName() + execution.getEventName())", "js")
    found = run(activity("userTask", listener("create", task, kind="task"), more='name="N"'))
    assert found["variables"] == {"name": "Ncreate"}
