"""Gateways and implicit splits and merges (BPMN 2.0.2, 13.2 and 13.4)."""

from __future__ import annotations

import pytest

ENDS = '<startEvent id="s"/><endEvent id="e"/>'


def tasks(*names: str) -> str:
    return "".join(f'<task id="{name}"/>' for name in names)


def test_exclusive_takes_the_first_flow_that_holds(play):
    body = ENDS + tasks("a", "b") + '<exclusiveGateway id="g"/>'
    done = play(body, "s>g g>a?x>0 g>b?x>1 a>e b>e").start(x=2)
    assert done.completed() == ["s", "g", "a", "e"]
    assert done.state.status == "completed"


def test_exclusive_takes_the_default_flow_when_nothing_holds(play):
    body = ENDS + tasks("a", "b") + '<exclusiveGateway id="g" default="f1"/>'
    done = play(body, "s>g g>a g>b?x>1 a>e b>e").start(x=0)
    assert done.completed("a", "b") == ["a"]


def test_exclusive_without_a_way_out_is_an_incident_that_a_retry_resolves(play):
    from mlkit.bpmn.engine.events import Retry

    body = ENDS + tasks("a", "b") + '<exclusiveGateway id="g"/>'
    done = play(body, "s>g g>a?x>0 g>b?x>1 a>e b>e").start(x=0)
    assert done.state.effective_status == "incident"
    done.variables["x"] = 1
    done.apply(Retry())
    assert done.completed() == ["s", "g", "a", "e"]


def test_exclusive_merge_lets_every_token_pass(play):
    body = ENDS + tasks("a", "b", "c") + '<parallelGateway id="q"/><exclusiveGateway id="m"/>'
    done = play(body, "s>q q>a q>b a>m b>m m>c c>e").start()
    assert done.completed("c") == ["c", "c"]


def test_parallel_join_waits_for_every_flow(play):
    body = ENDS + '<parallelGateway id="q"/><parallelGateway id="j"/>'
    body += '<userTask id="a"/><userTask id="b"/>'
    done = play(body, "s>q q>a q>b a>j b>j j>e").start()
    done.complete("a")
    assert done.completed("j") == []
    done.complete("b")
    assert done.completed("j", "e") == ["j", "e"]


def test_parallel_join_needs_one_token_on_each_flow_not_two_on_one(play):
    body = ENDS + '<parallelGateway id="q"/><parallelGateway id="j"/><userTask id="b"/>'
    body += tasks("a1", "a2", "m")
    done = play(body, "s>q q>a1 q>a2 q>b a1>m a2>m m>j b>j j>e").start()
    assert done.completed("m") == ["m", "m"]
    assert done.completed("j") == []
    done.complete("b")
    # One token of m is left over and can never join.
    assert done.completed("j") == ["j"]
    assert done.state.effective_status == "incident"


def test_inclusive_join_lets_each_of_two_tokens_on_one_flow_pass(play):
    # As the standard has it (13.4.3), where no token can reach the other flow; engines wait.
    body = ENDS + '<exclusiveGateway id="g"/><parallelGateway id="q"/>'
    body += '<inclusiveGateway id="j"/><userTask id="c"/><userTask id="d"/>'
    done = play(body, "s>g g>c?False g>q?True q>d q>d c>j d>j j>e").start()
    done.complete("d")
    done.complete("d")
    assert done.completed("j", "e") == ["j", "e", "j", "e"]
    assert done.state.status == "completed"


@pytest.mark.parametrize(
    ("value", "expected"), [(1, ["a"]), (2, ["a", "b"]), (3, ["a", "b", "c"]), (0, ["d"])]
)
def test_inclusive_split_takes_all_that_hold_and_the_join_waits_for_them(play, value, expected):
    body = ENDS + tasks("d", "z") + '<inclusiveGateway id="g" default="f4"/>'
    body += '<inclusiveGateway id="j"/><userTask id="a"/><userTask id="b"/><userTask id="c"/>'
    flows = "s>g g>a?x>0 g>b?x>1 g>c?x>2 g>d a>j b>j c>j d>j j>z z>e"
    done = play(body, flows).start(x=value)
    for name in expected:
        if name != "d":
            assert done.completed("j") == []
            done.complete(name)
    assert done.completed("a", "b", "c", "d") == expected
    assert done.completed("j", "z") == ["j", "z"]


def test_inclusive_join_does_not_wait_for_a_token_that_can_only_come_round_itself(play):
    # A loop back over the join: its empty flow can be reached through the join only.
    body = ENDS + '<inclusiveGateway id="j"/><userTask id="u"/>'
    body += '<exclusiveGateway id="g" default="f3"/>'
    done = play(body, "s>j j>u u>g g>e g>j?again").start(again=True)
    done.complete("u")
    assert done.completed("j") == ["j", "j"]
    done.complete("u", again=False)
    assert done.state.status == "completed"


def test_inclusive_join_waits_for_a_boundary_event_that_may_still_fire(play):
    body = ENDS + '<inclusiveGateway id="q"/><inclusiveGateway id="j"/><userTask id="u"/>'
    body += tasks("a", "late") + '<boundaryEvent id="b" attachedToRef="u" cancelActivity="false">'
    body += '<signalEventDefinition signalRef="Stop"/></boundaryEvent><endEvent id="e2"/>'
    done = play(body, "s>q q>u q>a a>j b>late late>j u>e2 j>e").start()
    assert done.completed("j") == []
    done.complete("u")
    assert done.completed("j") == ["j"]


def test_conditional_flows_leave_an_activity_beside_unconditional_ones(play):
    body = ENDS + tasks("t", "a", "b", "c")
    done = play(body, "s>t t>a?x>0 t>b?x>1 t>c a>e b>e c>e").start(x=1)
    assert done.completed("a", "b", "c") == ["a", "c"]


def test_implicit_split_and_merge(play):
    done = play(ENDS + tasks("t", "a", "b", "m"), "s>t t>a t>b a>m b>m m>e").start()
    assert done.completed("m") == ["m", "m"]
    assert done.state.status == "completed"


EVENTS = """<eventBasedGateway id="g"/>
<intermediateCatchEvent id="m"><messageEventDefinition messageRef="Paid"/></intermediateCatchEvent>
<intermediateCatchEvent id="t"><timerEventDefinition><timeDuration>PT1H</timeDuration>
</timerEventDefinition></intermediateCatchEvent><receiveTask id="r" messageRef="Paid"/>"""


@pytest.mark.parametrize("winner", ["m", "t", "r"])
def test_event_gateway_lets_the_first_event_win(play, winner):
    done = play(ENDS + EVENTS, "s>g g>m g>t g>r m>e t>e r>e").start()
    done.tick() if winner == "t" else done.receive(winner)
    assert done.completed() == ["s", "g", winner, "e"]
    assert not done.state.activations


def test_a_loop_without_a_wait_stops_as_an_incident(play):
    body = ENDS + tasks("a") + '<exclusiveGateway id="g" default="f3"/>'
    done = play(body, "s>a a>g g>e?False g>a").start()
    assert done.state.effective_status == "incident"
    assert "endless loop" in next(iter(done.state.activations.values())).incident.message


REMINDER = """<userTask id="u"/><inclusiveGateway id="j"/><task id="mail"/><task id="pay"/>
<boundaryEvent id="b" attachedToRef="u" cancelActivity="false"><timerEventDefinition>
<timeDuration>PT1H</timeDuration></timerEventDefinition></boundaryEvent>"""


def test_inclusive_join_waits_for_a_task_whose_own_reminder_came_first(play):
    done = play(ENDS + REMINDER, "s>u u>j b>mail mail>j j>pay pay>e").start().tick()
    assert done.completed("mail", "pay") == ["mail"]
    done.complete("u")
    assert done.completed() == ["s", "b", "mail", "u", "j", "pay", "e"]
    assert done.state.status == "completed"


def test_inclusive_join_waits_for_a_sub_process_whose_reminder_came_first(play):
    inner = '<startEvent id="is"/><userTask id="iu"/><endEvent id="ie"/>'
    inner += '<sequenceFlow id="i1" sourceRef="is" targetRef="iu"/>'
    inner += '<sequenceFlow id="i2" sourceRef="iu" targetRef="ie"/>'
    body = ENDS + REMINDER.replace('<userTask id="u"/>', f'<subProcess id="u">{inner}</subProcess>')
    done = play(body, "s>u u>j b>mail mail>j j>pay pay>e").start().tick()
    assert done.completed("pay") == []
    done.complete("iu")
    assert done.completed("pay") == ["pay"]


def test_inclusive_join_waits_for_an_error_that_may_still_be_caught(play):
    body = ENDS + '<parallelGateway id="q"/><inclusiveGateway id="j"/><scriptTask id="t">'
    body += "<script>1</script></scriptTask>" + tasks("a", "late") + '<endEvent id="e2"/>'
    body += '<boundaryEvent id="b" attachedToRef="t"><errorEventDefinition/></boundaryEvent>'
    done = play(body, "s>q q>t q>a a>j b>late late>j t>e2 j>e", lambda *_: None).start()
    assert done.completed("j") == []
    from mlkit.bpmn.engine.events import Throw

    done.apply(Throw(done.find("t"), "X"))
    assert done.completed("late", "j") == ["late", "j"]


def test_inclusive_join_waits_for_an_event_gateway_that_can_still_lead_to_it(play):
    body = ENDS + EVENTS + '<parallelGateway id="q"/><inclusiveGateway id="j"/>' + tasks("a")
    done = play(body, "s>q q>g q>a a>j g>m g>t g>r m>j t>e r>e j>e").start()
    assert done.completed("j") == []
    done.tick()
    assert done.completed("j") == ["j"]
    assert done.state.status == "completed"


def test_inclusive_join_in_a_loop_waits_for_the_task_of_each_round(play):
    body = ENDS + REMINDER + '<exclusiveGateway id="x" default="f7"/><exclusiveGateway id="m"/>'
    flows = "s>m m>u u>j b>mail mail>j j>pay pay>x x>e x>m?again"
    done = play(body, flows).start(again=True)
    for again in (True, False):
        done.tick()
        done.complete("u", again=again)
    assert done.completed("pay") == ["pay", "pay"]
    assert done.state.status == "completed"


def test_the_default_flow_goes_beside_an_unconditional_one_where_no_condition_holds(play):
    body = ENDS + '<task id="t" default="f1"/>' + tasks("a", "b", "c")
    for x, expected in ((0, ["a", "c"]), (2, ["b", "c"])):
        done = play(body, "s>t t>a t>b?x>1 t>c a>e b>e c>e").start(x=x)
        assert sorted(done.completed("a", "b", "c")) == expected


def test_a_complex_gateway_that_splits_needs_no_condition_to_open(play):
    body = ENDS + '<complexGateway id="g"/>' + tasks("a", "b")
    done = play(body, "s>g g>a?x>0 g>b?x>1 a>e b>e").start(x=2)
    assert done.completed("a", "b") == ["a", "b"]
    assert done.state.status == "completed"


@pytest.mark.parametrize("kind", ["exclusive", "parallel"])
def test_the_listed_order_of_outgoing_flows_decides(play, kind):
    listed = "<outgoing>f2</outgoing><outgoing>f1</outgoing>"
    body = ENDS + f'<{kind}Gateway id="g">{listed}</{kind}Gateway>' + tasks("a", "b")
    flows = "s>g g>a g>b a>e b>e"
    if kind == "exclusive":
        flows = "s>g g>a?True g>b?True a>e b>e"
    done = play(body, flows).start()
    assert done.completed("a", "b") == (["b"] if kind == "exclusive" else ["b", "a"])


def test_without_a_start_event_all_that_nothing_leads_to_begins(play):
    done = play('<task id="a"/><task id="b"/><endEvent id="e"/>', "a>e b>e").start()
    assert sorted(done.completed("a", "b")) == ["a", "b"]
    assert done.state.status == "completed"


def test_the_listed_order_counts_in_files_of_zeebe_too(play):
    """The extension makes it a file of Camunda 8, whose expressions are FEEL."""
    body = (
        ENDS
        + """<exclusiveGateway id="g"><outgoing>f2</outgoing><outgoing>f1</outgoing>
      </exclusiveGateway><task id="a"><extensionElements><zeebe:properties>
      <zeebe:property name="n" value="v"/></zeebe:properties></extensionElements></task>
      <task id="b"/>"""
    )
    done = play(body, "s>g g>a?=x>0 g>b?=x>0 a>e b>e").start(x=1)
    assert done.completed("a", "b") == ["b"]


def test_a_sub_process_without_a_start_event_begins_where_nothing_leads_to(play):
    body = f"""{ENDS}<subProcess id="sub"><task id="a"/><userTask id="b"/><task id="c"/>
      <sequenceFlow id="i" sourceRef="a" targetRef="c"/></subProcess>"""
    done = play(body, "s>sub sub>e").start()
    assert done.completed() == ["s", "a", "c"]
    done.complete("b")
    assert done.completed() == ["s", "a", "c", "b", "sub", "e"]


def test_a_sub_process_that_is_drawn_empty_is_passed(play):
    done = play(ENDS + '<subProcess id="sub"/>', "s>sub sub>e").start()
    assert done.completed() == ["s", "sub", "e"]
