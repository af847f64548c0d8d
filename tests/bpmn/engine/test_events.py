"""Events: start, catch, throw, boundary, end (BPMN 2.0.2, 13.5)."""

from __future__ import annotations

import pytest

from mlkit.bpmn.engine.effects import Broadcast, Send

ENDS = '<startEvent id="s"/><endEvent id="e"/>'
SCRIPT = '<scriptTask id="w"><script>pass</script></scriptTask>'
AFTER = '<task id="late"/>'


def boundary(definition: str, cancel: bool = True) -> str:
    flag = "" if cancel else ' cancelActivity="false"'
    return f'<boundaryEvent id="b" attachedToRef="w"{flag}>{definition}</boundaryEvent>'


TIMER = "<timerEventDefinition><timeDuration>PT1M</timeDuration></timerEventDefinition>"
MESSAGE = '<messageEventDefinition messageRef="Paid"/>'
SIGNAL = '<signalEventDefinition signalRef="Stop"/>'
GUARDED = "s>w w>e b>late late>e"


def test_a_timer_waits_as_long_as_it_says(play):
    body = ENDS + f'<intermediateCatchEvent id="t">{TIMER}</intermediateCatchEvent>'
    done = play(body, "s>t t>e").start()
    begin = done.now
    assert done.completed() == ["s"]
    done.tick()
    assert done.now == begin + 60
    assert done.state.status == "completed"


def test_a_message_brings_variables(play):
    body = ENDS + f'<intermediateCatchEvent id="m">{MESSAGE}</intermediateCatchEvent>'
    done = play(body, "s>m m>e").start()
    done.receive("m", total=9)
    assert done.variables == {"total": 9}
    assert done.state.status == "completed"


@pytest.mark.parametrize("definition", [TIMER, MESSAGE, SIGNAL])
def test_an_interrupting_boundary_event_stops_the_work(play, definition):
    done = play(ENDS + SCRIPT + AFTER + boundary(definition), GUARDED, lambda *_: None).start()
    working = done.find("w")
    fire(done, definition)
    assert done.stopped == [working]
    assert ("w", "terminated") in done.trace
    assert done.completed() == ["s", "b", "late", "e"]
    assert done.state.status == "completed"


def fire(done, definition):
    if definition == TIMER:
        done.tick()
    elif definition == MESSAGE:
        done.receive("b")
    else:
        done.signal("stop")


@pytest.mark.parametrize("definition", [TIMER, MESSAGE, SIGNAL])
def test_a_boundary_event_that_does_not_interrupt_adds_a_token(play, definition):
    done = play(ENDS + SCRIPT + AFTER + boundary(definition, False), GUARDED, lambda *_: None)
    done.start()
    fire(done, definition)
    assert done.completed("late", "e") == ["late", "e"]
    assert done.state.status == "running"
    done.complete("w")
    assert done.state.status == "completed"


def test_a_timer_cycle_on_a_boundary_fires_as_often_as_it_says(play):
    cycle = "<timerEventDefinition><timeCycle>R3/PT10S</timeCycle></timerEventDefinition>"
    done = play(ENDS + SCRIPT + AFTER + boundary(cycle, False), GUARDED, lambda *_: None).start()
    begin = done.now
    for _ in range(3):
        done.tick()
    assert done.now == begin + 30
    assert done.completed("late") == ["late"] * 3
    with pytest.raises(AssertionError, match="no timer"):
        done.tick()


def test_the_end_of_an_activity_disarms_its_boundary_events(play):
    done = play(ENDS + SCRIPT + AFTER + boundary(TIMER), GUARDED).start()
    assert done.state.status == "completed"
    assert not done.state.activations


ERROR = '<errorEventDefinition errorRef="Bad"/>'


def test_a_thrown_error_is_caught_by_its_code(play):
    catch_all = boundary("<errorEventDefinition/>").replace('id="b"', 'id="all"')
    body = ENDS + SCRIPT + AFTER + boundary(ERROR) + catch_all + '<task id="other"/>'
    flows = GUARDED + " all>other other>e"
    done = play(body, flows, lambda *_: "!BAD").start()
    assert done.completed() == ["s", "b", "late", "e"]
    done = play(body, flows, lambda *_: "!ODD").start()
    assert done.completed() == ["s", "all", "other", "e"]


def test_an_error_that_nobody_catches_fails_the_instance(play):
    done = play(ENDS + SCRIPT + AFTER + boundary(ERROR), GUARDED, lambda *_: "!ODD").start()
    assert done.state.effective_status == "failed"
    assert done.state.error["code"] == "ODD"
    assert not done.state.activations


def test_an_error_end_event_is_caught_around_the_sub_process(play, arrows):
    inside = '<startEvent id="is"/><task id="x"/><userTask id="y"/>'
    inside += f'<endEvent id="ie">{ERROR}</endEvent>' + arrows("is>x is>y x>ie", "i")
    body = ENDS + f'<subProcess id="w">{inside}</subProcess>' + AFTER + boundary(ERROR)
    done = play(body, GUARDED).start()
    assert ("y", "terminated") in done.trace
    assert ("w", "terminated") in done.trace
    assert done.completed("b", "late", "e") == ["b", "late", "e"]


def test_a_failure_is_caught_by_a_boundary_event_without_a_code_only(play):
    body = ENDS + SCRIPT + AFTER
    caught = play(body + boundary("<errorEventDefinition/>"), GUARDED, lambda *_: "oops").start()
    assert caught.completed() == ["s", "b", "late", "e"]
    stopped = play(body + boundary(ERROR), GUARDED, lambda *_: "oops").start()
    assert stopped.state.effective_status == "incident"


def test_escalation_without_interruption(play, arrows):
    throw = '<intermediateThrowEvent id="it"><escalationEventDefinition escalationRef="Up"/>'
    inside = f'<startEvent id="is"/>{throw}</intermediateThrowEvent><endEvent id="ie"/>'
    inside += arrows("is>it it>ie", "i")
    catch = boundary('<escalationEventDefinition escalationRef="Up"/>', False)
    body = ENDS + f'<subProcess id="w">{inside}</subProcess>' + AFTER + catch
    done = play(body, GUARDED).start()
    assert sorted(done.completed()) == sorted(["s", "is", "it", "ie", "w", "b", "late", "e", "e"])
    assert done.state.status == "completed"


def test_an_escalation_may_interrupt_what_threw_it(play, arrows):
    throw = '<endEvent id="ie"><escalationEventDefinition escalationRef="Up"/></endEvent>'
    inside = f'<startEvent id="is"/><userTask id="u"/>{throw}' + arrows("is>u is>ie", "i")
    body = ENDS + f'<subProcess id="w">{inside}</subProcess>' + AFTER
    body += boundary('<escalationEventDefinition escalationRef="Up"/>')
    done = play(body, GUARDED).start()
    assert ("u", "terminated") in done.trace
    assert done.completed("b", "late", "e") == ["b", "late", "e"]
    assert done.state.status == "completed"


def test_an_uncaught_escalation_has_no_effect(play):
    body = '<startEvent id="s"/><endEvent id="e"><escalationEventDefinition escalationRef="Up"/>'
    done = play(body + "</endEvent>", "s>e").start()
    assert done.state.status == "completed"


def test_terminate_ends_everything_around_it(play):
    body = '<startEvent id="s"/><userTask id="u"/><task id="a"/><endEvent id="e">'
    body += "<terminateEventDefinition/></endEvent>"
    done = play(body, "s>u s>a a>e").start()
    assert done.state.status == "completed"
    assert ("u", "terminated") in done.trace


def test_terminate_inside_a_sub_process_ends_only_that(play, arrows):
    inside = '<startEvent id="is"/><userTask id="u"/><endEvent id="ie"><terminateEventDefinition/>'
    inside += "</endEvent>" + arrows("is>u is>ie", "i")
    body = ENDS + f'<subProcess id="w">{inside}</subProcess>'
    done = play(body, "s>w w>e").start()
    assert done.completed("w", "e") == ["w", "e"]


def test_a_link_leads_to_the_event_of_its_name(play):
    link = '<linkEventDefinition name="L"/>'
    body = ENDS + f'<intermediateThrowEvent id="a">{link}</intermediateThrowEvent><task id="t"/>'
    body += f'<intermediateCatchEvent id="b">{link}</intermediateCatchEvent>'
    done = play(body, "s>a b>t t>e").start()
    assert done.completed() == ["s", "a", "b", "t", "e"]


def test_a_thrown_signal_reaches_who_waits_in_the_same_instance(play):
    body = ENDS + f'<intermediateCatchEvent id="c">{SIGNAL}</intermediateCatchEvent>'
    body += f'<userTask id="u"/><intermediateThrowEvent id="t">{SIGNAL}</intermediateThrowEvent>'
    done = play(body, "s>c s>u u>t c>e t>e").start()
    done.complete("u")
    assert done.state.status == "completed"
    assert [type(each) for each in done.sent] == [Broadcast]


def test_a_message_end_event_sends(play):
    body = f'<startEvent id="s"/><endEvent id="e">{MESSAGE}</endEvent>'
    done = play(body, "s>e").start()
    assert [(type(each), each.name) for each in done.sent] == [(Send, "paid")]


def test_a_process_with_waiting_start_events_begins_with_the_first(play):
    body = f'<startEvent id="s">{MESSAGE}</startEvent><startEvent id="s2">{TIMER}</startEvent>'
    done = play(body + '<task id="a"/><endEvent id="e"/>', "s>a s2>a a>e").start()
    assert done.state.effective_status == "waiting"
    done.tick()
    assert done.completed() == ["s2", "a", "e"]
    assert done.state.status == "completed"


def test_an_event_that_lost_a_race_has_no_effect(play):
    from mlkit.bpmn.engine.events import Complete

    done = play(ENDS + SCRIPT + AFTER + boundary(TIMER), GUARDED, lambda *_: None).start()
    working = done.find("w")
    done.tick()
    before = list(done.trace)
    done.apply(Complete(working, {"x": 1}))
    assert done.trace == before
    assert "x" not in done.variables
