"""Event sub-processes (13.5.4): armed while the scope around them runs."""

from __future__ import annotations

import pytest

ENDS = '<startEvent id="s"/><endEvent id="e"/>'
USER = '<userTask id="u"/>'
TIMER = "<timerEventDefinition><timeDuration>PT1M</timeDuration></timerEventDefinition>"
CYCLE = "<timerEventDefinition><timeCycle>R2/PT1M</timeCycle></timerEventDefinition>"
MESSAGE = '<messageEventDefinition messageRef="Paid"/>'
SIGNAL = '<signalEventDefinition signalRef="Stop"/>'
ERROR = '<errorEventDefinition errorRef="Bad"/>'
ESCALATION = '<escalationEventDefinition escalationRef="Up"/>'


@pytest.fixture
def handler(arrows):
    """Write an event sub-process with one task `h`."""

    def make(definition: str, interrupting: bool = True, name: str = "x") -> str:
        flag = "" if interrupting else ' isInterrupting="false"'
        inside = f'<startEvent id="{name}s"{flag}>{definition}</startEvent><task id="{name}h"/>'
        inside += arrows(f"{name}s>{name}h", name)
        return f'<subProcess id="{name}" triggeredByEvent="true">{inside}</subProcess>'

    return make


def fire(done, definition):
    if "timer" in definition:
        done.tick()
    elif definition == MESSAGE:
        done.receive("x")
    else:
        done.signal("stop")


@pytest.mark.parametrize("definition", [TIMER, MESSAGE, SIGNAL])
def test_an_interrupting_one_ends_what_runs_around_it(play, handler, definition):
    done = play(ENDS + USER + handler(definition), "s>u u>e").start()
    fire(done, definition)
    assert ("u", "terminated") in done.trace
    assert done.completed() == ["s", "xs", "xh", "x"]
    assert done.state.status == "completed"
    assert not done.state.activations


@pytest.mark.parametrize("definition", [TIMER, MESSAGE, SIGNAL])
def test_one_that_does_not_interrupt_runs_beside(play, handler, definition):
    done = play(ENDS + USER + handler(definition, False), "s>u u>e").start()
    fire(done, definition)
    assert done.completed("xh", "u") == ["xh"]
    done.complete("u")
    assert done.state.status == "completed"


def test_without_interruption_it_runs_as_often_as_its_event_happens(play, handler):
    done = play(ENDS + USER + handler(MESSAGE, False), "s>u u>e").start()
    done.receive("x").receive("x")
    assert done.completed("xh") == ["xh", "xh"]
    timed = play(ENDS + USER + handler(CYCLE, False), "s>u u>e").start()
    timed.tick().tick()
    with pytest.raises(AssertionError, match="no timer"):
        timed.tick()


def test_the_scope_waits_for_one_that_still_runs(play, handler):
    body = ENDS + USER + handler(MESSAGE, False).replace('<task id="xh"/>', '<userTask id="xh"/>')
    done = play(body, "s>u u>e").start()
    done.receive("x")
    done.complete("u")
    assert done.state.status == "running"
    done.complete("xh")
    assert done.state.status == "completed"


def test_the_end_of_the_scope_disarms_it(play, handler):
    done = play(ENDS + USER + handler(TIMER), "s>u u>e").start()
    done.complete("u")
    assert done.state.status == "completed"
    assert not done.state.activations


def test_an_error_inside_is_caught_before_it_leaves_the_scope(play, handler, arrows):
    inside = '<startEvent id="is"/><scriptTask id="w"><script>pass</script></scriptTask>'
    inside += handler(ERROR) + arrows("is>w", "i")
    boundary = '<boundaryEvent id="b" attachedToRef="p1"><errorEventDefinition/></boundaryEvent>'
    body = ENDS + f'<subProcess id="p1">{inside}</subProcess><task id="late"/>' + boundary
    done = play(body, "s>p1 p1>e b>late late>e", lambda *_: "!BAD").start()
    assert done.completed() == ["s", "is", "xs", "xh", "x", "p1", "e"]
    assert done.state.status == "completed"


def test_an_error_thrown_inside_the_handler_goes_outwards(play, handler, arrows):
    inner = handler(ERROR).replace('<task id="xh"/>', '<scriptTask id="xh"><script>1</script>'
                                   "</scriptTask>")  # fmt: skip
    inside = '<startEvent id="is"/><scriptTask id="w"><script>1</script></scriptTask>'
    inside += inner + arrows("is>w", "i")
    boundary = '<boundaryEvent id="b" attachedToRef="p1"><errorEventDefinition/></boundaryEvent>'
    body = ENDS + f'<subProcess id="p1">{inside}</subProcess><task id="late"/>' + boundary
    done = play(body, "s>p1 p1>e b>late late>e", lambda *_: "!BAD").start()
    assert done.runs == ["w", "xh"]
    assert done.completed("b", "late", "p1") == ["b", "late"]


def test_a_failed_script_is_caught_by_an_error_start_without_a_code(play, handler):
    script = '<scriptTask id="u"><script>1</script></scriptTask>'
    body = ENDS + script + handler("<errorEventDefinition/>")
    done = play(body, "s>u u>e", lambda *_: "oops").start()
    assert done.completed() == ["s", "xs", "xh", "x"]
    assert done.state.status == "completed"


def test_an_escalation_without_interruption_goes_on_beside(play, handler):
    throw = f'<intermediateThrowEvent id="t">{ESCALATION}</intermediateThrowEvent>'
    done = play(ENDS + throw + handler(ESCALATION, False), "s>t t>e").start()
    assert sorted(done.completed()) == ["e", "s", "t", "x", "xh", "xs"]
    assert done.state.status == "completed"


def test_an_escalation_that_interrupts_ends_the_flow_that_threw_it(play, handler):
    throw = f'<intermediateThrowEvent id="t">{ESCALATION}</intermediateThrowEvent>'
    done = play(ENDS + throw + handler(ESCALATION), "s>t t>e").start()
    assert done.completed() == ["s", "t", "xs", "xh", "x"]
    assert done.state.status == "completed"
    end = f'<startEvent id="s"/><endEvent id="e">{ESCALATION}</endEvent>'
    ended = play(end + handler(ESCALATION), "s>e").start()
    assert ended.completed() == ["s", "e", "xs", "xh", "x"]
    assert ended.state.status == "completed"


def test_after_an_interruption_no_other_one_begins(play, handler):
    body = ENDS + USER + handler(MESSAGE).replace('<task id="xh"/>', '<userTask id="xh"/>')
    done = play(body + handler(SIGNAL, False, "y"), "s>u u>e").start()
    done.receive("x").signal("stop")
    assert done.completed("yh") == []
    done.complete("xh")
    assert done.state.status == "completed"


def test_the_state_goes_through_json_and_replays(play, handler, as_json):
    done = play(ENDS + USER + handler(MESSAGE, False), "s>u u>e").start()
    done.receive("x", paid=True).complete("u")
    assert done.variables == {"paid": True}
    assert as_json(done.replayed()) == as_json(done.state)


CONDITION = "<conditionalEventDefinition><condition>n > 3</condition></conditionalEventDefinition>"


def test_a_conditional_event_waits_until_its_condition_holds(play):
    catch = f'<intermediateCatchEvent id="c">{CONDITION}</intermediateCatchEvent>'
    done = play(ENDS + USER + catch, "s>c s>u u>e c>e").start(n=1)
    assert done.completed("c") == []
    done.complete("u", n=5)
    assert done.completed("c", "e") == ["c", "e", "e"] or done.completed("c") == ["c"]
    assert done.state.status == "completed"
    at_once = play(ENDS + catch, "s>c c>e").start(n=4)
    assert at_once.state.status == "completed"


def test_a_condition_on_a_variable_that_is_not_there_does_not_hold(play):
    catch = f'<intermediateCatchEvent id="c">{CONDITION}</intermediateCatchEvent>'
    assert play(ENDS + catch, "s>c c>e").start().state.effective_status == "waiting"


def test_a_condition_that_fails_is_an_incident(play):
    catch = f'<intermediateCatchEvent id="c">{CONDITION}</intermediateCatchEvent>'
    assert play(ENDS + catch, "s>c c>e").start(n="text").state.effective_status == "incident"


def test_a_conditional_boundary_event_interrupts(play):
    boundary = f'<boundaryEvent id="b" attachedToRef="u">{CONDITION}</boundaryEvent>'
    body = ENDS + USER + boundary + '<userTask id="v"/><task id="late"/>'
    done = play(body, "s>u s>v u>e v>e b>late late>e").start(n=0)
    done.complete("v", n=9)
    assert ("u", "terminated") in done.trace
    assert done.completed("late") == ["late"]
    assert done.state.status == "completed"


def test_a_condition_must_become_false_before_it_fires_again(play, handler):
    body = ENDS + handler(CONDITION, False) + "".join(f'<userTask id="u{n}"/>' for n in range(4))
    done = play(body, "s>u0 u0>u1 u1>u2 u2>u3 u3>e").start(n=0)
    for number, value in enumerate([5, 6, 1, 7]):
        done.complete(f"u{number}", n=value)
    assert done.completed("xh") == ["xh", "xh"]
