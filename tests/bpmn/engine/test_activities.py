"""Activities: variables, multi-instance, sub-processes, retries, mappings (13.3)."""

from __future__ import annotations

import pytest

from mlkit.bpmn.engine.events import Cancel, Recover, Retry

ENDS = '<startEvent id="s"/><endEvent id="e"/>'


def script(inner: str = "", attributes: str = "") -> str:
    return f'<scriptTask id="w" {attributes}><script>pass</script>{inner}</scriptTask>'


def multi(sequential: bool, inner: str = "", attributes: str = "") -> str:
    flag = str(sequential).lower()
    return (
        f'<multiInstanceLoopCharacteristics isSequential="{flag}" {attributes}>{inner}'
        "</multiInstanceLoopCharacteristics>"
    )


OVER = 'camunda:collection="items" camunda:elementVariable="x"'
GATHER = ' camunda:outputCollection="out" camunda:outputElement="${y}"'


@pytest.mark.parametrize("sequential", [False, True])
def test_multi_instance_gathers_results_in_the_order_of_the_items(play, sequential):
    body = ENDS + script(multi(sequential, attributes=OVER + GATHER))
    done = play(body, "s>w w>e", lambda _, v: {"y": v["x"] * 10 + v["loopCounter"]})
    done.start(items=[3, 1, 2])
    assert done.variables == {"items": [3, 1, 2], "out": [30, 11, 22]}
    assert done.completed("w") == ["w"] * 4
    assert done.state.status == "completed"


def test_parallel_instances_all_start_at_once_and_sequential_ones_do_not(play):
    for sequential, started in ((False, 3), (True, 1)):
        body = ENDS + script(multi(sequential, "<loopCardinality>3</loopCardinality>"))
        done = play(body, "s>w w>e", lambda *_: None).start()
        assert len(done.runs) == started


def test_names_inside_a_multi_instance_stay_local(play):
    body = ENDS + script(multi(False, attributes=OVER))
    done = play(body, "s>w w>e", lambda _, v: {"y": 1, "x": 5}).start(items=[1, 2])
    assert done.variables == {"items": [1, 2]}


def test_an_empty_collection_completes_at_once(play):
    body = ENDS + script(multi(False, attributes=OVER + GATHER))
    done = play(body, "s>w w>e").start(items=[])
    assert done.variables["out"] == []
    assert done.state.status == "completed"


def test_a_completion_condition_ends_the_rest(play):
    condition = "<completionCondition>nrOfCompletedInstances == 2</completionCondition>"
    body = ENDS + script(multi(False, "<loopCardinality>5</loopCardinality>" + condition))
    done = play(body, "s>w w>e", lambda _, v: None if v["loopCounter"] > 1 else {}).start()
    assert done.trace.count(("w", "terminated")) == 3
    assert len(done.stopped) == 3
    assert done.state.status == "completed"


def test_a_thousand_sequential_iterations_without_a_wait(play):
    loop = multi(True, "<loopCardinality>1000</loopCardinality>")
    done = play(ENDS + f'<task id="w">{loop}</task>', "s>w w>e").start()
    assert done.completed("w") == ["w"] * 1001
    assert done.state.status == "completed"


def test_a_multi_instance_sub_process(play, arrows):
    inside = '<startEvent id="is"/><scriptTask id="t"><script>pass</script></scriptTask>'
    inside += arrows("is>t", "i") + multi(False, attributes=OVER + GATHER)
    body = ENDS + f'<subProcess id="w">{inside}</subProcess>'
    done = play(body, "s>w w>e", lambda _, v: {"y": -v["x"]}).start(items=[1, 2])
    assert done.variables["out"] == [-1, -2]
    assert done.state.status == "completed"


def test_a_sub_process_ends_when_its_last_token_does(play, arrows):
    inside = '<startEvent id="is"/><userTask id="a"/><userTask id="b"/>' + arrows("is>a is>b", "i")
    done = play(ENDS + f'<subProcess id="w">{inside}</subProcess>', "s>w w>e").start()
    done.complete("a")
    assert done.completed("w") == []
    done.complete("b", x=1)
    assert done.completed("w", "e") == ["w", "e"]
    assert done.variables == {"x": 1}


RETRY = "<extensionElements><camunda:failedJobRetryTimeCycle>R3/PT10S"
RETRY += "</camunda:failedJobRetryTimeCycle></extensionElements>"


def test_a_failing_script_is_tried_as_often_as_the_diagram_says(play):
    done = play(ENDS + script(RETRY), "s>w w>e", lambda *_: "oops").start()
    begin = done.now
    done.tick().tick()
    assert done.runs == ["w"] * 3
    assert done.now == begin + 20
    assert done.state.effective_status == "incident"
    done.answers = lambda *_: {}
    done.apply(Retry())
    assert done.state.status == "completed"


def test_a_bpmn_error_is_never_tried_again(play):
    done = play(ENDS + script(RETRY), "s>w w>e", lambda *_: "!X").start()
    assert done.runs == ["w"]
    assert done.state.status == "failed"


def test_a_crash_starts_running_work_again_with_the_next_attempt(play):
    done = play(ENDS + script(), "s>w w>e", lambda *_: None).start()
    done.apply(Recover())
    assert done.runs == ["w", "w"]
    assert done.state.activations[done.find("w")].attempt == 2


def test_work_that_must_not_run_twice_becomes_an_incident_after_a_crash(play):
    body = ENDS + script(attributes='mlkit:retry="never"')
    done = play(body, "s>w w>e", lambda *_: None).start()
    done.apply(Recover())
    assert done.runs == ["w"]
    assert done.state.effective_status == "incident"


MAPPED = """<extensionElements><camunda:inputOutput>
<camunda:inputParameter name="n">${total + 1}</camunda:inputParameter>
<camunda:outputParameter name="answer">${found}</camunda:outputParameter>
</camunda:inputOutput></extensionElements>"""


def test_mappings_give_local_inputs_and_let_only_outputs_leave(play):
    seen = []

    def answer(_, variables):
        seen.append(variables["n"])
        return {"found": 7, "rest": 8}

    done = play(ENDS + script(MAPPED), "s>w w>e", answer).start(total=1)
    assert seen == [2]
    assert done.variables == {"total": 1, "answer": 7}


def test_a_mapping_that_fails_keeps_the_result_of_the_work(play):
    done = play(ENDS + script(MAPPED), "s>w w>e", lambda *_: {"other": 1}).start(total=1)
    assert done.state.effective_status == "incident"
    local = done.state.activations[done.find("w")].local
    done.state.scopes[local].variables["found"] = 3
    done.apply(Retry())
    assert done.runs == ["w"]
    assert done.variables["answer"] == 3


def test_cancel_ends_everything(play):
    done = play(ENDS + script(), "s>w w>e", lambda *_: None).start()
    done.apply(Cancel("enough"))
    assert done.state.effective_status == "cancelled"
    assert len(done.stopped) == 1
    assert not done.state.activations


def test_who_may_do_a_user_task_is_computed_when_it_begins(play):
    body = ENDS + '<userTask id="u" camunda:assignee="${owner}" camunda:candidateGroups="a, b"/>'
    done = play(body, "s>u u>e").start(owner="ann")
    wait = done.state.activations[done.find("u")].wait
    assert (wait.assignee, wait.groups) == ("ann", ["a", "b"])
