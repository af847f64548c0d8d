"""Standard loops (13.3.6) and ad-hoc sub-processes (13.3.8)."""

from __future__ import annotations

import pytest

from mlkit.bpmn.engine.events import Begin, Complete
from mlkit.errors import BadData

ENDS = '<startEvent id="s"/><endEvent id="e"/>'


def loop(condition: str = "", attributes: str = "") -> str:
    inner = f"<loopCondition>{condition}</loopCondition>" if condition else ""
    return f"<standardLoopCharacteristics {attributes}>{inner}</standardLoopCharacteristics>"


def script(marker: str) -> str:
    return f'<scriptTask id="w"><script>pass</script>{marker}</scriptTask>'


def count(_, variables):
    return {"n": variables["n"] + 1}


def test_a_loop_goes_on_while_its_condition_holds(play):
    done = play(ENDS + script(loop("n &lt; 3")), "s>w w>e", count).start(n=0)
    assert done.variables == {"n": 3}
    assert done.completed("w") == ["w"] * 4
    assert done.state.status == "completed"


def test_it_runs_once_at_least_unless_the_condition_is_looked_at_before(play):
    after = play(ENDS + script(loop("False")), "s>w w>e", count).start(n=0)
    assert after.runs == ["w"]
    before = play(ENDS + script(loop("False", 'testBefore="true"')), "s>w w>e", count).start(n=0)
    assert before.runs == []
    assert before.state.status == "completed"


def test_a_maximum_ends_it(play):
    done = play(ENDS + script(loop("True", 'loopMaximum="2"')), "s>w w>e", count).start(n=0)
    assert done.runs == ["w", "w"]
    assert done.state.status == "completed"


def test_the_counter_is_there_and_does_not_leave(play):
    seen = []
    done = play(ENDS + script(loop("loopCounter &lt; 3")), "s>w w>e",
                lambda _, v: seen.append(v["loopCounter"]) or {}).start()  # fmt: skip
    assert seen == [0, 1, 2]
    assert done.variables == {}


def test_a_condition_that_fails_is_an_incident_and_loses_no_turn(play, as_json):
    done = play(ENDS + script(loop("gone > 1")), "s>w w>e", count).start(n=0)
    assert done.state.effective_status == "incident"
    assert done.runs == ["w"]
    assert as_json(done.replayed()) == as_json(done.state)


def test_a_boundary_event_guards_all_turns(play):
    boundary = '<boundaryEvent id="b" attachedToRef="w"><errorEventDefinition/></boundaryEvent>'
    body = ENDS + script(loop("True")) + boundary + '<task id="late"/>'
    answers = iter([{}, {}, "!BAD"])
    done = play(body, "s>w w>e b>late late>e", lambda *_: next(answers)).start()
    assert done.completed("w", "late") == ["w", "w", "late"]


def test_a_loop_of_a_sub_process(play, arrows):
    inside = '<startEvent id="is"/><scriptTask id="w"><script>1</script></scriptTask>'
    inside += arrows("is>w", "i") + loop("n &lt; 2")
    body = ENDS + f'<subProcess id="p1">{inside}</subProcess>'
    done = play(body, "s>p1 p1>e", count).start(n=0)
    assert done.variables == {"n": 2}
    assert done.state.status == "completed"


def test_a_thousand_turns_without_a_wait(play):
    done = play(ENDS + f'<task id="w">{loop("loopCounter &lt; 1000")}</task>', "s>w w>e").start()
    assert done.completed("w") == ["w"] * 1001


# -- ad-hoc ------------------------------------------------------------------------------------


def ad_hoc(inner: str = "", attributes: str = "", extension: str = "") -> str:
    tasks = '<userTask id="a"/><userTask id="b"/><task id="after"/>'
    flow = '<sequenceFlow id="af" sourceRef="a" targetRef="after"/>'
    return f'<adHocSubProcess id="h" {attributes}>{extension}{tasks}{flow}{inner}</adHocSubProcess>'


LISTED = '<extensionElements><zeebe:adHoc activeElementsCollection="=todo"/></extensionElements>'


def begin(done, element):
    return done.apply(Begin(done.find("h", ""), element))


def test_the_listed_activities_start_and_their_end_is_its_end(play):
    done = play(ENDS + ad_hoc(extension=LISTED), "s>h h>e").start(todo=["a", "b"])
    done.complete("a")
    assert done.completed("after") == ["after"]
    assert done.state.status == "running"
    done.complete("b")
    assert done.completed("h", "e") == ["h", "e"]


def test_an_unknown_activity_in_the_list_is_an_incident(play):
    done = play(ENDS + ad_hoc(extension=LISTED), "s>h h>e").start(todo=["after"])
    assert done.state.effective_status == "incident"


def test_people_start_activities_as_often_as_they_like_and_end_it(play):
    done = play(ENDS + ad_hoc(), "s>h h>e").start()
    assert done.state.effective_status == "waiting"
    begin(done, "b")
    done.complete("b")
    begin(done, "b")
    with pytest.raises(BadData, match="running"):
        done.apply(Complete(done.find("h")))
    done.complete("b")
    done.apply(Complete(done.find("h")))
    assert done.completed("b", "h") == ["b", "b", "h"]
    assert done.state.status == "completed"


def test_only_activities_that_no_flow_leads_to_can_be_started(play):
    done = play(ENDS + ad_hoc(), "s>h h>e").start()
    with pytest.raises(BadData, match="'after' is not an activity"):
        begin(done, "after")


CONDITION = "<completionCondition>enough == True</completionCondition>"


def test_a_completion_condition_ends_it_and_what_still_runs(play):
    done = play(ENDS + ad_hoc(CONDITION), "s>h h>e").start(enough=False)
    begin(done, "a")
    begin(done, "b")
    done.complete("a", enough=True)
    assert ("b", "terminated") in done.trace
    assert done.state.status == "completed"


def test_what_still_runs_may_finish_where_the_diagram_says_so(play):
    body = ENDS + ad_hoc(CONDITION, 'cancelRemainingInstances="false"')
    done = play(body, "s>h h>e").start(enough=False)
    begin(done, "a")
    begin(done, "b")
    done.complete("a", enough=True)
    assert done.state.status == "running"
    with pytest.raises(BadData, match="nothing more"):
        begin(done, "a")
    done.complete("b")
    assert done.state.status == "completed"


def test_a_sequential_one_runs_one_activity_at_a_time(play):
    body = ENDS + ad_hoc(attributes='ordering="Sequential"', extension=LISTED)
    done = play(body, "s>h h>e").start(todo=["a", "b"])
    assert not [each for each in done.state.activations.values() if each.node == "b"]
    with pytest.raises(BadData, match="sequential"):
        begin(done, "b")
    done.complete("a")
    done.complete("b")
    assert done.state.status == "completed"
