"""Complex gateways (13.4.5), token quantities (13.3.2), events of multi-instances (13.3.7)."""

from __future__ import annotations

import pytest

from mlkit.bpmn.engine.events import Retry

ENDS = '<startEvent id="s"/><endEvent id="e"/>'
SIGNAL = '<signalEventDefinition id="sd" signalRef="Stop"/>'
ESCALATION = '<escalationEventDefinition id="ed" escalationRef="Up"/>'


def gateway(condition: str) -> str:
    users = "".join(f'<userTask id="u{n}"/>' for n in range(3))
    inner = f"<activationCondition>{condition}</activationCondition>"
    return (
        f'{ENDS}<parallelGateway id="q"/>{users}<complexGateway id="g">{inner}</complexGateway>'
        '<task id="after"/>'
    )


FLOWS = "s>q q>u0 q>u1 q>u2 u0>g u1>g u2>g g>after after>e"


def test_it_opens_when_its_condition_holds_and_swallows_late_tokens(play, as_json):
    done = play(gateway("activationCount >= 2"), FLOWS).start()
    done.complete("u1")
    assert done.completed("after") == []
    done.complete("u0")
    assert done.completed("after") == ["after"]
    assert done.state.status == "running"
    done.complete("u2")
    assert done.completed("after", "e") == ["after", "e"]
    assert done.state.status == "completed"
    assert as_json(done.replayed()) == as_json(done.state)


def test_a_condition_can_ask_for_data(play):
    done = play(gateway("activationCount == 3 or urgent"), FLOWS).start(urgent=False)
    done.complete("u0", urgent=True)
    assert done.completed("after") == ["after"]


def test_late_tokens_take_the_flows_whose_conditions_ask_for_them(play):
    body = gateway("activationCount >= 1") + '<task id="late"/>'
    flows = FLOWS + " g>late?waitingForStart==False late>e"
    done = play(body, flows).start()
    done.complete("u0")
    assert done.completed("after", "late") == ["after"]
    done.complete("u1")
    assert done.completed("late") == []
    done.complete("u2")
    assert done.completed("after", "late") == ["after", "late"]
    assert done.state.status == "completed"


def test_after_a_reset_it_opens_again(play):
    body = gateway("activationCount == 3") + '<exclusiveGateway id="x" default="out"/>'
    body += '<sequenceFlow id="out" sourceRef="x" targetRef="e"/><exclusiveGateway id="m"/>'
    flows = FLOWS.replace("s>q", "s>m m>q").replace("after>e", "after>x") + " x>m?n==1"
    done = play(body, flows).start(n=1)
    done.complete("u0").complete("u1").complete("u2")
    assert done.completed("after") == ["after"]
    done.complete("u0", n=0).complete("u1").complete("u2")
    assert done.completed("after") == ["after", "after"]
    assert done.state.status == "completed"


def test_a_token_that_cannot_come_resets_it(play):
    body = gateway("activationCount >= 1").replace(
        '<parallelGateway id="q"/>', '<inclusiveGateway id="q"/>'
    )
    done = play(body, FLOWS.replace("q>u2", "q>u2?False")).start()
    done.complete("u0").complete("u1")
    assert done.completed("after", "e") == ["after", "e"]
    assert done.state.status == "completed"


def test_a_broken_condition_is_an_incident(play):
    done = play(gateway("nothing > 1"), FLOWS).start()
    done.complete("u0")
    assert done.state.effective_status == "incident"


# -- token quantities --------------------------------------------------------------------------


def test_an_activity_waits_for_as_many_tokens_as_it_needs(play):
    body = ENDS + '<task id="a"/><task id="b"/><task id="w" startQuantity="2"/>'
    done = play(body, "s>a s>b a>w b>w w>e").start()
    assert done.completed("w", "e") == ["w", "e"]
    assert done.state.status == "completed"


def test_tokens_that_are_too_few_are_stuck(play):
    done = play(ENDS + '<task id="w" startQuantity="3"/>', "s>w w>e").start()
    assert done.state.effective_status == "incident"


def test_an_activity_gives_as_many_tokens_as_it_says(play):
    body = ENDS + '<task id="w" completionQuantity="3"/><task id="a"/>'
    done = play(body, "s>w w>a a>e").start()
    assert done.completed("a", "e").count("a") == 3
    assert done.completed("e") == ["e"] * 3
    assert done.state.status == "completed"


# -- events of multi-instances -------------------------------------------------------------------


def several(behavior: str, inner: str = "") -> str:
    return (
        f"<multiInstanceLoopCharacteristics {behavior}><loopCardinality>3</loopCardinality>"
        f"{inner}</multiInstanceLoopCharacteristics>"
    )


def guarded(marker: str, definition: str, interrupting: bool) -> str:
    flag = str(interrupting).lower()
    return (
        f'{ENDS}<userTask id="w">{marker}</userTask><task id="late"/>'
        f'<boundaryEvent id="b" attachedToRef="w" cancelActivity="{flag}">{definition}'
        "</boundaryEvent>"
    )


ROOTS = '<signal id="Stop" name="stop"/><escalation id="Up" escalationCode="UP"/>'
GUARDED = "s>w w>e b>late late>e"


def iterate(done, times: int) -> None:
    for _ in range(times):
        done.complete("w")


@pytest.mark.parametrize(("behavior", "times"), [("None", 3), ("One", 1), ("All", 0)])
def test_iterations_throw_as_the_behaviour_says(play, behavior, times):
    marker = several(f'behavior="{behavior}" noneBehaviorEventRef="sd" oneBehaviorEventRef="sd"')
    body = guarded(marker, '<signalEventDefinition signalRef="Stop"/>', False)
    done = play(body, GUARDED, roots=ROOTS + SIGNAL).start()
    iterate(done, 3)
    assert done.completed("late") == ["late"] * times
    assert done.state.status == "completed"


def test_an_escalation_of_the_first_iteration_may_interrupt_the_rest(play):
    marker = several('behavior="One" oneBehaviorEventRef="ed"')
    body = guarded(marker, '<escalationEventDefinition escalationRef="Up"/>', True)
    done = play(body, GUARDED, roots=ROOTS + ESCALATION).start()
    done.complete("w")
    assert done.completed("late", "w") == ["w", "late"]
    assert done.state.status == "completed"
    assert not done.state.activations


def test_a_complex_behaviour_throws_where_its_condition_holds(play):
    inner = (
        "<complexBehaviorDefinition><condition>nrOfCompletedInstances == 2</condition><event>"
        '<signalEventDefinition signalRef="Stop"/></event></complexBehaviorDefinition>'
    )
    body = guarded(several('behavior="Complex"', inner),
                   '<signalEventDefinition signalRef="Stop"/>', False)  # fmt: skip
    done = play(body, GUARDED, roots=ROOTS).start()
    done.complete("w")
    assert done.completed("late") == []
    iterate(done, 2)
    assert done.completed("late") == ["late"]


def test_an_event_that_is_not_there_is_an_error(problems, diagram):
    body = guarded(several('behavior="One" oneBehaviorEventRef="gone"'),
                   '<signalEventDefinition signalRef="Stop"/>', False)  # fmt: skip
    found = problems(diagram(body, GUARDED))
    assert "reference.missing w" in found


def test_a_condition_that_fails_after_an_iteration_is_an_incident_that_loses_none(play):
    inner = (
        "<complexBehaviorDefinition><condition>gone</condition><event>"
        '<signalEventDefinition signalRef="Stop"/></event></complexBehaviorDefinition>'
    )
    body = guarded(several('behavior="Complex"', inner),
                   '<signalEventDefinition signalRef="Stop"/>', False)  # fmt: skip
    done = play(body, GUARDED, roots=ROOTS).start()
    done.complete("w")
    assert done.completed("w") == []
    done.variables["gone"] = False
    done.apply(Retry())
    assert done.completed("w") == ["w"]
