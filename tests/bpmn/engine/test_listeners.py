"""Listeners with scripts and callables: a worker does them, and the activity waits for it."""

from __future__ import annotations

import json
import shutil

import pytest

from mlkit.bpmn.definition.parser import parse
from mlkit.bpmn.lint.validation import lint

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


def document(done):
    """Return what a run has written as JSON."""
    assert done.stdout, f"nothing written, exit status {done.returncode}: {done.stderr}"
    return json.loads(done.stdout)


@pytest.fixture
def run(mlkit, diagram, tmp_path):
    """Run a diagram of one activity; return the document of its instance."""
    (tmp_path / "heard.py").write_text(
        "def note(log=None, x=0):\n    return {'log': [*(log or []), x]}\n"
        "def bad():\n    raise ValueError('no')\n"
    )

    def go(body, *more, flows="s>t t>e"):
        (tmp_path / "p.bpmn").write_text(diagram(body, flows))
        return document(mlkit("bpmn", "run", "p.bpmn", "--json", *more))

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
        (activity("task", listener("start", script("x", "groovy"))),
         "scripts in 'groovy' cannot be run: use Python, R or JavaScript"),
        (activity("userTask", listener("assignment", script("x = 1"), kind="task")),
         "listener.code"),
        (activity("intermediateThrowEvent", listener("take", script("x = 1"))),
         "listener.code"),
        (activity("userTask", listener("delete", script("x = 1"), kind="task")),
         "listener.code"),
        (activity("eventBasedGateway", listener("end", script("x = 1"))), "listener.code"),
        (activity("intermediateThrowEvent", listener("end", script("x ="))), "script.syntax"),
        (activity("intermediateThrowEvent", listener("end", more='class="no.Such"')),
         "task.unbound"),
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


EVENTS = """<startEvent id="s">{s}</startEvent><exclusiveGateway id="g" default="no">{g}
</exclusiveGateway><intermediateThrowEvent id="i">{i}<signalEventDefinition signalRef="Stop"/>
</intermediateThrowEvent><endEvent id="e">{e}</endEvent><endEvent id="n"/>
<sequenceFlow id="first" sourceRef="s" targetRef="g"/>
<sequenceFlow id="yes" sourceRef="g" targetRef="i">{yes}<conditionExpression>${{x == 1}}
</conditionExpression></sequenceFlow><sequenceFlow id="no" sourceRef="g" targetRef="n"/>
<sequenceFlow id="last" sourceRef="i" targetRef="e"/>"""
ALL = ["p.start", "s.start", "s.end", "g.start", "g.end", "yes.take", "i.start", "i.end",
       "e.start", "e.end", "p.end"]  # fmt: skip


def noted(name, *events):
    """Return scripts that note events of an element in `log`."""
    text = "log = [*globals().get('log', []), '{}.{}']"
    heard = [listener(each, script(text.format(name, each))) for each in events]
    return f"<extensionElements>{''.join(heard)}</extensionElements>"


def everywhere():
    nodes = {name: noted(name, "start", "end") for name in ("s", "g", "i", "e")}
    return noted("p", "start", "end") + EVENTS.format(**nodes, yes=noted("yes", "take"))


@pytest.fixture
def play(mlkit, diagram, tmp_path):
    """Run a diagram; return the document of its instance."""

    def go(body, flows="", *more, called=""):
        text = diagram(body, flows, '<signal id="Stop" name="stop"/>' + called)
        text = text.replace("<definitions ", f"<definitions {CAMUNDA} ", 1)
        (tmp_path / "p.bpmn").write_text(text)
        return document(mlkit("bpmn", "run", "p.bpmn", "--json", *more))

    return go


def test_scripts_of_processes_events_gateways_and_flows_run_in_order(play):
    found = play(everywhere(), "", "--var", "x=1")
    assert found["state"] == "completed"
    assert found["variables"]["log"] == ALL
    assert [each["element"] for each in found["trace"]] == ["s", "g", "i", "e"]


def test_those_of_a_called_process_run_inside_it(play):
    called = f'<process id="q" isExecutable="true">{everywhere()}</process>'
    body = """<startEvent id="s0"/><callActivity id="c" calledElement="q"><extensionElements>
      <c:in variables="all"/><c:out variables="all"/></extensionElements></callActivity>
      <endEvent id="e0"/>"""
    found = play(body, "s0>c c>e0", "--var", "x=1", called=called)
    assert found["state"] == "completed"
    assert found["variables"]["log"] == ALL


def test_a_gateway_chooses_before_its_end_is_heard(play):
    change = f"<extensionElements>{listener('end', script('x = 1'))}</extensionElements>"
    found = play(EVENTS.format(s="", g=change, i="", e="", yes=""), "", "--var", "x=2")
    assert found["variables"]["x"] == 1
    assert [each["element"] for each in found["trace"]] == ["s", "g", "n"]


def test_a_join_waits_for_a_token_on_a_flow_whose_listener_still_works(play):
    body = f"""<startEvent id="s"/><inclusiveGateway id="o"/><inclusiveGateway id="j"/>
      <task id="a"/><task id="b"/><userTask id="u"/><endEvent id="e"/>
      <sequenceFlow id="late" sourceRef="b" targetRef="j">{noted("late", "take")}</sequenceFlow>"""
    found = play(body, "s>o o>a o>b a>j j>u u>e")
    assert [each["element"] for each in found["waiting"]] == ["u"]
    assert found["variables"]["log"] == ["late.take"]


def test_an_error_end_event_waits_for_its_listeners(play):
    body = f"""<startEvent id="s"/><subProcess id="b"><startEvent id="bs"/>
      <endEvent id="be">{noted("be", "start", "end")}<errorEventDefinition/></endEvent>
      <sequenceFlow id="bf" sourceRef="bs" targetRef="be"/></subProcess><endEvent id="e"/>
      <boundaryEvent id="x" attachedToRef="b">{noted("x", "start", "end")}<errorEventDefinition/>
      </boundaryEvent><endEvent id="f"/>"""
    found = play(body, "s>b b>e x>f")
    assert found["variables"]["log"] == ["be.start", "be.end", "x.start", "x.end"]
    assert found["trace"][-1]["element"] == "f"


def test_what_fails_at_a_flow_or_process_is_an_incident_and_retried(play, mlkit, tmp_path):
    heard = listener("take", more='class="heard:first"') + listener("take", script("then = 1"))
    end = listener("end", more='class="heard:last"')
    body = f"""<extensionElements>{end}</extensionElements><startEvent id="s"/><endEvent id="e"/>
      <sequenceFlow id="f" sourceRef="s" targetRef="e"><extensionElements>{heard}
      </extensionElements></sequenceFlow>"""
    bad = "    raise ValueError('no')\n"
    (tmp_path / "heard.py").write_text(f"def first():\n{bad}def last():\n{bad}")
    found = play(body)
    for element, source in (("f", f"def first():\n    return {{}}\ndef last():\n{bad}"),
                            ("p", "def last():\n    return {'good': 1}\n")):  # fmt: skip
        assert found["state"] == "incident"
        assert found["incidents"][0]["element"] == element
        assert "ValueError: no" in found["incidents"][0]["message"]
        (tmp_path / "heard.py").write_text(source)
        found = json.loads(mlkit("bpmn", "retry", found["instance"], "--json").stdout)
    assert found["state"] == "completed"
    assert found["variables"] == {"then": 1, "good": 1}


# What a listener reads, and sets as `seen_...`; `{0}` is its moment.
SEEN = {
    "juel": "expression=\"${{execution.setVariable('seen_{0}', execution.eventName.concat(' ')"
            ".concat({1}).concat(' ').concat(execution.processBusinessKey).concat(' ')"
            ".concat(execution.processDefinitionId).concat(' ').concat(word))}}\"",
    "javascript": "execution.setVariable('seen_{0}', [execution.eventName, {1},"
                  " execution.processBusinessKey, execution.processDefinitionId, word].join(' '))",
    "python": "seen_{0} = ' '.join([execution.getEventName(), {1},"
              " execution.processBusinessKey, execution.getProcessDefinitionId(), word])",
    "r": "seen_{0} &lt;- paste(execution$eventName, {1}, execution$processBusinessKey,"
         " execution$processDefinitionId, execution$getVariable('word'))",
}  # fmt: skip
ACTIVITY = {"r": "execution$currentActivityId", "python": "execution.getCurrentActivityId()"}
OF_TASK = {
    "juel": "expression=\"${{task.setVariable('seen_{0}', task.name.concat(' ')"
            ".concat(task.taskDefinitionKey).concat(' ').concat(task.eventName))}}\"",
    "javascript": "task.setVariable('seen_{0}', [task.getName(), task.taskDefinitionKey,"
                  " task.eventName].join(' '))",
    "python": "task.setVariable('seen_{0}', ' '.join([task.getName(), task.taskDefinitionKey,"
              " task.eventName]))",
    "r": "task$setVariable('seen_{0}', paste(task$name, task$taskDefinitionKey, task$eventName))",
}  # fmt: skip


def seeing(language, name, *events, kind="execution"):
    """Return listeners that note what they see."""
    form = (OF_TASK if kind == "task" else SEEN)[language]
    activity = ACTIVITY.get(language, "execution.currentActivityId")
    texts = [(event, form.format(f"{name}_{event}", activity)) for event in events]
    return "".join(
        listener(event, more=text, kind=kind) if language == "juel"
        else listener(event, script(text, language), kind=kind)
        for event, text in texts
    )  # fmt: skip


@pytest.mark.parametrize("language", SEEN)
def test_a_listener_sees_and_sets_the_same_in_each_language(mlkit, play, language):
    if language == "javascript":
        pytest.importorskip("quickjs")
    if language == "r" and shutil.which("Rscript") is None:
        pytest.skip("R is not installed")

    def at(name, *events, kind=""):
        told = seeing(language, name, *kind.split(), kind="task") if kind else ""
        return f"<extensionElements>{seeing(language, name, *events)}{told}</extensionElements>"

    body = f"""<startEvent id="s">{at("s", "start")}</startEvent>
      <exclusiveGateway id="g">{at("g", "end")}</exclusiveGateway>
      <userTask id="u" name="Look">{at("u", "start", "end", kind="create complete")}</userTask>
      <endEvent id="e"/>
      <sequenceFlow id="f" sourceRef="s" targetRef="g">{at("f", "take")}</sequenceFlow>"""
    found = play(body, "g>u u>e", "--var", "word=w", "--business-key", "K1")
    assert [each["element"] for each in found["waiting"]] == ["u"], found
    done = json.loads(mlkit("bpmn", "complete", "u", "--json").stdout)
    assert done["state"] == "completed"
    assert {k: v for k, v in done["variables"].items() if k.startswith("seen_")} == {
        "seen_s_start": "start s K1 p w",
        "seen_f_take": "take s K1 p w",
        "seen_g_end": "end g K1 p w",
        "seen_u_start": "start u K1 p w",
        "seen_u_create": "Look u create",
        "seen_u_complete": "Look u complete",
        "seen_u_end": "end u K1 p w",
    }


@pytest.mark.parametrize("language", SEEN)
def test_the_end_of_a_process_is_seen_at_its_end_event_in_each_language(mlkit, play, language):
    if language == "javascript":
        pytest.importorskip("quickjs")
    if language == "r" and shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    told = f"<extensionElements>{seeing(language, 'p', 'end')}</extensionElements>"
    body = f'{told}<startEvent id="s"/><userTask id="u"/><endEvent id="e"/>'
    play(body, "s>u u>e", "--var", "word=w", "--business-key", "K1")
    done = json.loads(mlkit("bpmn", "complete", "u", "--json").stdout)
    assert done["state"] == "completed"
    assert done["variables"]["seen_p_end"] == "end e K1 p w"


BOUNDARY = (
    '<boundaryEvent id="b" attachedToRef="t" {}><timerEventDefinition><timeDuration>PT1H'
    "</timeDuration></timerEventDefinition></boundaryEvent>"
)
TERMINATE = '<endEvent id="x"><terminateEventDefinition/></endEvent>'
EVENT = (
    '<subProcess id="v" triggeredByEvent="true"><startEvent id="r"><errorEventDefinition/>'
    "</startEvent></subProcess>"
)
TERMINATE_ALL = (
    '<subProcess id="v" triggeredByEvent="true"><startEvent id="r" isInterrupting="false">'
    "<timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition></startEvent>"
    '<endEvent id="x"><terminateEventDefinition xmlns:f="http://flowable.org/bpmn"{}/></endEvent>'
    '<sequenceFlow id="rx" sourceRef="r" targetRef="x"/></subProcess>'
)
NESTED = (
    '<subProcess id="v"><startEvent id="r"/><subProcess id="v2"><startEvent id="r2"/>'
    '<endEvent id="x">{}</endEvent><sequenceFlow id="rx" sourceRef="r2" targetRef="x"/>'
    '</subProcess><sequenceFlow id="rv" sourceRef="r" targetRef="v2"/></subProcess>'
)
END_ALL = '<terminateEventDefinition xmlns:f="http://flowable.org/bpmn" f:terminateAll="true"/>'
CAUGHT = (
    '<boundaryEvent id="b" attachedToRef="v"><errorEventDefinition/></boundaryEvent>'
    '<endEvent id="y"/>'
)
EARLY = [
    (NESTED.format(END_ALL), "s>t s>v", "a branch beside it may end everything"),
    (NESTED.format("<errorEventDefinition/>"), "s>t s>v", "a branch beside it may end everything"),
    (
        TERMINATE_ALL.format(' f:terminateAll="true"'),
        "s>t",
        "an event sub-process may end everything",
    ),
    (BOUNDARY.format(""), "s>t", "a boundary event interrupts it"),
    (TERMINATE, "s>t s>x", "a branch beside it may end everything"),
    (EVENT, "s>t", "an event sub-process interrupts it"),
]


@pytest.fixture
def warned(diagram, tmp_path):
    """Return what lint says of listeners that are not run where an activity ends early."""

    def of(body, flows):
        (tmp_path / "p.bpmn").write_text(diagram(body, flows))
        problems = lint(parse(tmp_path / "p.bpmn"), tmp_path)
        return [each.message for each in problems if each.rule == "listener.end"]

    return of


def heard_at_its_end(beside, language="python"):
    body = activity("userTask", listener("end", script("x = 1", language)))
    return body.replace('<endEvent id="e"/>', beside)


@pytest.mark.parametrize(("beside", "flows", "why"), EARLY)
def test_lint_warns_of_a_listener_that_is_not_run_where_its_task_ends_early(
    warned, beside, flows, why
):
    (said,) = warned(heard_at_its_end(beside), flows)
    assert said.startswith(f"{why}: its 'end' listener, which a worker runs, is not run then")


def test_lint_is_silent_where_a_listener_is_run_at_every_end(warned):
    reminded = BOUNDARY.format('cancelActivity="false"') + '<endEvent id="x"/>'
    assert warned(heard_at_its_end(reminded), "s>t t>x") == []
    assert warned(heard_at_its_end(TERMINATE), "s>t t>x") == []
    assert warned(heard_at_its_end(NESTED.format("<terminateEventDefinition/>")), "s>t s>v") == []
    caught = NESTED.format("<errorEventDefinition/>") + CAUGHT
    assert warned(heard_at_its_end(caught), "s>t s>v b>y") == []
    assert warned(heard_at_its_end(TERMINATE_ALL.format("")), "s>t") == []
    pytest.importorskip("quickjs")
    assert warned(heard_at_its_end(BOUNDARY.format(""), "javascript"), "s>t") == []


LOOP = (
    "<multiInstanceLoopCharacteristics><loopCardinality>3</loopCardinality>"
    "<completionCondition>${nrOfCompletedInstances &gt; 0}</completionCondition>"
    "</multiInstanceLoopCharacteristics>"
)


@pytest.mark.parametrize(
    ("loop", "beside"), [("", BOUNDARY.format("").replace('"t"', '"h"')), (LOOP, "")]
)
def test_lint_warns_of_a_listener_inside_what_may_end_early(warned, arrows, loop, beside):
    body = heard_at_its_end("").replace('"s"', '"i"')
    body = f'<startEvent id="s"/><subProcess id="h">{body}{arrows("i>t", "h")}{loop}</subProcess>'
    body += beside
    (said,) = warned(body, "s>h")
    assert said.startswith("'h', which it is in, may end early")
